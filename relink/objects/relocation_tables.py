"""The static relocations of all objects: the entries for kept sections, with rows of the combined symbol table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from relink.arch import Architecture, Reloc, Role
from relink.arch.fields import address_bits
from relink.arrays import I64, U8, U32, U64, Bools, distinct, indices_where, one_of
from relink.elf.batch_relocations import BatchRelocations
from relink.elf.object_batch import ObjectBatch
from relink.elf.objects import UNDEFINED
from relink.errors import LinkError, RelocationError
from relink.memory.buffers import read_words
from relink.objects.align import align_types, realign
from relink.objects.combined import CombinedTable
from relink.objects.input_sections import InputSection
from relink.objects.symbols import Symbols

#: Sections that describe code, including discarded copies.
_TABLES = (".eh_frame", ".gcc_except_table", ".ARM.exidx", ".ARM.extab", "__patchable_function_entries")
_NARROWEST = 31  #: width in bits of the narrowest absolute address of a code model
_REPORTED = 20  #: maximum number of entries of a table that are reported individually


class InputTable(NamedTuple):
    """The relocations of one section of an object; arrays have one element per entry."""

    target: InputSection
    offset: U64  #: offset from the start of `target`
    type: U32
    symbol: I64  #: rows of `Symbols`
    addend: I64 | None


def narrowest(row: Reloc) -> int:
    """n when an address must be below 2^n for entries of this type; 64 when it may be any."""
    if row.formula is None or row.word is None or row.role is not Role.DATA:
        return 64
    if not row.formula.letters <= {"S", "A"} or "S" not in row.formula.letters:
        return 64
    bits = address_bits(row.word)
    return bits if bits >= _NARROWEST else 64  # narrower fields are for constants


def is_direct(row: Reloc) -> bool:
    """Whether entries of this type, which are no branches, refer to a symbol relative to themselves, without the
    GOT.
    """
    letters = row.formula.letters if row.formula is not None else frozenset[str]()
    return row.role in (Role.DATA, Role.HIGH) and {"S", "P"} <= letters <= {"S", "A", "P"}


def addends_in_place(arch: Architecture, content: U8, offsets: U64, types: U32) -> I64:
    """The addends that places hold, of entries without (SHT_REL); 0 for places that are not whole in `content`."""
    addends = np.zeros(len(offsets), np.int64)
    for number in distinct(types).tolist():
        row = arch.relocations.get(number)
        if row is not None and row.word is not None:
            whole = offsets + np.uint64(row.word.size) <= np.uint64(len(content))
            mine = indices_where((types == number) & whole)
            raw = read_words(content, offsets[mine].astype(np.int64), row.word.size)
            addends[mine] = row.word.read(raw).view(np.int64)
    return addends


class InputTables:
    """The entries of all kept sections, in link order.

    Each entry: `offset` from the start of its section, `type`, `symbol` (row of `Symbols`), `addend` (None when
    all are in place), and `table`, the number of its table. Each table: `target`, the number of the section that
    it patches, and `rows`, its own row in `batch.sections`; its entries are those from `first[number]` on.
    """

    def __init__(self, arch: Architecture, symbols: Symbols) -> None:
        self.arch, self.symbols = arch, symbols
        self.sections, self.batch = symbols.sections, symbols.batch
        self.errors: list[LinkError] = []
        found = BatchRelocations(symbols.rows)
        place = self.sections.place[found.targets]
        counts = np.diff(found.first)
        kept = (place >= 0) & (counts > 0)
        self.offset: U64 = found.offset
        self._realign(found, kept, place)
        base = symbols.base[self.batch.section_file[found.rows]][found.table]
        rows = symbols.referred(np.where(found.symbol == 0, 0, found.symbol + base))
        gone = symbols.dropped[rows]
        wanted = kept[found.table]
        if (gone & wanted).any():
            self.errors += self._dropped(found, place, gone & wanted)
        wanted &= ~gone
        number = np.cumsum(kept) - 1
        self.target: I64 = place[kept]
        self.rows: I64 = found.rows[kept]
        self.explicit: Bools = found.explicit[kept]
        self.table: I64 = number[found.table]
        self.type, self.symbol, self.addend = found.type, rows, found.addend
        if not wanted.all():
            self.table, self.offset, self.type = self.table[wanted], self.offset[wanted], self.type[wanted]
            self.symbol = rows[wanted]
            self.addend = None if found.addend is None else found.addend[wanted]
        self._by_type: list[tuple[int, I64]] | None = None
        self.first: I64 = np.searchsorted(self.table, np.arange(len(self.target) + 1))

    def __len__(self) -> int:
        return len(self.target)

    def _realign(self, found: BatchRelocations, kept: Bools, place: I64) -> None:
        """Remove excess padding from code. Raises MalformedElf, also for tables that could not be read."""
        aligned = set(found.table[one_of(found.type, align_types(self.arch.name))].tolist())
        file = self.batch.section_file[found.rows]
        events = [(int(file[number]), False, number) for number in found.refused]
        events += [(int(file[number]), True, number) for number in aligned if kept[number]]
        for owner, is_aligned, number in sorted(events):
            if not is_aligned:
                raise found.refused[number]
            entries = slice(int(found.first[number]), int(found.first[number + 1]))
            realigned = realign(self.arch, self.batch.files[owner], found.one(number))
            if realigned is None:
                continue
            target = int(place[number])
            self.sections.realigned[target] = realigned
            self.sections.size[target] = len(realigned.content)
            if not self.offset.flags.writeable or self.offset is found.offset:
                self.offset = found.offset.copy()
            self.offset[entries] = realigned.moved(self.offset[entries])

    def _dropped(self, found: BatchRelocations, place: I64, gone: Bools) -> Iterator[RelocationError]:
        """Errors for entries that refer to a section discarded with its COMDAT group.

        Sections that describe code may have such entries, which are then ignored; code and data may not.
        """
        for number in distinct(found.table[gone]).tolist():
            target = self.sections[int(place[number])]
            if target.name.startswith(_TABLES):
                continue
            entries = slice(int(found.first[number]), int(found.first[number + 1]))
            for offset in self.offset[entries][gone[entries]][:_REPORTED].tolist():
                yield RelocationError(
                    self.symbols.name,
                    "refers to a section that was discarded",
                    offset=offset,
                    section=_source(self.batch, int(found.rows[number])),
                    type_name="relocation",
                )

    def entries(self, number: int) -> slice:
        """The entries of table `number`."""
        return slice(int(self.first[number]), int(self.first[number + 1]))

    def one(self, number: int) -> InputTable:
        """Table `number`."""
        some = self.entries(number)
        addend = self.addend[some] if self.addend is not None and self.explicit[number] else None
        target = self.sections[int(self.target[number])]
        return InputTable(target, self.offset[some], self.type[some], self.symbol[some], addend)

    def types_used(self) -> list[tuple[int, I64]]:
        """(type number, rows of the symbols its entries refer to), over all tables."""
        if self._by_type is None:
            order = np.argsort(self.type, kind="stable")
            types, symbols = self.type[order], self.symbol[order]
            numbers, starts = np.unique(types, return_index=True)
            self._by_type = (
                list(zip(numbers.tolist(), np.split(symbols, starts[1:]), strict=True)) if len(types) else []
            )
        return self._by_type

    def move(self, number: int, symbol: I64, addend: I64) -> None:
        """Change the symbols and the addends of table `number`."""
        some = self.entries(number)
        assert self.addend is not None
        if not self.addend.flags.writeable:
            self.addend = self.addend.copy()
        self.symbol[some], self.addend[some] = symbol, addend
        self._by_type = None

    def low_bits(self) -> int:
        """n when the image must be below 2^n for its narrowest absolute address (x86-64's small code model,
        RISC-V's medlow).
        """
        bits = 64
        for number, _ in self.types_used():
            row = self.arch.relocations.get(number)
            bits = bits if row is None else min(bits, narrowest(row))
        return bits

    def direct(self) -> I64:
        """Rows of undefined symbols that entries other than branches refer to relative to themselves, without the
        GOT."""
        found = []
        for number, symbols in self.types_used():
            row = self.arch.relocations.get(number)
            if row is not None and is_direct(row):
                found.append(symbols[self.symbols.section[symbols] == UNDEFINED])
        if not any(map(len, found)):
            return np.zeros(0, np.int64)
        rows = distinct(np.concatenate(found))
        wanted: I64 = rows[rows != 0]
        return wanted

    def combined(self) -> CombinedTable:
        """All entries in one table, with image offsets; where REL and RELA are mixed, with addends."""
        if not len(self):
            nothing = np.zeros(0, np.uint64)
            return CombinedTable(".rela", nothing, nothing.astype(np.uint32), nothing.astype(np.uint32), None)
        start, size = self.sections.offset[self.target], self.sections.size[self.target]
        target, rows, batch = start, self.rows, self.batch  # without `self`, whose arrays are then released
        return CombinedTable(
            ".rela",
            self._image_offsets(start, size),
            self.type,
            self.symbol.astype(np.uint32),
            self._addends() if self.explicit.any() else None,
            self.first[:-1],
            lambda number: (_source(batch, int(rows[number])), int(target[number])),
            start + size,
        )

    def _addends(self) -> I64:
        """The addends of all entries, those in place too."""
        assert self.addend is not None
        if self.explicit.all():
            return self.addend
        addends = self.addend.copy()
        for number in indices_where(~self.explicit).tolist():
            addends[self.entries(number)] = self.addends(self.one(number))
        return addends

    def addends(self, table: InputTable) -> I64:
        """The addends of a table's entries, those in place too."""
        target = table.target
        if table.addend is not None:
            return table.addend
        content = target.file.section_bytes(target.index) if target.bits else np.zeros(0, np.uint8)
        return addends_in_place(self.arch, content, table.offset, table.type)

    def _image_offsets(self, start: I64, size: I64) -> U64:
        reverse = self.sections.reversed[self.target]
        offset = self.offset + start.astype(np.uint64)[self.table]
        if reverse.any():
            mine = indices_where(reverse[self.table])
            table, old, word = self.table[mine], self.offset[mine], np.uint64(self.arch.word_size)
            new = size.astype(np.uint64)[table] - word - old // word * word + old % word
            offset[mine] = new + start.astype(np.uint64)[table]
        return offset


def _source(batch: ObjectBatch, row: int) -> str:
    """The name of a relocation section in errors: object and section."""
    return f"{batch.files[int(batch.section_file[row])].name}({batch.section_names.text(row)})"

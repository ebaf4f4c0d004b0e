"""The static relocations of all objects: the entries for kept sections, with rows of the combined symbol table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from relink.arch import Architecture, Role
from relink.arch.fields import address_bits
from relink.arrays import I64, U8, U32, U64
from relink.elf.objects import UNDEFINED, ObjectRelocations
from relink.errors import LinkError, RelocationError
from relink.memory.buffers import read_words
from relink.objects.align import realign
from relink.objects.combined import CombinedTable, InputSection
from relink.objects.symbols import Symbols

#: Sections that describe code, including discarded copies.
_TABLES = (".eh_frame", ".gcc_except_table", ".ARM.exidx", ".ARM.extab", "__patchable_function_entries")
_NARROWEST = 31  #: width in bits of the narrowest absolute address of a code model
_REPORTED = 20  #: maximum number of entries of a table that are reported individually


class InputTable(NamedTuple):
    """The relocations of one section of an object; arrays have one element per entry."""

    target: InputSection
    name: str  #: name of the relocation section
    offset: U64  #: offset from the start of `target`
    type: U32
    symbol: I64  #: rows of `Symbols`
    addend: I64 | None

    @property
    def source(self) -> str:
        """Its name in errors: object and relocation section."""
        return f"{self.target.file.name}({self.name})"


def addends_in_place(arch: Architecture, content: U8, offsets: U64, types: U32) -> I64:
    """The addends that places hold, of entries without (SHT_REL); 0 for places that are not whole in `content`."""
    addends = np.zeros(len(offsets), np.int64)
    for number in np.unique(types).tolist():
        row = arch.relocations.get(number)
        if row is not None and row.word is not None:
            whole = offsets + np.uint64(row.word.size) <= np.uint64(len(content))
            mine = np.flatnonzero((types == number) & whole)
            raw = read_words(content, offsets[mine].astype(np.int64), row.word.size)
            addends[mine] = row.word.read(raw).view(np.int64)
    return addends


class InputTables:
    """The tables of all kept sections, in link order."""

    def __init__(
        self, arch: Architecture, symbols: Symbols, sections: Mapping[tuple[int, int], InputSection]
    ) -> None:
        self.arch, self.symbols = arch, symbols
        self.tables: list[InputTable] = []
        self.errors: list[LinkError] = []
        for number, file in enumerate(symbols.files):
            for relocations in file.loaded_relocations:
                target = sections.get((number, relocations.section))
                if target is not None and len(relocations):
                    self.tables.append(self._table(number, target, relocations))

    def _table(self, number: int, target: InputSection, relocations: ObjectRelocations) -> InputTable:
        rows = self.symbols.referred(relocations.symbol.astype(np.int64) + int(self.symbols.base[number]))
        rows = np.where(relocations.symbol == 0, 0, rows)
        offset, kind, addend = relocations.offset, relocations.type, relocations.addend
        realigned = realign(self.arch, target.file, relocations)
        if realigned is not None:
            target.realigned = realigned
            target.size = len(realigned.content)
            offset = realigned.moved(offset)
        gone = self.symbols.dropped[rows]
        if gone.any():
            self.errors += self._dropped(target, relocations.name, offset[gone])
            offset, kind, rows = offset[~gone], kind[~gone], rows[~gone]
            addend = None if addend is None else addend[~gone]
        return InputTable(target, relocations.name, offset, kind, rows, addend)

    def _dropped(self, target: InputSection, name: str, offsets: U64) -> Iterator[RelocationError]:
        """Errors for entries that refer to a section discarded with its COMDAT group.

        Sections that describe code may have such entries, which are then ignored; code and data may not.
        """
        if target.name.startswith(_TABLES):
            return
        for offset in offsets[:_REPORTED].tolist():
            yield RelocationError(
                self.symbols.name,
                "refers to a section that was discarded",
                offset=offset,
                section=f"{target.file.name}({name})",
                type_name="relocation",
            )

    def types_used(self) -> list[tuple[int, I64]]:
        """(type number, rows of the symbols its entries refer to), over all tables."""
        if not self.tables:
            return []
        types = np.concatenate([table.type for table in self.tables]).astype(np.int64)
        symbols = np.concatenate([table.symbol for table in self.tables])
        return [(int(n), symbols[types == n]) for n in np.unique(types)]

    def low_bits(self) -> int:
        """n when the image must be below 2^n for its narrowest absolute address (x86-64's small code model,
        RISC-V's medlow).
        """
        bits = 64
        for number, _ in self.types_used():
            row = self.arch.relocations.get(number)
            if row is None or row.formula is None or row.word is None:
                continue
            if row.formula.letters <= {"S", "A"} and "S" in row.formula.letters and row.role is Role.DATA:
                # Narrower fields are for constants.
                bits = min(bits, address_bits(row.word) if address_bits(row.word) >= _NARROWEST else bits)
        return bits

    def direct(self) -> I64:
        """Rows of undefined symbols that entries other than branches refer to relative to themselves, without the
        GOT."""
        found = [np.zeros(0, np.int64)]
        for number, symbols in self.types_used():
            row = self.arch.relocations.get(number)
            letters = row.formula.letters if row is not None and row.formula is not None else frozenset[str]()
            if row is not None and row.role in (Role.DATA, Role.HIGH) and {"S", "P"} <= letters <= {"S", "A", "P"}:
                found.append(symbols[self.symbols.section[symbols] == UNDEFINED])
        rows: I64 = np.setdiff1d(np.concatenate(found), [0])
        return rows

    def combined(self) -> CombinedTable:
        """All entries in one table, with image offsets; where REL and RELA are mixed, with addends."""
        tables = self.tables
        if not tables:
            nothing = np.zeros(0, np.uint64)
            return CombinedTable(".rela", nothing, nothing.astype(np.uint32), nothing.astype(np.uint32), None)
        addends: list[I64] = []
        if any(table.addend is not None for table in tables):
            addends = [self.addends(table) for table in tables]
        return CombinedTable(
            ".rela",
            np.concatenate([self._image_offsets(table) for table in tables]),
            np.concatenate([table.type for table in tables]),
            np.concatenate([table.symbol for table in tables]).astype(np.uint32),
            np.concatenate(addends) if addends else None,
            np.cumsum([0, *(len(table.offset) for table in tables)])[:-1],
            tuple((table.source, table.target.offset) for table in tables),
            np.array([table.target.offset + table.target.size for table in tables], np.int64),
        )

    def addends(self, table: InputTable) -> I64:
        """The addends of a table's entries, those in place too."""
        target = table.target
        if table.addend is not None:
            return table.addend
        content = target.file.section_bytes(target.index) if target.bits else np.zeros(0, np.uint8)
        return addends_in_place(self.arch, content, table.offset, table.type)

    def _image_offsets(self, table: InputTable) -> U64:
        offset = table.offset
        if table.target.reversed:
            word = np.uint64(self.arch.word_size)
            offset = np.uint64(table.target.size) - word - offset // word * word + offset % word
        return offset + np.uint64(table.target.offset)

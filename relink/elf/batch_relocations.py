"""The relocations of several relocatable objects as arrays (see `relink.elf.object_batch`)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from relink.arrays import I64, U32, U64, AnyArray, Bools, distinct, indices_where, one_of
from relink.elf.batch_symbols import BatchSymbols
from relink.elf.constants import SectionFlag, SectionType
from relink.elf.object_relocations import RELOCATION_SECTIONS, ObjectRelocations
from relink.errors import ElfError

_ALLOC, _COMPRESSED, _NOBITS = int(SectionFlag.ALLOC), int(SectionFlag.COMPRESSED), int(SectionType.NOBITS)
_GNU_COMPRESSED = ".zdebug_"
#: Up to this number of tables, each is read separately: array operations would cost more.
_FEW = 4
_TABLES = tuple(map(int, RELOCATION_SECTIONS))
_PLAIN = (int(SectionType.REL), int(SectionType.RELA))


class BatchRelocations:
    """The relocations of the sections of all objects that are loaded (SHF_ALLOC), in file order.

    Each table: `rows` and `targets` are the section rows of the relocation section and of what it patches; its
    entries are those from `first` on; `explicit` is whether they have addends. Each entry: `offset`, `type`,
    `symbol` as in `ObjectRelocations`, and `addend` (0 where it is in place), None if no table has addends.

    `refused` are the tables that cannot be read, with their errors; they have no entries here.
    """

    def __init__(self, symbols: BatchSymbols) -> None:
        self.symbols, self.batch = symbols, symbols.batch
        self.refused: dict[int, ElfError] = {}
        self._rela = True  #: the commonest type
        self._find()
        self.first: I64 = np.zeros(len(self.rows) + 1, np.int64)
        self.explicit: Bools = np.ones(len(self.rows), np.bool_)
        self.offset: U64 = np.zeros(0, np.uint64)
        self.type: U32 = np.zeros(0, np.uint32)
        self.table: I64 = np.zeros(0, np.int64)
        self.symbol: U32 = self.type
        self.addend: I64 | None = None
        if len(self.rows):
            self._read_all()

    def _read_all(self) -> None:
        plain = self._plain_headers() if len(self.rows) > _FEW else np.zeros(len(self.rows), np.bool_)
        self._odd: dict[int, ObjectRelocations] = {}
        self._decode(indices_where(~plain))
        self._read(plain)
        if plain.any() and len(unfit := self._suspects()):
            self._decode(unfit)
            plain[unfit] = False
            self._read(plain)

    def one(self, number: int) -> ObjectRelocations:
        """One table by itself."""
        row = int(self.rows[number])
        file = int(self.batch.section_file[row])
        some = slice(int(self.first[number]), int(self.first[number + 1]))
        addend = self.addend[some] if self.addend is not None and self.explicit[number] else None
        start = int(self.batch.first_section[file])
        section, name = int(self.targets[number]) - start, self.batch.section_names.text(row)
        columns = self.offset[some], self.type[some], self.symbol[some], addend
        return ObjectRelocations(section, row - start, name, *columns)

    def _find(self) -> None:
        batch = self.batch
        rows = indices_where(one_of(batch.sections["type"], _TABLES))
        file = batch.section_file[rows]
        first, count = batch.first_section[file], np.diff(batch.first_section)[file]
        info = batch.sections["info"][rows].astype(np.int64)
        valid = (info > 0) & (info < count) & (first + info != rows)
        targets = np.where(valid, first + info, 0)
        loaded = batch.sections["flags"][targets] & batch.sections["flags"].dtype.type(_ALLOC) != 0
        wanted = loaded | ~valid
        self.rows: I64 = rows[wanted]
        self.targets: I64 = np.where(valid, targets, -1)[wanted]

    def _plain_headers(self) -> Bools:
        """Which tables have valid headers and the commonest type."""
        batch, symbols = self.batch, self.symbols
        rows, file = batch.sections[self.rows], batch.section_file[self.rows]
        rela = rows["type"] == _PLAIN[1]
        self._rela = bool(2 * np.count_nonzero(rela) >= len(rela))
        size = (batch.layout.rela if self._rela else batch.layout.rel).itemsize
        table = symbols.tables[file]
        link = rows["link"].astype(np.int64)
        number = table - batch.first_section[file]
        linked = np.where(link == 0, (table < 0) | (rows["size"] == 0), (table >= 0) & (link == number))
        zip_ = rows["flags"].dtype.type(_COMPRESSED)
        plain: Bools = (
            (self.targets >= 0)
            & (rows["type"] == _PLAIN[self._rela])
            & (rows["entsize"] == size)
            & (rows["size"] % rows["size"].dtype.type(size) == 0)
            & linked
            & ((rows["flags"] | batch.sections["flags"][self.targets]) & zip_ == 0)
        )
        zipped = batch.sections_prefixed(_GNU_COMPRESSED)
        if len(zipped):
            plain &= ~np.isin(self.rows, zipped) & ~np.isin(self.targets, zipped)
        return plain

    def _decode(self, tables: I64) -> None:
        """Read some tables separately."""
        batch = self.batch
        for number in tables.tolist():
            row = int(self.rows[number])
            file = int(batch.section_file[row])
            try:
                self._odd[number] = batch.files[file].relocation_table(row - int(batch.first_section[file]))
            except ElfError as error:
                self.refused[number] = error

    def _read(self, plain: Bools) -> None:
        batch, layout = self.batch, self.batch.layout
        picked = indices_where(plain)
        parts = batch.section_bytes(self.rows[picked])
        records: AnyArray = np.frombuffer(b"".join(parts), layout.rela if self._rela else layout.rel)
        size = records.dtype.itemsize
        counts = np.zeros(len(self.rows), np.int64)
        counts[picked] = np.fromiter(map(len, parts), np.int64, len(parts)) // size
        for number, table in self._odd.items():
            counts[number] = len(table)
        counts.cumsum(out=self.first[1:])
        self.table = np.arange(len(counts)).repeat(counts)
        self.explicit[:] = self._rela
        offset = records["offset"].astype(np.uint64)
        if layout.bits == 64:
            type_, symbol = records["type"].copy(), records["symbol"].copy()
        else:
            type_, symbol = records["info"] & np.uint32(0xFF), records["info"] >> np.uint32(8)
        addend = records["addend"].astype(np.int64) if self._rela else np.zeros(len(records), np.int64)
        for number, table in self._odd.items():
            self.explicit[number] = table.addend is not None
        odd = sorted(self._odd)
        mine = [self._odd[number] for number in odd]
        nothing = [np.zeros(len(t), np.int64) if t.addend is None else t.addend for t in mine]
        cuts = (np.cumsum(np.where(plain, counts, 0)) - np.where(plain, counts, 0))[odd].tolist()
        self.offset = _joined(offset, cuts, [t.offset for t in mine])
        self.type = _joined(type_, cuts, [t.type for t in mine])
        self.symbol = _joined(symbol, cuts, [t.symbol for t in mine])
        explicit = bool(self.explicit.any())
        self.addend = _joined(addend, cuts, nothing) if explicit else None

    def _suspects(self) -> I64:
        """The plain tables that `read_object_relocations` may refuse."""
        batch = self.batch
        file = batch.section_file[self.rows]
        limit = np.maximum(np.diff(self.symbols.first)[file], 1)
        target = batch.sections[self.targets]
        room = np.where(target["type"] == _NOBITS, 0, target["size"]).astype(np.uint64)
        bad = (self.symbol >= limit[self.table]) | (self.offset >= room[self.table])
        found = distinct(self.table[bad])
        return found[[number not in self._odd for number in found.tolist()]]


def _joined(array: AnyArray, cuts: list[int], inserted: list[AnyArray]) -> AnyArray:
    """`array` with other arrays inserted before the elements numbered `cuts`, ascending."""
    if not cuts:
        return array
    parts = [array[: cuts[0]]]
    for part, (start, end) in zip(inserted, pairwise([*cuts, len(array)]), strict=True):
        parts += [part, array[start:end]]
    return np.concatenate(parts)

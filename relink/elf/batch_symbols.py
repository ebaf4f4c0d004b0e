"""The symbol tables of several relocatable objects as one (see `relink.elf.object_batch`)."""

from __future__ import annotations

import numpy as np

from relink.arrays import I64, U8, AnyArray, Bools, indices_where
from relink.elf.constants import SHN_ABS, SHN_COMMON, SHN_LORESERVE, SectionFlag, SectionType, SymbolBind
from relink.elf.contents import frozen
from relink.elf.names import Names
from relink.elf.object_batch import ObjectBatch
from relink.elf.object_symbols import ABSOLUTE, COMMON
from relink.elf.strings import Piece, Pieces
from relink.errors import ElfError

_COMPRESSED = int(SectionFlag.COMPRESSED)
_SYMTAB, _STRTAB, _SYMTAB_SHNDX = (
    int(type_) for type_ in (SectionType.SYMTAB, SectionType.STRTAB, SectionType.SYMTAB_SHNDX)
)
_LOCAL = int(SymbolBind.LOCAL)
_GNU_COMPRESSED = ".zdebug_"


class BatchSymbols:
    """The symbols of all objects, each object's undefined symbol 0 included; one row per symbol.

    - `records`: the rows as in the files (`Layout.symbol`); `section` is as in `ObjectSymbols`;
    - `file`: the number of the object; `first`: the first row of each object, and the number of all rows;
    - `first_global`: the index in its object of the first symbol that is not local;
    - `names`, in `pieces`: the names. `tables` are the section rows of the symbol tables, -1 for none.
    """

    def __init__(self, batch: ObjectBatch) -> None:
        """Raises what `ObjectFile.symbols` raises, for the first bad object."""
        self.batch = batch
        self.tables = self._find_tables()
        self._odd: set[int] = set()
        self._decode(np.ones(len(batch), np.bool_) if batch.few else ~self._plain())
        self._read()
        if not batch.few and (unfit := self._suspects()).any():
            self._decode(unfit)
            self._read()

    def check_names(self) -> None:
        """Raise what `ObjectFile.symbols.names` raises for the first bad object."""
        for number in indices_where(self._bad_names).tolist():
            _ = self.batch.files[number].symbols.names

    def __len__(self) -> int:
        return len(self.records)

    def _find_tables(self) -> I64:
        batch = self.batch
        found = indices_where(batch.sections["type"] == _SYMTAB)
        tables = np.full(len(batch), -1, np.int64)
        tables[batch.section_file[found[::-1]]] = found[::-1]
        return tables

    def _plain(self) -> Bools:
        """Which objects have at most one symbol table, with a valid header, and no table of section indices."""
        batch, tables = self.batch, self.tables
        if not len(batch.sections):
            return np.ones(len(batch), np.bool_)
        rows = batch.sections[np.maximum(tables, 0)]
        count, size = np.diff(batch.first_section), self.batch.layout.symbol.itemsize
        link = rows["link"].astype(np.int64)
        strings = batch.sections[np.where(link < count, batch.first_section[:-1] + link, 0)]
        plain: Bools = (
            (rows["entsize"] == size)
            & (rows["size"] % rows["size"].dtype.type(size) == 0)
            & (rows["info"] * rows["size"].dtype.type(size) <= rows["size"])
            & (link > 0)
            & (link < count)
            & (strings["type"] == _STRTAB)
            & ((rows["flags"] | strings["flags"]) & rows["flags"].dtype.type(_COMPRESSED) == 0)
        )
        plain |= tables < 0
        type_, file = batch.sections["type"], batch.section_file
        plain &= np.bincount(file, type_ == _SYMTAB, len(batch)) <= 1
        plain[file[type_ == _SYMTAB_SHNDX]] = False
        plain[file[batch.sections_prefixed(_GNU_COMPRESSED)]] = False
        return plain

    def _decode(self, unfit: Bools) -> None:
        """Read the tables of some objects separately."""
        for number in indices_where(unfit).tolist():
            try:
                _ = self.batch.files[number].symbols
            except ElfError:
                if number and not self._odd:  # an earlier object may have another fault
                    BatchSymbols(ObjectBatch(self.batch.files[:number]))
                raise
        self._odd.update(indices_where(unfit).tolist())

    def _read(self) -> None:
        batch = self.batch
        symbols, texts = self._plain_tables()
        for number in self._odd:
            table = batch.files[number].symbols
            symbols[number] = table.records.tobytes()
            texts[number] = table.strings.data.data
            self.first_global[number] = table.first_global
        size = batch.layout.symbol.itemsize
        counts = np.fromiter(map(len, symbols), np.int64, len(symbols)) // size
        self.first: I64 = np.zeros(len(counts) + 1, np.int64)
        counts.cumsum(out=self.first[1:])
        self.file: I64 = np.arange(len(counts)).repeat(counts)
        self.records: AnyArray = np.frombuffer(b"".join(symbols), batch.layout.symbol)
        self.pieces = Pieces(texts)
        self.names: Names
        self.names, self._bad_names = self.pieces.names(self.file, self.records["name"])
        self._read_sections()

    def _plain_tables(self) -> tuple[list[Piece], list[Piece]]:
        """The symbol tables, and their string tables; empty for the objects whose tables are read separately. Sets
        `first_global`.
        """
        batch, tables = self.batch, self.tables
        if batch.few or not len(batch.sections):
            self.first_global = np.zeros(len(batch), np.int64)
            return [b""] * len(batch), [b""] * len(batch)
        rows = batch.sections[np.maximum(tables, 0)]
        good = tables >= 0
        good[list(self._odd)] = False
        files = np.arange(len(batch))
        symbols = batch.gather(files, *(np.where(good, rows[f], 0).astype(np.int64) for f in ("offset", "size")))
        strings = batch.sections[np.where(good, batch.first_section[:-1] + rows["link"], 0)]
        texts = batch.gather(files, *(np.where(good, strings[f], 0).astype(np.int64) for f in ("offset", "size")))
        self.first_global = np.where(good, rows["info"], 0).astype(np.int64)
        return symbols, texts

    def _read_sections(self) -> None:
        """Set `section`."""
        section = self.records["shndx"].astype(np.int64)
        section[section == SHN_ABS] = ABSOLUTE
        section[section == SHN_COMMON] = COMMON
        for number in self._odd:
            section[self.rows_of(number)] = self.batch.files[number].symbols.section
        self.section: I64 = frozen(section)

    def rows_of(self, number: int) -> slice:
        """The rows of object `number`."""
        return slice(int(self.first[number]), int(self.first[number + 1]))

    def _suspects(self) -> Bools:
        """Which objects `ObjectFile.symbols` may refuse, or has another reserved section index."""
        found = np.zeros(len(self.batch), np.bool_)
        count = np.diff(self.batch.first_section)[self.file]
        found[self.file[(self.section >= SHN_LORESERVE) | (self.section >= count)]] = True
        found[self.file[self.is_global != (self.bind != _LOCAL)]] = True
        found[list(self._odd)] = False
        return found

    @property
    def is_global(self) -> Bools:
        """bool[n]: which symbols come after the local ones of their object."""
        index = np.arange(len(self)) - self.first[self.file]
        found: Bools = index >= self.first_global[self.file]
        return found

    @property
    def bind(self) -> U8:
        """The binding of each symbol."""
        found: U8 = self.records["info"] >> np.uint8(4)
        return found

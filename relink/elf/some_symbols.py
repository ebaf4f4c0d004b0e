"""Some rows of a symbol table: their columns, without those of the whole table, which may be far larger."""

from __future__ import annotations

import numpy as np

from relink.arrays import I64, U8, U16, U64, AnyArray, everywhere
from relink.elf.constants import SHN_ABS, SymbolType
from relink.records import cached_property

_TLS = np.uint8(SymbolType.TLS)


class SomeSymbols:
    """The columns of the rows `symbols` of a table's `records`, with one element per symbol (see `SymbolRows`)."""

    def __init__(self, records: AnyArray, symbols: I64) -> None:
        self._rows = rows = records.take(symbols)  # whole rows at once take as long as three columns
        self.section: U16 = rows["shndx"]
        self.info: U8 = rows["info"]
        self.other: U8 = rows["other"]

    @cached_property
    def value(self) -> U64:
        found: U64 = self._rows["value"].astype(np.uint64, copy=False)
        return found

    @cached_property
    def size(self) -> U64:
        found: U64 = self._rows["size"].astype(np.uint64, copy=False)
        return found

    @cached_property
    def type(self) -> U8:
        return self.info & np.uint8(15)

    @cached_property
    def visibility(self) -> U8:
        return self.other & np.uint8(3)

    def addresses(self, bias: np.uint64, mask: np.uint64) -> U64:
        """The values of symbols that are defined in an image with this load bias: addresses modulo `mask` + 1, or
        the value itself where it is no address (SHN_ABS, and offsets of thread-local storage).
        """
        rebased = (self.section != SHN_ABS) & (self.type != _TLS)
        found: U64 = (self.value + bias) & mask
        return found if everywhere(rebased) else np.where(rebased, found, self.value)

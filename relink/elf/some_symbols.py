"""Some rows of a symbol table: their columns, without those of the whole table, which may be far larger."""

from __future__ import annotations

import numpy as np

from relink.arrays import I64, U8, U16, U64, AnyArray
from relink.records import cached_property


class SomeSymbols:
    """The columns of the rows `symbols` of a table's `records`, with one element per symbol (see `SymbolRows`)."""

    def __init__(self, records: AnyArray, symbols: I64) -> None:
        self._records, self._symbols = records, symbols

    @cached_property
    def value(self) -> U64:
        found: U64 = self._records["value"][self._symbols].astype(np.uint64, copy=False)
        return found

    @cached_property
    def size(self) -> U64:
        found: U64 = self._records["size"][self._symbols].astype(np.uint64, copy=False)
        return found

    @cached_property
    def section(self) -> U16:
        found: U16 = self._records["shndx"][self._symbols]
        return found

    @cached_property
    def _info(self) -> U8:
        found: U8 = self._records["info"][self._symbols]
        return found

    @property
    def bind(self) -> U8:
        return self._info >> np.uint8(4)

    @cached_property
    def type(self) -> U8:
        return self._info & np.uint8(15)

    @property
    def visibility(self) -> U8:
        found: U8 = self._records["other"][self._symbols] & np.uint8(3)
        return found

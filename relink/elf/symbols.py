"""The dynamic symbol table as arrays, and lookup of many names at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from relink.arrays import I64, U8, U16, U32, U64, AnyArray
from relink.elf.constants import SHN_UNDEF
from relink.elf.contents import frozen
from relink.elf.hashes import HashTable, NoHash
from relink.elf.layout import ELF64
from relink.elf.names import Names, flat_indices
from relink.elf.strings import StringTable
from relink.errors import MalformedElf


@dataclass(frozen=True, eq=False)
class SymbolRows:
    """What every symbol table says of its symbols, as read-only arrays of one element each.

    `records` are the rows as they lie in the file or image (`Layout.symbol`), `strings` the table their names
    are in.
    """

    records: AnyArray
    strings: StringTable

    def __len__(self) -> int:
        return len(self.records)

    @cached_property
    def value(self) -> U64:
        """st_value, uint64[n]."""
        return frozen(self.records["value"].astype(np.uint64))

    @cached_property
    def size(self) -> U64:
        """st_size in bytes, uint64[n]."""
        return frozen(self.records["size"].astype(np.uint64))

    @cached_property
    def info(self) -> U8:
        """st_info, uint8[n]."""
        return frozen(self.records["info"].copy())

    @cached_property
    def other(self) -> U8:
        """st_other, uint8[n]."""
        return frozen(self.records["other"].copy())

    @cached_property
    def bind(self) -> U8:
        """The `Binding` of each symbol, uint8[n]."""
        return frozen(self.info >> np.uint8(4))

    @cached_property
    def type(self) -> U8:
        """The `SymbolType` of each symbol, uint8[n]."""
        return frozen(self.info & np.uint8(15))

    @cached_property
    def visibility(self) -> U8:
        """The `Visibility` of each symbol, uint8[n]."""
        return frozen(self.other & np.uint8(3))

    @cached_property
    def names(self) -> Names:
        """The name of each symbol. Raises MalformedElf for one outside the string table or without an end."""
        return self.strings.names(self.records["name"], "symbol names")


@dataclass(frozen=True, eq=False)
class SymbolTable(SymbolRows):
    """DT_SYMTAB: one row per symbol, row 0 the undefined symbol. Raw fields, link-time values.

    `records` are the rows as they lie in the image (`Layout.symbol`), `strings` the table their names are in,
    `hash_table` the way in by name, `versym` the raw DT_VERSYM row (uint16[n]) or None.
    """

    hash_table: HashTable
    versym: U16 | None

    @classmethod
    def empty(cls, name: str) -> SymbolTable:
        """No symbols at all."""
        strings = StringTable(name, frozen(np.empty(0, np.uint8)))
        return cls(frozen(np.empty(0, ELF64.symbol)), strings, NoHash(), None)

    @cached_property
    def section(self) -> U16:
        """st_shndx, uint16[n]; 0 means undefined."""
        return frozen(self.records["shndx"].copy())

    @property
    def has_versions(self) -> bool:
        """Whether the image has DT_VERSYM."""
        return self.versym is not None

    @cached_property
    def version(self) -> U16:
        """The raw versym entry (index and hidden bit) of each symbol, uint16[n]; all 1 without DT_VERSYM."""
        return frozen(np.ones(len(self), np.uint16)) if self.versym is None else self.versym

    def candidates(self, names: Names) -> tuple[I64, I64]:
        """Every definition of any of `names`: (request, symbol), int64[m] each.

        `names[request[k]]` is the name of the symbol `symbol[k]`, which is defined (st_shndx not 0) or, being
        undefined, stands for its PLT entry (st_value not 0); pairs come ordered by request, then as the
        image's hash table chains them. Ask for each name once: asked for repeatedly it is answered
        repeatedly. Raises MalformedElf when the table is all collisions.
        """
        keys, symbols = self._index
        hashes = self.hash_table.hash_of(names)
        wanted = hashes >> np.uint32(self.hash_table.lost_bits)
        order = np.argsort(wanted)  # a binary search per name is several times faster in ascending order
        first, count = np.empty(len(names), np.int64), np.empty(len(names), np.int64)
        first[order] = np.searchsorted(keys, wanted[order], "left")
        count[order] = np.searchsorted(keys, wanted[order], "right") - first[order]
        if int(count.sum()) > 8 * (len(names) + len(self)) + 1024:
            raise MalformedElf(self.strings.name, f"{int(count.sum())} hash collisions over {len(self)} symbols")
        request = np.repeat(np.arange(len(names)), count)
        symbol = symbols[flat_indices(first, count)]
        met = np.flatnonzero(self.hash_table.reaches(hashes[request], symbol))
        request, symbol = request[met], symbol[met]
        same = names.equal(request, self.names, symbol)
        return request[same], symbol[same]

    def find(self, name: str | bytes) -> I64:
        """The indices of all definitions of one name, in chain order."""
        return self.candidates(Names.of([name]))[1]

    @cached_property
    def _index(self) -> tuple[U32, I64]:
        """Hashes of all defined entries in ascending order (without the lost bits), and their symbols."""
        hashes, symbols = self.hash_table.entries(self.names)
        defined = self.records["shndx"][symbols] != SHN_UNDEF
        if not defined.all():
            defined |= self.records["value"][symbols] != 0
        keys = hashes[defined] >> np.uint32(self.hash_table.lost_bits)
        symbols = symbols[defined]
        # Key and position in one number: a plain sort is then stable, and several times faster than argsort.
        packed = (keys.astype(np.uint64) << np.uint64(32)) | np.arange(len(keys), dtype=np.uint64)
        packed.sort()
        order = (packed & np.uint64(0xFFFFFFFF)).astype(np.int64)
        return (packed >> np.uint64(32)).astype(np.uint32), symbols[order]

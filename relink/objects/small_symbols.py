"""`SmallSymbolTable`: the symbol table of a small object as an image; each row is computed when it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from relink.arrays import AnyArray
from relink.elf import SymbolTable
from relink.elf.constants import SHN_ABS, SymbolType
from relink.elf.contents import frozen
from relink.elf.layout import SYMBOL_RECORDS
from relink.elf.small_object import SmallSymbols
from relink.elf.strings import StringTable
from relink.objects.combined import Offered
from relink.records import cached_property

DATA = frozenset(bind << 4 | SymbolType.OBJECT for bind in (1, 2))  #: st_info of global and weak data
_HIDDEN, _PROTECTED = 2, 3


class SmallSymbolTable(SymbolTable):
    """The symbols behind row 0, as `relink.objects.symbols.Symbols` has them after `settle` and
    `bind_to_own_image`.
    """

    name: str
    bits: int
    columns: SmallSymbols
    rows: Mapping[bytes, int]
    offsets: Sequence[int]
    got: tuple[int, int]

    def __init__(
        self,
        name: str,
        bits: int,
        symbols: SmallSymbols,
        rows: Mapping[bytes, int],
        offsets: Sequence[int],
        got: tuple[int, int],
    ) -> None:
        """`rows` are those of the global symbols by their names; `offsets` are those of the object's sections in
        the image, -1 for others; `got` is the row of _GLOBAL_OFFSET_TABLE_ (0: none), which the linker defines,
        and its offset.
        """
        vars(self).update(  # it is immutable for others
            bits=bits,
            columns=symbols,
            rows=rows,
            offsets=offsets,
            got=got,
            name=name,
            versym=None,
            has_unique=False,
            _checked=True,  # the names
        )

    def _defines(self, row: int) -> bool:
        section = self.columns.sections[row - 1]
        return row == self.got[0] or section == SHN_ABS or (section != 0 and self.offsets[section] >= 0)

    def candidates_of(self, name: bytes, gnu_hash: int) -> tuple[int, ...]:
        row = self.rows.get(name, 0)
        return (row,) if row and self._defines(row) else ()

    @cached_property
    def by_name(self) -> Mapping[bytes, tuple[int]]:
        return {name: (row,) for name, row in self.rows.items() if self._defines(row)}

    @property
    def offers_data(self) -> bool:
        """See `CombinedObjects`."""
        infos, others = self.columns.infos, self.columns.others
        data = [row for row in self.rows.values() if infos[row - 1] in DATA and self._defines(row)]
        return any(others[row - 1] & 3 in (0, _PROTECTED) for row in data if row != self.got[0])

    def __len__(self) -> int:
        return 1 + len(self.columns.infos)

    @cached_property
    def records(self) -> AnyArray:
        record, in_order, dtype = SYMBOL_RECORDS[self.bits]
        rows = [record.pack(*in_order(self.numbers(row))) for row in range(len(self))]
        return frozen(np.frombuffer(b"".join(rows), dtype))

    @cached_property
    def strings(self) -> StringTable:
        return StringTable(self.name, np.frombuffer(self.columns.strings, np.uint8))

    @cached_property
    def hash_table(self) -> Offered:
        return Offered(np.array([row for (row,) in self.by_name.values()], np.int64))

    def numbers(self, row: int) -> tuple[int, int, int, int, int, int]:
        if not row:
            return 0, 0, 0, 0, 0, 0
        names_at, values, sizes, infos, others, sections, *_ = self.columns
        number, index = row - 1, 0
        value, other, section = values[number], others[number], sections[number]
        if section == SHN_ABS:
            index = SHN_ABS
        elif row == self.got[0]:
            value, index, other = self.got[1], 1, other | _HIDDEN
        elif section and self.offsets[section] >= 0:
            value, index = value + self.offsets[section] & (1 << self.bits) - 1, 1
        if not index and other & 3 == _PROTECTED:  # it binds to no other image either
            other = other & ~3 | _HIDDEN
        elif index and infos[number] >> 4 and not other & 3:
            other |= _PROTECTED
        return names_at[number], value, sizes[number], infos[number], other, index

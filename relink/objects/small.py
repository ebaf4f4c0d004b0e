"""`SmallObject`: one small relocatable object laid out as an image, made by `relink.objects.small_link`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from relink.arch.spec import Stub
from relink.arrays import I64
from relink.elf.constants import SegmentType, SymbolType
from relink.elf.contents import Contents, frozen
from relink.elf.dynamic import Dynamic
from relink.elf.object_batch import ObjectBatch
from relink.memory.address_space import Protection
from relink.objects.combined import CombinedObjects, CombinedTable, StubTable
from relink.objects.input_sections import InputSections
from relink.objects.linker_symbols import GOT
from relink.records import cached_property

_WRITE, _ALLOC, _CODE, _NOBITS = 1, 2, 4, 8  # flags of sections, and a type
_CALLABLE = (int(SymbolType.NOTYPE), int(SymbolType.FUNC))
_OBJECT = int(SymbolType.OBJECT)
_HIDDEN, _PROTECTED = 2, 3
_GOT = GOT.encode()
_LOAD = SegmentType.LOAD
_ROUTINES = frozenset({b"_init", b"_fini"})  #: run like DT_INIT and DT_FINI
_MOST_BYTES = 1 << 16  #: of an image
_NO_DYNAMIC, _NO_ROWS = Dynamic.empty(), frozen(np.zeros(0, np.int64))
_PROTECTIONS = tuple(map(Protection, range(8)))


#: A relocation of a linked object: (image offset, type, row of the image's symbol table, addend or None for one in
#: place, image offset of the end of its section). Plain tuples, which the collector of cycles does not visit.
SmallEntry: TypeAlias = tuple[int, int, int, int | None, int]


class SmallObject(CombinedObjects):
    """One small object as an image. What `link_small` does not know is taken from `combine`'s result, `whole`."""

    combine: Callable[[], CombinedObjects]
    #: All relocations, in file order; None for one that `replace` has made, which is like any other image.
    entries: list[SmallEntry] | None = None
    names_of_symbols: list[bytes]  #: of row 1 of the image's table, and so on
    slot_rows: list[int]  #: rows of the symbols that have slots in the GOT, ascending
    callees: list[int]  #: rows of the symbols that have stubs, ascending
    island: int  #: image offset of the stubs
    stub: Stub | None

    @cached_property
    def whole(self) -> CombinedObjects:
        """The same image, by `combine`."""
        return self.combine()

    @cached_property
    def contents(self) -> Contents:
        return Contents(self.name, self.segments, lambda s: self.data[s.offset : s.offset + s.filesz])

    @cached_property
    def input_sections(self) -> InputSections | None:
        return self.whole.input_sections

    @cached_property
    def batch(self) -> ObjectBatch | None:
        return self.whole.batch

    @cached_property
    def alias(self) -> I64:
        return self.whole.alias

    @cached_property
    def static(self) -> CombinedTable | None:
        return self.whole.static

    @cached_property
    def stubs(self) -> StubTable | None:
        return self.whole.stubs

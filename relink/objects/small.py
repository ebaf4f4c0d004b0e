"""`SmallObject`: one small relocatable object laid out as an image, made by `relink.objects.small_link`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from relink.arch.spec import Architecture, Slot, Stub
from relink.arrays import I64
from relink.elf.contents import Contents, frozen
from relink.elf.object_batch import ObjectBatch
from relink.elf.small_object import Entry
from relink.memory.address_space import PAGE, Pages
from relink.memory.made import placed_as
from relink.objects.combined import CombinedObjects, CombinedTable, StubTable
from relink.objects.input_sections import InputSections
from relink.objects.small_symbols import SmallSymbolTable
from relink.records import cached_property

#: The relocations of a section: (its image offset, its size, the entries). Symbols are numbers in the object: the
#: row in the image's table is one more, but for number 0. Plain tuples, which no search for garbage visits.
SmallTable: TypeAlias = tuple[int, int, Sequence[Entry]]


#: What is stored: (start, end) in the image, where it is in the file, and the padding in place of that, if any.
Part: TypeAlias = tuple[int, int, int, bytes]
_ADDRESS = Slot.ADDRESS
#: What `SmallObject.fill` sets.
FILLED = frozenset({"data", "results", "combine"})


class SmallObject(CombinedObjects):
    """One small object as an image. What `link_small` does not know is taken from `combine`'s result, `whole`."""

    combine: Callable[[], CombinedObjects]
    #: All relocations, in file order; None for one that `replace` has made, which is like any other image.
    entries: list[SmallTable] | None = None
    table: SmallSymbolTable
    slot_rows: list[int]  #: rows of the symbols that have slots in the GOT, ascending
    first_slot: int  #: offset of their first slot in the GOT
    word: int  #: bytes of a slot
    callees: list[int]  #: rows of the symbols that have stubs, ascending
    island: int  #: image offset of the stubs
    stub: Stub | None
    pages: tuple[Pages, ...]
    end: int  #: of the image
    parts: Sequence[Part]

    def fill(self, content: bytes, combine: Callable[[], CombinedObjects]) -> None:
        """Give the image its bytes before relocation, in whole pages: those of the object `content`."""
        data = bytearray(self.end + PAGE - 1 & -PAGE)
        for start, end, at, padding in self.parts:
            data[start:end] = padding or content[at : at + end - start]
        if self.callees and self.stub is not None:
            code = self.stub.code * len(self.callees)
            data[self.island : self.island + len(code)] = code
        array = frozen(np.frombuffer(data, np.uint8))
        vars(self).update(data=array, results=placed_as(array, self.pages), combine=combine)

    @cached_property
    def relocating(self) -> dict[int, tuple[Architecture, Any]]:
        """`id(architecture)` -> the entries as `relink.relocate.few_of_object` has read them."""
        return {}

    @cached_property
    def whole(self) -> CombinedObjects:
        """This image as `relink.objects.combine` makes it, for what is not known here."""
        return self.combine()

    @cached_property
    def contents(self) -> Contents:
        return Contents(self.name, self.segments, lambda s: self.data[s.offset : s.offset + s.filesz])

    @cached_property
    def slots(self) -> Mapping[Slot, tuple[I64, I64]]:
        if not self.slot_rows:
            return {}
        rows = np.array(self.slot_rows, np.int64)
        return {_ADDRESS: (rows, self.first_slot + self.word * np.arange(len(rows)))}

    @cached_property
    def offered(self) -> I64:
        return self.table.hash_table.symbols

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

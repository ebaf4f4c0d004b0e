"""`SmallObject`: one small relocatable object laid out as an image, made by `relink.objects.small_link`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from relink.arch.spec import Stub
from relink.arrays import I64
from relink.elf.contents import Contents
from relink.elf.object_batch import ObjectBatch
from relink.objects.combined import CombinedObjects, CombinedTable, StubTable
from relink.objects.input_sections import InputSections
from relink.records import cached_property

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

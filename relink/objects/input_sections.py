"""The sections of relocatable objects that are part of an image, as arrays; an `InputSection` is made for one that
is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import overload

import numpy as np

from relink.arrays import I64, U64, Bools, one_of
from relink.elf.constants import SectionFlag, SectionType
from relink.elf.object_batch import ObjectBatch
from relink.elf.objects import ObjectFile
from relink.objects.align import Realigned

R, RX, RWX, TLS, RW, BSS = range(6)  #: the order of sections by permission
CODE = (RX, RWX)
INDEX_TABLE = ".ARM.exidx"
_LINK_ORDER, _NOBITS = int(SectionFlag.LINK_ORDER), int(SectionType.NOBITS)


class InputSection:
    """One section of `InputSections`, whose arrays its attributes read and write."""

    __slots__ = ("_all", "number")

    def __init__(self, sections: InputSections, number: int) -> None:
        self._all, self.number = sections, number

    def __repr__(self) -> str:
        return f"InputSection({self.name!r} of {self.file.name!r} at {self.offset:#x})"

    @property
    def file(self) -> ObjectFile:
        """The object that it is part of."""
        return self._all.batch.files[int(self._all.file[self.number])]

    @property
    def index(self) -> int:
        """The section's index in the object."""
        return int(self._all.index_in_file[self.number])

    @property
    def name(self) -> str:
        return self._all.name(self.number)

    @property
    def flags(self) -> int:
        return int(self._all.flags[self.number])

    @property
    def size(self) -> int:
        """Bytes, after realignment."""
        return int(self._all.size[self.number])

    @property
    def align(self) -> int:
        return int(self._all.align[self.number])

    @property
    def bits(self) -> bool:
        """Whether it has bytes in the file."""
        return bool(self._all.bits[self.number])

    @property
    def kind(self) -> int:
        """R, RX, RWX, TLS, RW or BSS."""
        return int(self._all.kind[self.number])

    @property
    def order(self) -> tuple[int, ...]:
        """The sort key among sections of equal permission; equal keys keep link order."""
        return tuple(self._all.order[self.number].tolist())

    @property
    def output_align(self) -> int:
        """The alignment of the output section that contains it."""
        return int(self._all.output_align[self.number])

    @property
    def offset(self) -> int:
        """The offset in the image, -1 before layout."""
        return int(self._all.offset[self.number])

    @offset.setter
    def offset(self, offset: int) -> None:
        self._all.offset[self.number] = offset

    @property
    def realigned(self) -> Realigned | None:
        return self._all.realigned.get(self.number)

    @property
    def reversed(self) -> bool:
        """Whether the words run from last to first: .ctors and .dtors."""
        return self.kind == RW and is_reversed(self.name)

    @property
    def linked(self) -> int | None:
        """The index of the section in the same object that it is about (sh_link); None for other sections."""
        row = int(self._all.row[self.number])
        about = int(self._all.batch.sections["link"][row])
        ordered = self.flags & _LINK_ORDER or self.name.startswith(INDEX_TABLE)
        return about if ordered and about else None


class InputSections(Sequence[InputSection]):
    """Sections in link order. Each array has one element per section, like the attributes of `InputSection`;
    `row` are their rows in `batch.sections`, and `name_number` the numbers of their names in `texts`.
    """

    def __init__(self, batch: ObjectBatch, row: I64) -> None:
        self.batch, self.row = batch, row
        rows = batch.sections[row]
        self.file: I64 = batch.section_file[row]
        self.index_in_file: I64 = row - batch.first_section[self.file]
        self.flags: U64 = rows["flags"].astype(np.uint64)
        self.size: I64 = rows["size"].astype(np.int64)
        self.align: I64 = np.maximum(rows["addralign"].astype(np.int64), 1)
        self.bits: Bools = rows["type"] != _NOBITS
        self.texts, group = batch.section_groups
        self.name_number: I64 = group[row]
        self.kind: I64 = np.zeros(len(row), np.int64)
        self.order: I64 = np.zeros((len(row), 5), np.int64)
        self.output_align: I64 = np.ones(len(row), np.int64)
        self.offset: I64 = np.full(len(row), -1, np.int64)
        self.realigned: dict[int, Realigned] = {}
        self._made: dict[int, InputSection] = {}

    def __len__(self) -> int:
        return len(self.row)

    @overload
    def __getitem__(self, number: int) -> InputSection: ...
    @overload
    def __getitem__(self, number: slice) -> tuple[InputSection, ...]: ...
    def __getitem__(self, number: int | slice) -> InputSection | tuple[InputSection, ...]:
        if isinstance(number, slice):
            return tuple(self[each] for each in range(len(self))[number])
        number = range(len(self))[number]
        found = self._made.get(number)
        if found is None:
            found = self._made[number] = InputSection(self, number)
        return found

    def __iter__(self) -> Iterator[InputSection]:
        return map(self.__getitem__, range(len(self)))

    def name(self, number: int) -> str:
        """The name of section `number`."""
        return self.texts[int(self.name_number[number])]

    def named(self, chosen: Callable[[str], bool]) -> Bools:
        """bool[n]: the sections whose names `chosen` chooses; it is asked once for each different name."""
        return np.fromiter(map(chosen, self.texts), np.bool_, len(self.texts))[self.name_number]

    def only(self, chosen: Bools) -> InputSections:
        """Some of the sections, as they are before layout."""
        found = InputSections(self.batch, self.row[chosen])
        found.size, found.kind, found.order = self.size[chosen], self.kind[chosen], self.order[chosen]
        found.output_align = self.output_align[chosen]
        return found

    @property
    def place(self) -> I64:
        """Row in `batch.sections` -> number here, -1 for none."""
        place = np.full(len(self.batch.sections) + 1, -1, np.int64)
        place[self.row] = np.arange(len(self))
        return place

    def of_kinds(self, *kinds: int) -> Bools:
        """bool[n]: the sections of these kinds."""
        return one_of(self.kind, kinds)

    @property
    def reversed(self) -> Bools:
        """bool[n]: see `InputSection.reversed`."""
        found: Bools = self.kind == RW
        if found.any():
            found &= self.named(is_reversed)
        return found

    def sorted(self) -> I64:
        """The numbers of the sections in the order of layout."""
        return np.lexsort((*self.order.T[::-1], self.kind))


def is_reversed(name: str) -> bool:
    """Whether the loader runs the words of a section of that name from last to first."""
    return name.split(".")[1:2] in (["ctors"], ["dtors"])

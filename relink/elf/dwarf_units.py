"""The units of an image's debug information, each walked as far as it has been needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from relink.elf.dwarf_info import DebugInformation, Unit
from relink.elf.dwarf_walk import members
from relink.elf.intervals import Intervals
from relink.records import cached_property, dataclass

if TYPE_CHECKING:
    from elftools.dwarf.die import DIE


@dataclass(eq=False)
class Walk:
    """A unit that is being walked, and the iterator of its remaining DIEs."""

    unit: Unit
    dies: Iterator[DIE]
    finished: bool = False


class Walks:
    """The walks of all units, in order. Units are read when they are needed."""

    def __init__(self, information: DebugInformation) -> None:
        self._information = information
        self._units = information.units()
        self._walks: list[Walk] = []
        self._all_units = False
        self._finished = 0  #: so many at the start are finished

    def __iter__(self) -> Iterator[Walk]:
        """All of them, finished or not."""
        while not self._all_units:
            self._read_unit()
        return iter(self._walks)

    def unfinished(self) -> Iterator[Walk]:
        """The walks that are not finished."""
        at = self._finished
        while True:
            while at < len(self._walks):
                if not self._walks[at].finished:
                    yield self._walks[at]
                elif at == self._finished:
                    self._finished += 1
                at += 1
            if self._all_units:
                return
            self._read_unit()

    def covering(self, address: int) -> Iterator[Walk]:
        """The walks of units whose ranges cover an address, then of units without ranges."""
        places, owners, others = self._places
        for number in sorted({owners[place] for place in places.overlapping(address, address + 1)}):
            yield self._walks[number]
        yield from others

    @cached_property
    def _places(self) -> tuple[Intervals, list[int], list[Walk]]:
        """The ranges of all units, the number of the unit of each, and the walks of units without ranges."""
        starts, sizes, owners, others = list[int](), list[int](), list[int](), list[Walk]()
        for number, walk in enumerate(self):
            if walk.unit.ranges is None:
                others.append(walk)
            for start, end in walk.unit.ranges or ():
                if 0 <= start < end <= 1 << 64:
                    starts.append(start)
                    sizes.append(end - start)
                    owners.append(number)
        return Intervals(starts, sizes), owners, others

    def _read_unit(self) -> None:
        unit = next(self._units, None)
        if unit is None:
            self._all_units = True
        else:
            self._walks.append(Walk(unit, self.members(unit)))

    def members(self, unit: Unit, *, inner: bool = False) -> Iterator[DIE]:
        """The functions and variables of a unit, up to the first damaged DIE; see `relink.elf.dwarf_walk`."""
        try:
            yield from members(unit.top, 0, inner)
        except Exception as error:  # damaged DWARF makes pyelftools raise KeyError, struct errors, others
            self._information.damaged(error)

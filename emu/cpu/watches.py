"""`WatchIndex`: what watches the memory of an access, found without looking at all that watch some."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

from emu.cpu.events import Access, RawAccess, Watch
from emu.cpu.pages import PAGE_SIZE
from relink.elf.intervals import Intervals

_T = TypeVar("_T")


class WatchIndex(Generic[_T]):
    """An index of `watching`, each of which watches the range that `watch_of` tells. Whoever changes `watching`
    increases `changes` in the same step.
    """

    def __init__(self, watching: Iterable[_T], watch_of: Callable[[_T], Watch]) -> None:
        self.changes = 0
        self._watching, self._watch_of = watching, watch_of
        self._made: tuple[int, list[_T], Intervals] = 0, [], Intervals((), ())

    def met(self, address: int, size: int, *, write: bool) -> list[_T]:
        """The watches that an access of some bytes meets, in the order in which they were added."""
        while self._made[0] != self.changes:
            changes, watching = self.changes, [*self._watching]
            ranges = list(map(self._watch_of, watching))
            starts, sizes = [each.address for each in ranges], [each.size for each in ranges]
            self._made = changes, watching, Intervals(starts, sizes)
        _, watching, ranges_met = self._made
        found = [watching[number] for number in sorted(ranges_met.overlapping(address, address + size))]
        return [one for one in found if (self._watch_of(one).write if write else self._watch_of(one).read)]


def value_of(data: bytes) -> int:
    """The value of an access, as `Access` has it."""
    return int.from_bytes(data, "little")


def described(read: Callable[[int, int], bytes], pc: int, each: RawAccess, before: Mapping[int, bytes]) -> Access:
    """The Access by the instruction at `pc`; `before` is what was in the pages that it may have changed."""
    now = value_of(read(each.address, each.size))
    bytes_before = bytes(
        before[at & -PAGE_SIZE][at % PAGE_SIZE] if at & -PAGE_SIZE in before else now >> 8 * number & 0xFF
        for number, at in enumerate(range(each.address, each.address + each.size))
    )
    old = value_of(bytes_before)
    return Access(pc, each.address, each.size, now if each.write else old, old, each.write)

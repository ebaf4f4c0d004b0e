"""Short jumps, and the free pages that they reach from a function."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import takewhile
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np

from relink.memory.address_space import PAGE, Region

if TYPE_CHECKING:
    from emu.memory.guest_memory import GuestMemory
    from emu.run.traps import TrapTable
    from relink.arch.spec import Detour

_LOWEST = 0x10000  #: no page below this is used


def short_jump(detour: Detour, at: int, target: int) -> bytes | None:
    """The short jump from `at` to `target`; None when it is out of range."""
    place = detour.word_at
    distance = np.array([(target + detour.bias - at - place) % (1 << 64)], np.uint64)
    if not np.all(detour.word.fits(distance)):
        return None
    raw = np.array([int.from_bytes(detour.near[place:], "little")], np.uint64)
    word = int(detour.word.write(raw, distance)[0])
    return detour.near[:place] + word.to_bytes(detour.word.size, "little")


def free_pages(memory: GuestMemory, traps: TrapTable, size: int, near: int, detour: Detour) -> int | None:
    """The free pages nearest to `near` in range of the short jump from there, with a free page on either side.

    Only the regions between `near`, which is in one, and these pages are looked at.
    """
    regions = memory.regions
    here = bisect_right(regions, near, key=attrgetter("address"))

    def reached(address: int) -> bool:
        return short_jump(detour, near, address + detour.entry) is not None

    below = takewhile(reached, _below(regions, here, size))
    above = takewhile(reached, _above(regions, here, size, memory.architecture.address_mask & -PAGE))
    for address in heapq.merge(below, above, key=lambda address: abs(address - near)):
        if address not in traps and address + size - 1 not in traps:
            return address
    return None


def _below(regions: Sequence[Region], here: int, size: int) -> Iterator[int]:
    """The last and the first place of each gap before region `here - 1`, from there down."""
    for index in range(here - 1, -1, -1):
        first = (regions[index - 1].end if index else _LOWEST) + PAGE
        last = regions[index].address - PAGE - size
        if first <= last:
            yield from (last, first)


def _above(regions: Sequence[Region], here: int, size: int, end: int) -> Iterator[int]:
    """The first and the last place of each gap after region `here - 1`, from there up."""
    for index in range(here, len(regions) + 1):
        first = (regions[index - 1].end if index else _LOWEST) + PAGE
        last = (regions[index].address if index < len(regions) else end) - PAGE - size
        if first <= last:
            yield from (first, last)

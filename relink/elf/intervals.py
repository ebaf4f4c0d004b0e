"""`Intervals`: those of many intervals that contain a number, found without looking at all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from relink.arrays import U64


class Intervals:
    """Intervals of unsigned 64-bit numbers, known by their numbers in the order given. An empty one contains none.

    They may overlap: then those are looked at, too, that begin after the lowest end that matters.
    """

    def __init__(self, starts: U64 | Sequence[int], sizes: U64 | Sequence[int]) -> None:
        starts, sizes = np.asarray(starts, np.uint64), np.asarray(sizes, np.uint64)
        lasts = starts + sizes - np.uint64(1)
        order = np.lexsort((-np.arange(len(starts)), starts))
        self._order = order[((sizes != 0) & (starts <= lasts))[order]]
        self._starts, self._lasts = starts[self._order], lasts[self._order]
        self._furthest = np.maximum.accumulate(self._lasts)  #: the highest last number of this and all before

    def overlapping(self, low: int, high: int) -> Iterator[int]:
        """The intervals that meet [low, high): the last start first, of equal ones the first given."""
        high = min(high, 1 << 64)
        at = int(np.searchsorted(self._starts, np.uint64(high - 1), side="right")) - 1 if high > 0 else -1
        while at >= 0 and low <= int(self._furthest[at]):
            if low <= int(self._lasts[at]):
                yield int(self._order[at])
            at -= 1

    def at(self, number: int) -> int | None:
        """The one that contains a number and begins nearest to it; None without one."""
        return next(self.overlapping(number, number + 1), None)

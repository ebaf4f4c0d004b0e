"""`PageSet`: a set of guest pages as ranges of addresses, whose cost is that of the ranges, not of their pages.
`runs` makes ranges of pages.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from emu.cpu.pages import PAGE_SIZE


class PageSet:
    """Disjoint ranges [low, high) of addresses, ascending; ranges that touch are one."""

    def __init__(self) -> None:
        self._lows: list[int] = []
        self._highs: list[int] = []

    def __contains__(self, address: int) -> bool:
        index = bisect_right(self._lows, address) - 1
        return index >= 0 and address < self._highs[index]

    def __bool__(self) -> bool:
        return bool(self._lows)

    def overlaps(self, low: int, high: int) -> bool:
        """Whether any address of [low, high) is in the set."""
        index = bisect_right(self._highs, low)
        return index < len(self._lows) and self._lows[index] < high

    def add_range(self, low: int, high: int) -> None:
        """Add [low, high)."""
        first, last = bisect_left(self._highs, low), bisect_right(self._lows, high)
        if first < last:
            low, high = min(low, self._lows[first]), max(high, self._highs[last - 1])
        self._lows[first:last], self._highs[first:last] = [low], [high]

    def discard_range(self, low: int, high: int) -> None:
        """Remove [low, high), as far as it is in the set."""
        first, last = bisect_right(self._highs, low), bisect_left(self._lows, high)
        if first >= last:
            return
        before, after = self._lows[first], self._highs[last - 1]
        pieces = [(a, b) for a, b in ((before, low), (high, after)) if a < b]
        self._lows[first:last], self._highs[first:last] = [a for a, _ in pieces], [b for _, b in pieces]


def runs(pages: Iterable[int]) -> list[tuple[int, int]]:
    """The (start, end) of pages that follow one another."""
    found: list[tuple[int, int]] = []
    for page in sorted(pages):
        if found and found[-1][1] == page:
            found[-1] = found[-1][0], page + PAGE_SIZE
        else:
            found.append((page, page + PAGE_SIZE))
    return found

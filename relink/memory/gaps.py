"""The gaps between the segments of an image, into which the pages of a segment extend."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from operator import gt

from relink.elf import ProgramHeader


class Room:
    """The gaps between segments, into which the pages of a segment may extend."""

    def __init__(self, segments: Sequence[ProgramHeader]) -> None:
        self._starts = [segment.vaddr for segment in segments]
        self._ends = list(accumulate([segment.vaddr + segment.memsz for segment in segments], max))
        self.overlaps = any(map(gt, self._ends, self._starts[1:]))

    def before(self, address: int) -> int:
        """The end of the segment before `address`; `address` if a segment covers it."""
        index = bisect_left(self._starts, address) - 1
        return min(self._ends[index], address) if index >= 0 else 0

    def after(self, address: int) -> int:
        """The start of the next segment at or after `address`."""
        index = bisect_left(self._starts, address)
        return self._starts[index] if index < len(self._starts) else 1 << 64

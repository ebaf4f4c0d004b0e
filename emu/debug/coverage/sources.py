"""Lines, functions and branches of an image, and which of them ran."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from emu.debug.coverage.module import BranchHit, FunctionHit, LineHit
from relink.elf.dwarf_ranges import SourceRanges

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emu.debug.coverage.module import Module
    from relink.elf.decoded import Decoded

_KNOWN: WeakKeyDictionary[Decoded, SourceRanges] = WeakKeyDictionary()


def source_ranges(decoded: Decoded) -> SourceRanges:
    """The lines and functions of an image; read once."""
    if decoded not in _KNOWN:
        _KNOWN[decoded] = SourceRanges(decoded)
    return _KNOWN[decoded]


class _Ran:
    """In how many recordings code has run."""

    def __init__(self, module: Module) -> None:
        rows = sorted((offset + module.low, size, hits) for (offset, size), hits in module.blocks.items())
        edges = sorted({at for start, size, _ in rows for at in (start, start + size)})
        counts = np.zeros(len(edges) + 1, np.int64)
        place = {at: number for number, at in enumerate(edges)}
        # Overlapping blocks ran in the same recordings, mostly: a piece has the highest count of its blocks.
        for start, size, hits in rows:
            first, last = place[start], place[start + size]
            counts[first:last] = np.maximum(counts[first:last], hits)
        self._edges, self._counts = np.array(edges, np.int64), counts

    def most(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
        """The highest count within each range [start, end)."""
        if not len(self._edges):
            return np.zeros(len(starts), np.int64)
        first = np.searchsorted(self._edges, starts, "right") - 1
        last = np.searchsorted(self._edges, ends, "left")
        return np.array(
            [
                int(self._counts[max(a, 0) : b].max(initial=0)) if b > max(a, 0) else 0
                for a, b in zip(first.tolist(), last.tolist(), strict=True)
            ],
            np.int64,
        )


def line_hits(module: Module) -> Iterator[LineHit]:
    """Each line once."""
    if module.decoded is None:
        return
    rows = source_ranges(module.decoded).lines
    if not rows:
        return
    starts, ends = (np.array([getattr(row, name) for row in rows], np.int64) for name in ("start", "end"))
    found: dict[tuple[str, int], int] = {}
    for row, hits in zip(rows, _Ran(module).most(starts, ends).tolist(), strict=True):
        where = row.file, row.line
        found[where] = max(found.get(where, 0), hits)
    for (file, line), hits in found.items():
        yield LineHit(file, line, hits)


def function_hits(module: Module) -> Iterator[FunctionHit]:
    """Each function once. It has run if its first instruction has; an inlined one, if any of its code has."""
    if module.decoded is None:
        return
    ran = _Ran(module)
    for function in source_ranges(module.decoded).functions:
        pieces = [(entry, entry + 1) for entry in function.entries] or function.ranges
        starts, ends = (np.array(column, np.int64) for column in zip(*pieces, strict=True))
        hits = int(ran.most(starts, ends).max(initial=0))
        if function.entries and not hits and len(function.ranges) > len(function.entries):
            starts, ends = (np.array(column, np.int64) for column in zip(*function.ranges, strict=True))
            hits = int(ran.most(starts, ends).max(initial=0))
        if function.file:
            yield FunctionHit(function.name, function.file, function.line, hits)


def branch_hits(module: Module) -> Iterator[BranchHit]:
    """Two outcomes of each conditional branch that ran while edges were recorded, where DWARF has its line."""
    if module.decoded is None or not module.branches:
        return
    rows = sorted(source_ranges(module.decoded).lines)
    starts = [row.start for row in rows]
    outcomes: dict[int, list[int]] = {}
    for (end, target), hits in module.branches.items():
        outcomes.setdefault(end, [0, 0])[target == end] += hits
    for end, taken in sorted(outcomes.items()):
        last = end + module.low - 1
        number = int(np.searchsorted(starts, last, "right")) - 1
        if number >= 0 and rows[number].start <= last < rows[number].end:
            for outcome, hits in enumerate(taken):
                yield BranchHit(rows[number].file, rows[number].line, end + module.low, outcome, hits)

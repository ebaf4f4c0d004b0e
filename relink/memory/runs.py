"""The mapping of an image's addresses to its host buffer.

The buffer of most images has every byte of their address range. For an image whose segments are far apart
(`relink.memory.sparse`) it has only the pages of its clusters, one after another.
"""

from __future__ import annotations

from itertools import accumulate

import numpy as np

from relink.arrays import I64, U64
from relink.records import Assigned, cached_property
from relink.records.tuples import NamedTuple

#: Beyond every buffer: the index of an address between clusters is at least this.
_NOWHERE = 1 << 62


class Run(NamedTuple):
    """A cluster: its link-time addresses, whole pages."""

    start: int
    size: int


class Runs(Assigned):
    """The clusters of an image in ascending order, one after another in its buffer."""

    def __init__(self, runs: tuple[Run, ...]) -> None:
        self.runs = runs
        self.offsets = [
            0,
            *accumulate(run.size for run in runs),
        ]  #: the offset of each in the buffer; then the buffer's size

    @property
    def size(self) -> int:
        """The size of the buffer in bytes."""
        return self.offsets[-1]

    def index(self, vaddr: int) -> int:
        """The index of a link-time address; beyond the buffer if no cluster contains it."""
        if len(self.runs) == 1:
            return vaddr - self.runs[0].start
        places = zip(self.runs, self.offsets, strict=False)
        found = (at + vaddr - run.start for run, at in places if run.start <= vaddr < run.start + run.size)
        return next(found, _NOWHERE)

    @cached_property
    def _arrays(self) -> tuple[U64, U64, I64]:
        starts = np.array([run.start for run in self.runs], np.uint64)
        return starts, np.array([run.size for run in self.runs], np.uint64), np.array(self.offsets[:-1], np.int64)

    def indices(self, vaddr: U64) -> I64:
        """`index` of several addresses, uint64[n]."""
        if len(self.runs) == 1 and not self.runs[0].start:
            return vaddr.view(np.int64)
        if len(self.runs) == 1:
            return (vaddr - np.uint64(self.runs[0].start)).astype(np.int64)
        starts, sizes, offsets = self._arrays
        number = np.maximum(np.searchsorted(starts, vaddr, side="right") - 1, 0)
        inside = vaddr - starts[number]
        return np.where(inside < sizes[number], offsets[number] + inside.astype(np.int64), _NOWHERE)

    def addresses(self, indices: I64) -> U64:
        """The link-time addresses of indices in the buffer."""
        if len(self.runs) == 1:
            return indices.astype(np.uint64) + np.uint64(self.runs[0].start)
        starts, _, offsets = self._arrays
        number = np.maximum(np.searchsorted(offsets, indices, side="right") - 1, 0)
        return (indices - offsets[number]).astype(np.uint64) + starts[number]

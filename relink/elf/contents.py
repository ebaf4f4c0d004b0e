"""The bytes of an image by link-time address, read from a file or from an address space.

Only file-backed bytes (below p_filesz) can be read: no table that a dynamic linker needs may lie in .bss.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from operator import le
from typing import Any, TypeVar

import numpy as np

from relink.arrays import U8, AnyArray
from relink.elf.findings import Findings
from relink.errors import MalformedElf
from relink.records.tuples import NamedTuple, maker

Array = TypeVar("Array", bound=AnyArray)


def frozen(array: Array) -> Array:
    """Clear the array's writeable flag and return it."""
    array.setflags(write=False)
    return array


class ProgramHeader(NamedTuple):
    """One program header, fields as in the gABI without their `p_`; offsets and sizes in bytes."""

    type: int
    flags: int
    offset: int
    vaddr: int
    paddr: int
    filesz: int
    memsz: int
    align: int


class _Piece(NamedTuple):
    """An address range whose content comes from one segment; the first `backed` bytes of it are file-backed."""

    start: int
    end: int
    backed: int
    segment: int  #: index of the segment in mapping order


_PIECE = maker(_Piece)


class Contents:
    """Reads the bytes of `segments`, the PT_LOADs in mapping order: where two overlap, the later one counts.
    `fetch` returns the p_filesz bytes of a segment.
    """

    def __init__(
        self,
        name: str,
        segments: Sequence[ProgramHeader],
        fetch: Callable[[ProgramHeader], U8],
        findings: Findings | None = None,
    ) -> None:
        self.name = name
        self.findings = findings or Findings(name)
        self._segments = segments
        self._pieces = _pieces(segments)
        self._starts = [piece.start for piece in self._pieces]
        self._fetch = fetch
        self._bytes: dict[int, U8] = {}

    @property
    def backed_size(self) -> int:
        """File-backed bytes of all segments together: an upper bound for the size of any valid table about
        them.
        """
        return sum(segment.filesz for segment in self._segments)

    def holds(self, vaddr: int, size: int) -> bool:
        """Whether segments cover all these addresses, file-backed or not."""
        index = bisect_right(self._starts, vaddr) - 1
        while size > 0 and 0 <= index < len(self._pieces) and self._pieces[index].start <= vaddr:
            piece = self._pieces[index]
            size -= max(piece.end - vaddr, 0)
            vaddr, index = piece.end, index + 1
        return size <= 0

    def tail(self, vaddr: int, what: str) -> U8:
        """All file-backed bytes from `vaddr` to the end of its segment. Raises MalformedElf when there are
        none.
        """
        index = bisect_right(self._starts, vaddr) - 1
        piece = self._pieces[index] if index >= 0 else None
        if piece is None or vaddr >= piece.start + piece.backed:
            raise MalformedElf(self.name, f"{what} at {vaddr:#x} lies in no segment's file-backed bytes")
        segment = self._segments[piece.segment]
        found = self._bytes.get(piece.segment)
        if found is None:
            found = self._bytes[piece.segment] = self._fetch(segment)
        return found[vaddr - segment.vaddr : piece.start + piece.backed - segment.vaddr]

    def at(self, vaddr: int, size: int, what: str) -> U8:
        """`size` bytes at `vaddr`. Raises MalformedElf unless one segment has all of them file-backed."""
        if size == 0:
            return frozen(np.empty(0, np.uint8))
        tail = self.tail(vaddr, what)
        if size > len(tail):
            raise MalformedElf(
                self.name,
                f"{what} at {vaddr:#x} claims {size:#x} bytes, its segment holds {len(tail):#x} from there",
            )
        return tail[:size]

    def table(self, vaddr: int, count: int, dtype: np.dtype[Any], what: str) -> AnyArray:
        """`count` records of `dtype` at `vaddr`: a view of the image's bytes. Raises MalformedElf as `at` does."""
        return self.at(vaddr, count * dtype.itemsize, what).view(dtype)


def _pieces(segments: Sequence[ProgramHeader]) -> list[_Piece]:
    """The address ranges of the image in ascending order, each with the segment its content comes from."""
    ends = accumulate([segment.vaddr + segment.memsz for segment in segments], max)
    if all(map(le, ends, [segment.vaddr for segment in segments[1:]])):  # as linkers write them
        return [_PIECE((s.vaddr, s.vaddr + s.memsz, s.filesz, number)) for number, s in enumerate(segments)]
    pieces: list[_Piece] = []
    starts: list[int] = []
    for number, segment in enumerate(segments):
        start, end = segment.vaddr, segment.vaddr + segment.memsz
        first = bisect_right(starts, start)
        if first and pieces[first - 1].end > start:
            first -= 1
        last = bisect_left(starts, end, lo=first)
        covered = pieces[first:last]
        left = [_cut(piece, piece.start, start) for piece in covered[:1] if piece.start < start]
        right = [_cut(piece, end, piece.end) for piece in covered[-1:] if piece.end > end]
        new = [*left, _Piece(start, end, segment.filesz, number), *right]
        pieces[first:last] = new
        starts[first:last] = [piece.start for piece in new]
    return pieces


def _cut(piece: _Piece, start: int, end: int) -> _Piece:
    backed = min(piece.start + piece.backed, end) - start
    return _Piece(start, end, max(backed, 0), piece.segment)

"""The bytes of an image by link-time address, whether they lie in a file or in an address space.

What a segment does not back with bytes (past its p_filesz) cannot be read here: no table a dynamic linker
needs may lie there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from relink.arrays import U8, AnyArray
from relink.errors import MalformedElf

Array = TypeVar("Array", bound=AnyArray)


def frozen(array: Array) -> Array:
    """The same array, no longer writable through this reference."""
    array.flags.writeable = False
    return array


@dataclass(frozen=True, slots=True)
class ProgramHeader:
    """One program header, fields as in the gABI without their `p_`; offsets and sizes in bytes."""

    type: int
    flags: int
    offset: int
    vaddr: int
    paddr: int
    filesz: int
    memsz: int
    align: int


class Contents:
    """Reads `segments` (validated PT_LOADs in vaddr order); `fetch` yields the p_filesz bytes of one."""

    def __init__(
        self,
        name: str,
        segments: Sequence[ProgramHeader],
        fetch: Callable[[ProgramHeader], U8],
    ) -> None:
        self.name = name
        self._segments = segments
        self._starts = [segment.vaddr for segment in segments]
        self._fetch = fetch
        self._bytes: dict[int, U8] = {}

    @property
    def backed_size(self) -> int:
        """Bytes all segments have in the file: what bounds the size of any honest table about them."""
        return sum(segment.filesz for segment in self._segments)

    def segment_at(self, vaddr: int) -> ProgramHeader | None:
        """The segment with a file-backed byte at `vaddr`."""
        index = bisect_right(self._starts, vaddr) - 1
        if index < 0:
            return None
        segment = self._segments[index]
        return segment if vaddr < segment.vaddr + segment.filesz else None

    def tail(self, vaddr: int, what: str) -> U8:
        """All file-backed bytes from `vaddr` to the end of its segment; MalformedElf outside of any."""
        segment = self.segment_at(vaddr)
        if segment is None:
            raise MalformedElf(self.name, f"{what} at {vaddr:#x} lies in no segment's bytes")
        found = self._bytes.get(segment.vaddr)
        if found is None:
            found = self._bytes[segment.vaddr] = self._fetch(segment)
        return found[vaddr - segment.vaddr :]

    def at(self, vaddr: int, size: int, what: str) -> U8:
        """`size` bytes at `vaddr`. Raises MalformedElf unless one segment backs them all."""
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
        """`count` records of `dtype` at `vaddr`, a view of the image's bytes."""
        return self.at(vaddr, count * dtype.itemsize, what).view(dtype)

"""Shared mappings of files: what the guest changes in one is in the file, and what it writes to the file is in it.

A file's bytes and the mapped memory are two copies here. They are made equal in the range concerned before a
descriptor reads, writes or resizes the file, after it has written, and at msync, munmap and the program's end. Two
mappings of the same bytes of which one is writable would have to be one memory: they are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from emu.errors import GuestAbort
from emu.ports import PageMemory
from relink.memory.address_space import page_ceil
from relink.records import dataclass

_EVER = 1 << 62


class MappedFile(Protocol):
    """The file of a descriptor; `data` is None when it cannot be mapped."""

    path: str

    @property
    def data(self) -> bytearray | bytes | None: ...
    @property
    def readable(self) -> bool: ...
    @property
    def writable(self) -> bool: ...


@dataclass(slots=True)
class Shared:
    """A mapping: [start, end) of memory, and where `start` is in the file. `seen` are the bytes of both when they
    were equal last; `writable`: the guest may change the memory.
    """

    start: int
    end: int
    file: MappedFile
    offset: int
    memory: PageMemory
    seen: bytes
    writable: bool

    def synchronize(self, low: int = 0, high: int = _EVER) -> None:
        """Make both equal where they are bytes [low, high) of the file."""
        data = self.file.data or b""
        low = max(low, self.offset)
        size = min(high, self.offset + self.end - self.start, len(data)) - low
        place = low - self.offset
        if size <= 0 or not self.memory.is_mapped(self.start + place, size):
            return
        memory, content = self.memory.read(self.start + place, size), bytes(data[low : low + size])
        seen = self.seen[place : place + size].ljust(size, b"\0")
        if memory != content:
            mine, others, before = (np.frombuffer(each, np.uint8) for each in (memory, content, seen))
            merged = np.where(mine != before, mine, others).tobytes()
            if merged != content and isinstance(data, bytearray):
                data[low : low + size] = merged
            if merged != memory:
                self.memory.write(self.start + place, merged)
            content = merged
        if content != seen:
            self.seen = self.seen[:place].ljust(place, b"\0") + content + self.seen[place + size :]

    def part(self, start: int, end: int) -> Shared:
        """The part of it in a range of memory."""
        cut = self.seen[start - self.start : end - self.start]
        return Shared(start, end, self.file, self.offset + start - self.start, self.memory, cut, self.writable)

    def overlaps(self, other: Shared) -> bool:
        """Whether both have bytes of the same file."""
        ends = self.offset + self.end - self.start, other.offset + other.end - other.start
        return self.file.path == other.file.path and self.offset < ends[1] and other.offset < ends[0]


def synchronize(rows: Sequence[Shared], path: str, low: int = 0, high: int = _EVER) -> None:
    """Make the mappings of a file equal to its bytes [low, high)."""
    for row in rows:
        if row.file.path == path:
            row.synchronize(low, high)


def refuse_conflicts(rows: Sequence[Shared], new: Shared) -> None:
    """Raises GuestAbort where a mapping and another one would have to be one memory."""
    for row in rows:
        if row is not new and row.overlaps(new) and (row.writable or new.writable):
            raise GuestAbort(
                f"two shared mappings of {new.file.path!r}, at {row.start:#x} and {new.start:#x}: here they would "
                "not see each other's changes"
            )


def forget(rows: list[Shared], start: int, end: int) -> None:
    """The range [start, end) of memory is about to be unmapped."""
    kept: list[Shared] = []
    for row in rows:
        if row.start < end and start < row.end:
            row.synchronize()
            kept += [row.part(row.start, start)] if row.start < start else []
            kept += [row.part(end, row.end)] if end < row.end else []
        else:
            kept.append(row)
    rows[:] = kept


def make_writable(rows: list[Shared], start: int, end: int) -> bool:
    """The guest asks for write permission in [start, end). Returns whether the files allow it."""
    end = start + page_ceil(end - start)
    touched = [row for row in rows if row.start < end and start < row.end]
    if not all(row.file.writable for row in touched):
        return False
    for row in touched:
        row.writable = True
        refuse_conflicts(rows, row)
    return True

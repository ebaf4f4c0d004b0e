"""String tables: single strings by offset, and many names at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from relink.arrays import I64, U8, U32, Bools, highest, indices_where
from relink.elf.contents import frozen
from relink.elf.names import Names
from relink.errors import MalformedElf
from relink.records import cached_property

# Strings may overlap (linkers merge tails), so a small table can claim any amount of text. The total read from one
# table is limited to this multiple of its size, plus a few bytes per name.
_OVERLAP = 4
_SLACK = 64
#: A table of so many bytes, or of which so many single strings are wanted, is copied: then each costs one search.
_SMALL, _MANY = 1 << 16, 64
#: Up to this number of names, and one in so many bytes of the table, each one's end is searched for separately
#: instead of scanning the whole table.
_FEW, _SPARSE = 32, 512
_WINDOW = 128  #: bytes in which most names end


class StringTable:
    """A string table with the bytes `data`. Errors are about the file `name` and call the table `what`."""

    def __init__(self, name: str, data: U8) -> None:
        self.name = name
        self.data = data
        self._size = len(data)
        self._spent = 0
        self._texts: dict[int, str] = {}
        self._bytes: bytes | None = None  # the table, where it has been copied

    def text(self, offset: int, what: str) -> str:
        """The string at `offset`. Raises MalformedElf when it is outside the table or not terminated."""
        known = self._texts.get(offset)
        if known is not None:
            return known
        size, whole = self._size, self._bytes
        if offset >= size:
            problem = f"{what}: string offset {offset:#x} lies outside the {size:#x}-byte string table"
            raise MalformedElf(self.name, problem)
        if whole is None and (size <= _SMALL or len(self._texts) >= _MANY):
            whole = self._bytes = self.data.tobytes()
        if whole is not None:
            stop = whole.find(0, offset)
            raw = whole[offset:stop] if stop >= 0 else None
        else:
            near, end, _ = self._view[offset : offset + _WINDOW].tobytes().partition(b"\0")
            raw = near if end else self._read(offset)
        if raw is None:
            raise MalformedElf(self.name, f"{what}: the string at offset {offset:#x} has no terminator")
        if len(raw) > _SLACK:
            self._spend(len(raw), 1, what)
        text = self._texts[offset] = raw.decode("utf-8", "surrogateescape")
        return text

    def _read(self, offset: int) -> bytes | None:
        """The bytes up to the next NUL, without making a copy of the table; None when there is no NUL."""
        window = 128
        while True:
            raw = self.data[offset : offset + window].tobytes()
            end = raw.find(0)
            if end >= 0:
                return raw[:end]
            if offset + window >= len(self.data):
                return None
            window *= 4

    def holds(self, offset: int, name: bytes) -> bool:
        """Whether the string at `offset` is `name`."""
        return self._view[offset : offset + len(name) + 1] == name + b"\0"

    def raw(self, offset: int) -> bytes:
        """The string at an offset that has been checked (`check`)."""
        near, end, _ = self._view[offset : offset + _WINDOW].tobytes().partition(b"\0")
        return near if end else self._read(offset) or b""

    @cached_property
    def _view(self) -> memoryview:
        """The table: slices of a memory view cost less than an array's."""
        return self.data.data

    def names(self, offsets: U32, what: str, *, again: bool = False) -> Names:
        """The strings at all `offsets`. Raises as `text` does. With `again`, the strings do not count towards the
        limit on bytes of names.
        """
        start = offsets.astype(np.int64)
        if len(start) == 0:
            return Names(self.data, frozen(start), frozen(start.copy()))
        self.check(int(highest(start)), what)
        if len(start) <= _FEW:
            length = np.array([self._length(offset) for offset in start.tolist()], np.int64)
        elif len(start) * _SPARSE <= len(self.data):
            length = self._lengths(start)
        else:
            order = np.argsort(start)  # binary searches are several times faster in ascending order
            length = np.empty_like(start)
            length[order] = self._nuls[np.searchsorted(self._nuls, start[order])] - start[order]
        if not again:
            self._spend(int(np.add.reduce(length)), len(start), what)
        return Names(self.data, frozen(start), frozen(length))

    def has(self, part: bytes) -> bool:
        """Whether these bytes are anywhere in the table."""
        return part in (self.data.tobytes() if self._bytes is None else self._bytes)

    def all_within(self, offsets: U32) -> bool:
        """Whether the strings at all `offsets` are terminated in the table, and within the limit on bytes of names
        even if each counts. False says nothing.
        """
        if not len(offsets):
            return True
        furthest = int(offsets.max())
        if furthest >= len(self.data) or not len(self._nuls) or furthest > int(self._nuls[-1]):
            return False
        start = np.sort(offsets.astype(np.int64))
        length = self._nuls[np.searchsorted(self._nuls, start)] - start
        return int(np.maximum(length - _SLACK, 0).sum()) <= _OVERLAP * len(self.data)

    def check(self, furthest: int, what: str) -> None:
        """Check that the string at the highest offset is in the table and terminated, which implies it for all
        others.
        """
        if furthest >= self._size:
            raise MalformedElf(
                self.name,
                f"{what}: string offset {furthest:#x} lies outside the {len(self.data):#x}-byte string table",
            )
        if self.data[-1] != 0 and furthest > (int(self._nuls[-1]) if len(self._nuls) else -1):
            raise MalformedElf(self.name, f"{what}: the string at offset {furthest:#x} has no terminator")

    def _length(self, offset: int) -> int:
        found = self._read(offset)
        assert found is not None, "checked before"
        return len(found)

    def _lengths(self, start: I64) -> I64:
        """`_length` of names that are far apart."""
        windows: U8 = np.ndarray((len(self.data) - _WINDOW + 1, _WINDOW), np.uint8, self.data, strides=(1, 1))
        begin = np.minimum(start, len(self.data) - _WINDOW)  # the last ones begin within their windows
        ends = windows[begin] == 0
        skipped = start - begin
        for late in indices_where(skipped).tolist():
            ends[late, : skipped[late]] = False
        first: I64 = ends.argmax(axis=1)
        length = first - skipped
        for longer in indices_where(~ends[np.arange(len(ends)), first]).tolist():
            length[longer] = self._length(int(start[longer]))
        return length

    @cached_property
    def _nuls(self) -> I64:
        return indices_where(self.data == 0)

    def _spend(self, size: int, count: int, what: str) -> None:
        self._spent += max(0, size - count * _SLACK)
        if self._spent > _OVERLAP * len(self.data):
            raise MalformedElf(
                self.name,
                f"{what}: the strings overlap so much that their total size is many times that of the table",
            )


Piece: TypeAlias = bytes | memoryview


class Pieces:
    """Several string tables, one after another, behind an empty string."""

    def __init__(self, parts: Sequence[Piece]) -> None:
        self.blob: U8 = np.frombuffer(b"".join([b"\0", *parts]), np.uint8)
        self.sizes = np.fromiter(map(len, parts), np.int64, len(parts))
        self.base = 1 + np.cumsum(self.sizes) - self.sizes  #: where each table begins

    def names(self, piece: I64, offsets: U32) -> tuple[Names, Bools]:
        """The string at each of `offsets` of table number `piece`, and for each table whether it has an offset
        that `StringTable` may refuse; such a name is empty. A table without bytes has one string, the empty one.
        """
        size, begin = self.sizes[piece], self.base[piece]
        start: I64 = np.where(size == 0, 0, begin) + offsets.astype(np.int64)
        nuls = indices_where(self.blob == 0)
        at = np.searchsorted(nuls, start)
        end = nuls[np.minimum(at, len(nuls) - 1)]
        odd = np.where(size == 0, offsets != 0, (offsets >= size) | (at == len(nuls)) | (end >= begin + size))
        start[odd] = 0
        length = np.where(odd, 0, end - start)
        long = np.maximum(length - _SLACK, 0)
        bad: Bools = np.zeros(len(self.sizes), np.bool_)
        if long.any():
            bad |= np.bincount(piece, long, len(bad)) > _OVERLAP * self.sizes
        bad[piece[odd]] = True
        return Names(self.blob, frozen(start), frozen(length)), bad

"""Names by the thousand: byte strings in one blob, hashed and compared as arrays.

Nothing here makes a Python object per name, except where text is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from relink.elf.contents import I64, U8, U32, Bools, frozen

#: Bytes compared or hashed in one go: what bounds the memory of an operation on many long names.
_CHUNK = 1 << 20
#: A name longer than this (bytes) is hashed by itself, so that it does not set the pace of the whole batch.
_LONG = 512


@dataclass(frozen=True, eq=False)
class Names:
    """Byte strings: name *i* is `blob[start[i] : start[i] + length[i]]` (no NUL). Names may overlap in the blob."""

    blob: U8
    start: I64
    length: I64

    @classmethod
    def of(cls, names: Iterable[str | bytes]) -> Names:
        """The names given, text as UTF-8 (surrogate escapes give their bytes back)."""
        encoded = [
            name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name for name in names
        ]
        return cls._packed(b"".join(encoded), np.fromiter(map(len, encoded), np.int64, len(encoded)))

    @classmethod
    def concat(cls, batches: Sequence[Names]) -> Names:
        """All names of all batches, in order, in a blob of their own."""
        compact = [batch.compact() for batch in batches]
        blob = b"".join(batch.blob.tobytes() for batch in compact)
        return cls._packed(
            blob, np.concatenate([np.empty(0, np.int64), *(batch.length for batch in compact)])
        )

    @classmethod
    def _packed(cls, blob: bytes, length: I64) -> Names:
        start = np.cumsum(length) - length
        return cls(np.frombuffer(blob, np.uint8), frozen(start), frozen(length))

    def __len__(self) -> int:
        return len(self.start)

    def take(self, indices: I64 | Sequence[int]) -> Names:
        """The names at `indices`, in that order, sharing this blob."""
        picked = np.asarray(indices, np.int64)
        return Names(self.blob, frozen(self.start[picked]), frozen(self.length[picked]))

    def compact(self) -> Names:
        """The same names end to end in a blob of their own: do this before keeping a few names of a big table."""
        return self._packed(self.blob[flat_indices(self.start, self.length)].tobytes(), self.length.copy())

    def text(self, index: int) -> str:
        """Name `index` as text; bytes that are no UTF-8 become surrogate escapes."""
        return self.raw(index).decode("utf-8", "surrogateescape")

    def raw(self, index: int) -> bytes:
        """Name `index` as bytes."""
        start = int(self.start[index])
        return self.blob[start : start + int(self.length[index])].tobytes()

    def texts(self) -> list[str]:
        """Every name as text."""
        compact = self.compact()
        blob = compact.blob.tobytes()
        ends = np.cumsum(compact.length).tolist()
        return [
            blob[begin:end].decode("utf-8", "surrogateescape")
            for begin, end in zip(compact.start.tolist(), ends, strict=True)
        ]

    @cached_property
    def gnu_hash(self) -> U32:
        """uint32[n]: the hash of DT_GNU_HASH (Bernstein's: h = 33·h + c from 5381) of each name."""
        return self._hashes(5381, lambda h, c: h * np.uint32(33) + c, _gnu_hash_of_long)

    @cached_property
    def sysv_hash(self) -> U32:
        """uint32[n]: the hash of DT_HASH (gABI, "Hash Table") of each name."""

        def step(h: U32, c: U32) -> U32:
            h = (h << np.uint32(4)) + c
            high = h & np.uint32(0xF0000000)
            h = (h ^ (high >> np.uint32(24))) & ~high
            return h

        return self._hashes(0, step, _sysv_hash_of_long)

    def _hashes(self, seed: int, step: Callable[[U32, U32], U32], of_long: Callable[[U8], int]) -> U32:
        """All names a byte at a time: longest first, so that those still going on are always a prefix."""
        order = np.argsort(-self.length, kind="stable")
        lengths, starts = self.length[order], self.start[order]
        long = int(np.searchsorted(-lengths, -_LONG))
        state = np.full(len(order), seed, np.uint32)
        for index in range(long):
            state[index] = of_long(self.blob[starts[index] : starts[index] + lengths[index]])
        lengths, starts, short = lengths[long:], starts[long:], state[long:]
        going_on = np.searchsorted(-lengths, -np.arange(int(lengths[0]) if len(lengths) else 0), "left")
        for position, active in enumerate(going_on.tolist()):
            short[:active] = step(short[:active], self.blob[starts[:active] + position].astype(np.uint32))
        hashes = np.empty(len(order), np.uint32)
        hashes[order] = state
        return frozen(hashes)

    def equal(self, mine: I64, other: Names, theirs: I64) -> Bools:
        """bool[m]: whether name `mine[k]` here and name `theirs[k]` of `other` are the same bytes."""
        lengths = self.length[mine]
        same = lengths == other.length[theirs]
        pairs = np.flatnonzero(same & (lengths > 0))
        ends = np.cumsum(lengths[pairs])
        done = 0
        while done < len(pairs):
            # As many pairs as fit a chunk, one at least.
            consumed = int(ends[done - 1]) if done else 0
            upto = max(int(np.searchsorted(ends, consumed + _CHUNK, "right")), done + 1)
            some = pairs[done:upto]
            count = lengths[some]
            here = self.blob[flat_indices(self.start[mine[some]], count)]
            there = other.blob[flat_indices(other.start[theirs[some]], count)]
            same[some] = np.logical_and.reduceat(here == there, np.cumsum(count) - count)
            done = upto
        return same


def flat_indices(start: I64, length: I64) -> I64:
    """The blob index of every byte of every name, end to end."""
    total = int(length.sum())
    begins = np.cumsum(length) - length
    return np.arange(total, dtype=np.int64) + np.repeat(start - begins, length)


def _gnu_hash_of_long(name: U8) -> int:
    """The same polynomial by chunks: Σ c·33^k over a chunk is one dot product."""
    state = 5381
    powers = np.cumprod(np.full(min(len(name), _CHUNK), 33, np.uint32), dtype=np.uint32)
    for begin in range(0, len(name), _CHUNK):
        chunk = name[begin : begin + _CHUNK]
        size = len(chunk)
        weights = np.concatenate([powers[: size - 1][::-1], np.ones(1, np.uint32)])
        state = (state * int(powers[size - 1]) + int((chunk * weights).sum(dtype=np.uint32))) & 0xFFFFFFFF
    return state


def _sysv_hash_of_long(name: U8) -> int:
    state = 0
    for byte in name.tobytes():
        state = (state << 4) + byte
        high = state & 0xF0000000
        state = (state ^ (high >> 24)) & ~high
    return state

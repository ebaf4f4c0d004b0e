"""`Names`: many byte strings in one buffer, hashed and compared with array operations.

No Python object is made per name, except when text is requested. Hashing and comparing process the names as
little-endian 64-bit words, all words of all names in one array operation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from operator import mul

import numpy as np

from relink.arrays import I64, U8, U32, U64, Bools, highest, indices_where
from relink.elf.contents import frozen
from relink.records import cached_property, dataclass

#: Bytes of names processed in one array operation; this limits the memory of an operation.
_SWEEP = 1 << 17
#: A name longer than this (bytes) is hashed separately, so that it does not slow down the batch.
_LONG = 1024
#: Up to this number of names are hashed and compared one by one: array operations would cost more.
_FEW = 2
#: Names hashed one by one too, when they have no more bytes than this together.
_SEVERAL, _SHORT = 16, 600
#: Up to this many bytes, with those in front of shorter names, names are hashed byte by byte, all at once.
_SQUARE = 1 << 13
_MOST_TEXTS = 1 << 10  #: names whose texts are kept with them


@dataclass(frozen=True, eq=False)
class Names:
    """Byte strings: name *i* is `blob[start[i] : start[i] + length[i]]`, without a NUL. They may overlap."""

    blob: U8
    start: I64
    length: I64

    @classmethod
    def of(cls, names: Iterable[str | bytes]) -> Names:
        """Make `Names` of strings; text is encoded as UTF-8, and surrogate escapes become the bytes they stand
        for.
        """
        encoded = [name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name for name in names]
        lengths = list(map(len, encoded))
        start = np.array([0, *accumulate(lengths)][:-1], np.int64)  # for few names quicker than array operations
        return cls(np.frombuffer(b"".join(encoded), np.uint8), frozen(start), frozen(np.array(lengths, np.int64)))

    @classmethod
    def concat(cls, batches: Sequence[Names]) -> Names:
        """All names of all batches, in order, in a new blob."""
        compact = [batch.compact() for batch in batches]
        blob = b"".join(batch.blob.tobytes() for batch in compact)
        lengths = [batch.length for batch in compact]
        return cls._packed(blob, np.concatenate([np.empty(0, np.int64), *lengths]))

    @classmethod
    def _packed(cls, blob: bytes, length: I64) -> Names:
        start = np.cumsum(length) - length
        return cls(np.frombuffer(blob, np.uint8), frozen(start), frozen(length))

    def __len__(self) -> int:
        return len(self.start)

    def take(self, indices: I64 | Sequence[int]) -> Names:
        """The names at `indices`, in that order, sharing this blob."""
        picked = np.asarray(indices, np.int64)
        taken = Names(self.blob, frozen(self.start[picked]), frozen(self.length[picked]))
        for known in ("gnu_hash", "sysv_hash"):
            if known in self.__dict__:
                taken.__dict__[known] = frozen(self.__dict__[known][picked])
        return taken

    def compact(self) -> Names:
        """Copy the names into a new blob, for keeping a few names of a big table."""
        return self._packed(self.blob[flat_indices(self.start, self.length)].tobytes(), self.length.copy())

    def text(self, index: int) -> str:
        """Name `index` as text; bytes that are not UTF-8 become surrogate escapes."""
        known: list[str] | None = self.__dict__.get("known_texts")
        if known is not None:
            return known[index]
        return self.raw(index).decode("utf-8", "surrogateescape")

    def raw(self, index: int) -> bytes:
        """Name `index` as bytes."""
        start = int(self.start[index])
        return self.blob[start : start + int(self.length[index])].tobytes()

    def texts(self) -> list[str]:
        """Every name as text."""
        if len(self) <= _SEVERAL:
            return [self.text(index) for index in range(len(self))]
        if len(self) > _MOST_TEXTS:
            return self._texts()
        return self.known_texts.copy()

    @cached_property
    def known_texts(self) -> list[str]:
        """Every name as text, kept; `texts` gives a copy."""
        return self._texts()

    def _texts(self) -> list[str]:
        if not len(self.blob):
            return [""] * len(self)
        size = self.length + 1  # with a NUL, by which they are split
        packed = self.blob.take(flat_indices(self.start, size), mode="clip")
        packed[size.cumsum() - 1] = 0
        return packed.tobytes().decode("utf-8", "surrogateescape").split("\0")[:-1]

    @cached_property
    def groups(self) -> tuple[I64, I64]:
        """(index of the first of each group of equal names, group of each name), groups in no particular order."""
        if len(self) <= _SEVERAL:
            return self._groups_by_bytes()
        keys = self.gnu_hash.astype(np.uint64) << np.uint64(32) | self.length.astype(np.uint64)
        _, first, group = np.unique(keys, return_index=True, return_inverse=True)
        everything = np.arange(len(self))
        if len(first) < len(self) and not self.equal(everything, self, first[group]).all():  # of one hash
            return self._groups_by_bytes()
        return frozen(first.astype(np.int64)), frozen(group.astype(np.int64))

    def _groups_by_bytes(self) -> tuple[I64, I64]:
        known: dict[bytes, int] = {}
        first: list[int] = []
        group = [known.setdefault(self.raw(row), len(known)) for row in range(len(self))]
        for row, number in enumerate(group):
            if number == len(first):
                first.append(row)
        return frozen(np.array(first, np.int64)), frozen(np.array(group, np.int64))

    @cached_property
    def gnu_hash(self) -> U32:
        """uint32[n]: the hash of DT_GNU_HASH, h = 33·h + c over all bytes, from 5381.

        h is a polynomial in 33: the word of bytes 8k…8k+7 of a name of length n contributes its own polynomial of
        degree 7 times 33^(n-8k-8). Bytes past the end of a name are zero. Negative exponents are valid, because 33
        is odd and has an inverse modulo 2^32.
        """
        if len(self) <= _FEW or (len(self) <= _SEVERAL and int(self.length.sum()) <= _SHORT):
            return frozen(np.array([gnu_hash_of(self.raw(index)) for index in range(len(self))], np.uint32))
        size = int(highest(self.length))
        if len(self) * size <= _SQUARE and size < len(_WEIGHTS):
            return frozen(self._hashes_of_bytes(size))
        hashes = np.empty(len(self), np.uint32)
        short = indices_where(self.length <= _LONG)
        powers = _powers_of_33(-8, _LONG + 1)
        for part in _sweeps(self.length[short]):
            some = short[part]
            length = self.length[some]
            words = self._words(some)
            count = _word_count(length)
            ends = count.cumsum()
            # Number of bytes from each word's start to the end of its name; `powers[n]` is 33^(n-8).
            left = (length + ((ends - count) << 3)).repeat(count) - (np.arange(len(words)) << 3)
            sums = np.zeros(len(words) + 1, np.uint32)
            np.add.accumulate(_polynomial_of_word(words) * powers.take(left), dtype=np.uint32, out=sums[1:])
            hashes[some] = sums.take(ends) - sums.take(ends - count) + np.uint32(5381) * powers.take(length + 8)
        for index in indices_where(self.length > _LONG).tolist():
            hashes[index] = _gnu_hash_of_long(np.frombuffer(self.raw(index), np.uint8))
        return frozen(hashes)

    def _hashes_of_bytes(self, size: int) -> U32:
        """`gnu_hash` of names of up to `size` bytes, all with so many in front of their ends: a third of the
        operations, on eight times as many numbers.
        """
        places = np.arange(size)
        found = self.blob.take((self.start + self.length - size)[:, None] + places, mode="clip")
        found *= places >= (size - self.length)[:, None]
        sums: U32 = found.astype(np.uint32).dot(_POWERS[len(_POWERS) - size :])
        sums += np.uint32(5381) * _POWERS[::-1].take(self.length)
        return sums

    @cached_property
    def sysv_hash(self) -> U32:
        """uint32[n]: the hash of DT_HASH (gABI, "Hash Table") of each name.

        It is not a polynomial, so it is computed byte by byte. Names are sorted by descending length, so that
        those with a byte at the current position are a prefix of the array.
        """
        order = np.argsort(-self.length, kind="stable")
        lengths, starts = self.length[order], self.start[order]
        state = np.zeros(len(order), np.uint32)
        long = int(np.searchsorted(-lengths, -_LONG))
        for index in range(long):
            state[index] = _sysv_hash_of_long(self.raw(int(order[index])))
        lengths, starts, short = lengths[long:], starts[long:], state[long:]
        going_on = np.searchsorted(-lengths, -np.arange(int(lengths.max(initial=0))), "left")
        for position, active in enumerate(going_on.tolist()):
            now = (short[:active] << np.uint32(4)) + self.blob[starts[:active] + position]
            high = now & np.uint32(0xF0000000)
            short[:active] = (now ^ (high >> np.uint32(24))) & ~high
        hashes = np.empty(len(order), np.uint32)
        hashes[order] = state
        return frozen(hashes)

    def rows_of(self, name: str) -> list[int]:
        """The indices of a name, ascending."""
        wanted = name.encode("utf-8", "surrogateescape")
        order, hashes = self._by_hash
        value = np.uint32(gnu_hash_of(wanted))
        first, end = (int(np.searchsorted(hashes, value, side)) for side in ("left", "right"))
        return [row for row in order[first:end].tolist() if self.raw(row) == wanted]

    @cached_property
    def _by_hash(self) -> tuple[I64, U32]:
        """All indices in the order of the hashes, and these."""
        order = np.argsort(self.gnu_hash, kind="stable")
        return frozen(order), frozen(self.gnu_hash[order])

    def equal(self, mine: I64, other: Names, theirs: I64) -> Bools:
        """bool[m]: whether name `mine[k]` of this object equals name `theirs[k]` of `other`."""
        lengths = self.length[mine]
        same: Bools = lengths == other.length[theirs]
        if len(mine) <= _FEW:
            columns = zip(mine.tolist(), theirs.tolist(), same.tolist(), strict=True)
            return np.array([equal and self.raw(m) == other.raw(t) for m, t, equal in columns], np.bool_)
        pairs = indices_where(same)
        for some in _sweeps(lengths[pairs]):
            differ = indices_where(self._words(mine[pairs[some]]) != other._words(theirs[pairs[some]]))
            ends = np.cumsum(_word_count(lengths[pairs[some]]))
            same[pairs[some][np.searchsorted(ends, differ, "right")]] = False
        return same

    @cached_property
    def _windows(self) -> U64:
        """For each offset of the blob, the eight bytes there as a word."""
        blob = self.blob
        if len(blob) < 8:
            blob = np.concatenate([blob, np.zeros(8 - len(blob), np.uint8)])
        return np.ndarray(len(blob) - 7, "<u8", blob, strides=(1,))

    def _words(self, names: I64) -> U64:
        """The words of the names at indices `names`, concatenated; bytes past the end of a name are zero."""
        start, length = self.start[names], self.length[names]
        count = _word_count(length)
        ends = count.cumsum()
        place = (start - ((ends - count) << 3)).repeat(count)
        place += np.arange(len(place)) << 3
        # The last word of a name may extend past the blob: load the blob's last word and shift it.
        some = indices_where(count)
        last = ends[some] - 1
        beyond = np.maximum(place[last] - (len(self._windows) - 1), 0)
        place[last] -= beyond
        words: U64 = self._windows[place]
        words[last] = (words[last] >> (beyond << 3).astype(np.uint64)) & _TAIL[length[some] & 7]
        return words


NO_NAMES = Names.of(())


#: 33^n modulo 2^32, from the highest n to 0: the weights of a name's bytes in its hash.
_WEIGHTS: tuple[int, ...] = tuple(pow(33, n, 1 << 32) for n in range(256, -1, -1))
_POWERS: U32 = frozen(np.array(_WEIGHTS, np.uint32))


def gnu_hash_of(name: bytes) -> int:
    """The hash of DT_GNU_HASH of one name."""
    first, value = len(_WEIGHTS) - 1 - len(name), 5381
    if first >= 0:
        total: int = sum(map(mul, name, _WEIGHTS[first + 1 :]), value * _WEIGHTS[first])
        return total & 0xFFFFFFFF
    for byte in name:
        value = value * 33 + byte & 0xFFFFFFFF
    return value


#: Mask for the last word of a name, by the name's length modulo 8.
_TAIL = np.array([0xFFFFFFFFFFFFFFFF, *((1 << 8 * size) - 1 for size in range(1, 8))], np.uint64)


def flat_indices(start: I64, length: I64) -> I64:
    """The indices of all ranges [`start[i]`, `start[i] + length[i]`), concatenated."""
    begins = length.cumsum() - length
    indices: I64 = (start - begins).repeat(length)
    indices += np.arange(len(indices))
    return indices


def _sweeps(length: I64) -> Iterator[slice]:
    """Split names into consecutive slices of about `_SWEEP` bytes, with at least one name each."""
    ends = (length + 8).cumsum()
    begin = 0
    if len(ends) and int(ends[-1]) <= _SWEEP:
        yield slice(0, len(ends))
        return
    while begin < len(length):
        consumed = int(ends[begin - 1]) if begin else 0
        end = max(int(np.searchsorted(ends, consumed + _SWEEP, "right")), begin + 1)
        yield slice(begin, end)
        begin = end


def _word_count(length: I64) -> I64:
    return (length + 7) >> 3


def _polynomial_of_word(words: U64) -> U32:
    """c0·33^7 + c1·33^6 + … + c7 modulo 2^32 of each word's bytes, by combining neighbouring bytes three times."""
    bytes_ = np.uint64(0x00FF00FF00FF00FF)
    pairs = (words & bytes_) * np.uint64(33) + ((words >> np.uint64(8)) & bytes_)
    halves = np.uint64(0x0000FFFF0000FFFF)
    fours = (pairs & halves) * np.uint64(33**2) + ((pairs >> np.uint64(16)) & halves)
    return ((fours & np.uint64(0xFFFFFFFF)) * np.uint64(33**4) + (fours >> np.uint64(32))).astype(np.uint32)


@lru_cache(maxsize=4)
def _powers_of_33(first: int, end: int) -> U32:
    """33^first … 33^(end-1) modulo 2^32; exponents may be negative."""
    factors = np.full(end - first, 33, np.uint32)
    factors[0] = pow(33, first, 1 << 32)
    return frozen(factors.cumprod(dtype=np.uint32))


def _gnu_hash_of_long(name: U8) -> int:
    """`gnu_hash` of one long name: the same polynomial in chunks, each a dot product."""
    state = 5381
    powers = _powers_of_33(0, min(len(name), _SWEEP) + 1)
    for begin in range(0, len(name), _SWEEP):
        chunk = name[begin : begin + _SWEEP]
        weights = powers[: len(chunk)][::-1]
        state = (state * int(powers[len(chunk)]) + int((chunk * weights).sum(dtype=np.uint32))) & 0xFFFFFFFF
    return state


def _sysv_hash_of_long(name: bytes) -> int:
    state = 0
    for byte in name:
        state = (state << 4) + byte
        high = state & 0xF0000000
        state = (state ^ (high >> 24)) & ~high
    return state

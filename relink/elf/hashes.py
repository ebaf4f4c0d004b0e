"""DT_GNU_HASH and DT_HASH: the number of symbols, and the symbols that a lookup by name can find.

ld.so walks one chain per name. Here a batch of names is looked up at once in all entries sorted by hash; the
chains only decide which of the entries found a walk would have met, and in which order. The time of a lookup
therefore does not depend on the length of the chains, which a hostile table can make very long.

There are three `HashTable`s: GNU table, SysV table, and none (the names are hashed here). Sources: gABI chapter 5,
"Hash Table"; for DT_GNU_HASH, glibc's elf/dl-lookup.c and binutils' bfd/elflink.c.
"""

from __future__ import annotations

from struct import Struct
from typing import Protocol

import numpy as np

from relink.arrays import I64, U32, Bools, anywhere, highest, indices_where, lowest
from relink.elf.contents import Contents, frozen
from relink.elf.layout import Layout
from relink.elf.names import Names
from relink.errors import MalformedElf
from relink.records import cached_property, dataclass

_U32 = np.dtype("<u4")
_HEADER = Struct("<4I")  #: of DT_GNU_HASH: nbuckets, symndx, maskwords, shift2
_NOTHING: U32 = frozen(np.empty(0, np.uint32))
_FEW = 64  #: buckets that are looked at one by one, in a fifth of the time that arrays take
#: A longer chain is not walked entry by entry: real ones have a few.
_LONGEST_WALK = 64
#: Entries of each chain that are looked at together: few chains have more.
_STEPS = 8


class HashTable(Protocol):
    """The interface of a hash table for symbol lookup."""

    #: Number of low bits of a hash that the table does not store.
    lost_bits: int

    def hash_of(self, names: Names) -> U32:
        """uint32[n]: the hash of each name, by this table's hash function."""

    def entries(self, names: Names) -> tuple[U32, I64]:
        """(hash, symbol) of every entry; entries of one chain are in walking order. `names` are all names of the
        symbol table.
        """

    def reaches(self, hashes: U32, symbols: I64) -> Bools:
        """bool[m]: whether walking the chain of the full hash `hashes[k]` reaches symbol `symbols[k]`."""


@dataclass(frozen=True, eq=False)
class NoHash:
    """A symbol table without a hash table: every symbol can be found."""

    lost_bits = 0

    def hash_of(self, names: Names) -> U32:
        return names.gnu_hash

    def entries(self, names: Names) -> tuple[U32, I64]:
        return names.gnu_hash, np.arange(len(names))

    def reaches(self, hashes: U32, symbols: I64) -> Bools:
        return np.ones(len(symbols), np.bool_)


@dataclass(frozen=True, eq=False)
class GnuHash:
    """DT_GNU_HASH. Chain *i* is the run of `chain` from `buckets[i] - first` to the next set low bit."""

    first: int  #: index of the first symbol in the table; symbols before it are undefined or local
    buckets: U32
    chain: U32  #: the hash of symbol first + k; the low bit is replaced by an end-of-chain flag
    lost_bits = 1

    @classmethod
    def read(cls, contents: Contents, layout: Layout, vaddr: int) -> GnuHash:
        """Read the table at `vaddr`. Raises MalformedElf for a bucket below `first` or a chain without an end."""
        name = contents.name
        content = contents.tail(vaddr, "the DT_GNU_HASH header")
        if len(content) < _HEADER.size:
            contents.at(vaddr, _HEADER.size, "the DT_GNU_HASH header")  # raises
        bucket_count, first, bloom_words, _shift = _HEADER.unpack_from(content.data)
        if bucket_count == 0:  # glibc, musl and bionic accept it and find no symbol
            contents.findings.warn(f"DT_GNU_HASH at {vaddr:#x} has no buckets: no symbol can be found")
            return cls(first, _NOTHING, _NOTHING)
        bloom = bloom_words * layout.word_size
        begin, end = _HEADER.size + bloom, _HEADER.size + bloom + bucket_count * 4
        if end < len(content):
            buckets, tail = content[begin:end].view(_U32), content[end:]
        else:  # not all in one segment
            contents.at(vaddr + _HEADER.size, bloom, "the DT_GNU_HASH bloom filter")
            buckets, tail = contents.table(vaddr + begin, bucket_count, _U32, "the DT_GNU_HASH buckets"), None
        least, last = _bounds(buckets)
        if last == 0:
            return cls(first, buckets, _NOTHING)
        if least < first:
            problem = f"a DT_GNU_HASH bucket begins at symbol {least}, the table's first symbol is {first}"
            raise MalformedElf(name, problem)
        if tail is None:
            tail = contents.tail(vaddr + end, "the DT_GNU_HASH chains")
        chain = tail[: len(tail) & ~3].view(_U32)
        size = _end_of_run(chain, last - first)
        if size is None:
            raise MalformedElf(name, f"the DT_GNU_HASH chain of symbol {last} has no end")
        return cls(first, buckets, chain[:size])

    @property
    def count(self) -> int:
        """One past the last symbol of the table."""
        return self.first + len(self.chain)

    def hash_of(self, names: Names) -> U32:
        return names.gnu_hash

    def entries(self, names: Names) -> tuple[U32, I64]:
        return self.chain, np.arange(self.first, self.count)

    def reaches(self, hashes: U32, symbols: I64) -> Bools:
        if not len(self.buckets):
            return np.zeros(len(symbols), np.bool_)
        heads = self.buckets[hashes % np.uint32(len(self.buckets))].astype(np.int64)
        met: Bools = (heads != 0) & (heads <= symbols)
        where = indices_where(met)
        met[where] = self._run[heads[where] - self.first] == self._run[symbols[where] - self.first]
        return met

    def walk(self, hashes: U32) -> tuple[I64, I64] | None:
        """(request, symbol) of all entries with the hash of a request, but for its last bit, that the walk of its
        chain meets: ordered by request, then as walked. None where a chain is too long to be walked.
        """
        if not len(self.buckets) or not len(self.chain):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        heads = self.buckets[hashes % np.uint32(len(self.buckets))].astype(np.int64)
        going = indices_where(heads)
        at, wanted = heads[going] - self.first, hashes[going]
        requests, places = list[I64](), list[I64]()
        for _ in range(_LONGEST_WALK // _STEPS):
            words = self.chain.take(at[:, None] + np.arange(_STEPS), mode="clip")  # the last one ends a chain
            ends = words & np.uint32(1)
            ended = ends.cumsum(axis=1, dtype=np.uint32)
            name, step = ((words ^ wanted[:, None] < 2) & (ended == ends)).nonzero()
            requests.append(going[name])
            places.append(at[name] + step)
            on = indices_where(ended[:, -1] == 0)
            if not len(on):
                break
            going, at, wanted = going[on], at[on] + _STEPS, wanted[on]
        else:
            return None
        if len(requests) == 1:
            return requests[0], places[0] + self.first
        request, place = np.concatenate(requests), np.concatenate(places)
        order = np.argsort(request, kind="stable")
        return request[order], place[order] + self.first

    def sole(self, symbols: I64) -> Bools:
        """Which symbols (`first` to `count` - 1) are in the chain of their hash, as far as the table has it, with
        no other entry of that hash in this chain.
        """
        none = np.zeros(len(symbols), np.bool_)
        if not len(symbols) or not len(self.buckets):
            return none
        words, inner = self.chain | np.uint32(1), self.chain & np.uint32(1) == 0
        depth = np.zeros(len(words), np.uint8)  # the position of each entry in its run
        twice, distance = list[I64](), 1
        near = inner[:-1]  # whether the entry at this distance is of the same run
        while anywhere(near):
            if distance == _LONGEST_WALK:
                return none
            depth[distance:] += near.view(np.uint8)
            same = indices_where((words[distance:] == words[:-distance]) & near)
            if len(same):
                twice += [same, same + distance]
            near = near[:-1] & inner[distance:-1]
            distance += 1
        at = symbols - self.first
        sole = self._begin_at(words.take(at), (symbols - depth.take(at)).astype(np.uint32))
        if twice:
            once = np.ones(len(words), np.bool_)
            once[np.concatenate(twice)] = False
            sole &= once.take(at)
        return sole

    def _begin_at(self, words: U32, heads: U32) -> Bools:
        """Whether the chain of a hash, of which the last bit is not known, begins at a symbol, bool[n]."""
        count = np.uint32(len(self.buckets))
        bucket = words - words // count * count  # several times faster than %
        before = bucket - np.uint32(1)  # of bucket 0 the last one, by clipping
        found: Bools = self.buckets.take(bucket) == heads
        found |= self.buckets.take(before, mode="clip") == heads
        found &= heads != 0
        return found

    def met_by(self, hash_: int) -> list[int] | None:
        """The symbols with this full hash, but for its last bit, that a walk meets; None for too long a chain."""
        buckets, chain, first = self._words
        head = buckets[hash_ % len(buckets)] if buckets else 0
        if not head:
            return []
        met = []
        for symbol, word in enumerate(chain[head - first : head - first + _LONGEST_WALK], head):
            if word ^ hash_ < 2:
                met.append(symbol)
            if word & 1:
                return met
        return None

    @cached_property
    def _words(self) -> tuple[memoryview, memoryview, int]:
        """Buckets, chain and `first`: a memory view gives single words quicker than an array."""
        buckets, chain = (words.astype(np.uint32, copy=False) for words in (self.buckets, self.chain))
        return buckets.data, chain.data, self.first

    @cached_property
    def _run(self) -> I64:
        """The run (chain) of each entry of `chain`: the number of runs that end before it."""
        ends = (self.chain & np.uint32(1)).astype(np.int64)
        return frozen(np.cumsum(ends) - ends)


def _bounds(buckets: U32) -> tuple[int, int]:
    """The lowest of those that are not empty, and the highest; (0, 0) if all are empty."""
    if len(buckets) <= _FEW:
        used = [bucket for bucket in buckets.tolist() if bucket]
        return (min(used), max(used)) if used else (0, 0)
    last = int(highest(buckets))
    return int(lowest(buckets - np.uint32(1))) + 1 if last else 0, last


def _end_of_run(chain: U32, begin: int) -> int | None:
    """One past the first entry at or after `begin` that ends a chain, None without one. The chains of real tables
    are short, so few entries are read at a time.
    """
    window = 64
    if begin < len(chain) and int(chain[begin]) & 1:
        return begin + 1
    while begin < len(chain):
        ends = indices_where(chain[begin : begin + window] & np.uint32(1))
        if len(ends):
            return begin + int(ends[0]) + 1
        begin += window
        window = min(window * 4, 1 << 20)
    return None


@dataclass(frozen=True, eq=False)
class SysvHash:
    """DT_HASH. Chain *i* starts at symbol `buckets[i]`; `chain[s]` is the symbol after s, 0 the end."""

    name: str
    buckets: U32
    chain: U32
    lost_bits = 0

    @classmethod
    def read(cls, contents: Contents, vaddr: int) -> SysvHash:
        """Read the table at `vaddr`. Raises MalformedElf when it is outside the image; links are checked on
        use.
        """
        bucket_count, chain_count = contents.table(vaddr, 2, _U32, "the DT_HASH header").tolist()
        buckets = contents.table(vaddr + 8, bucket_count, _U32, "the DT_HASH buckets")
        chain = contents.table(vaddr + 8 + 4 * bucket_count, chain_count, _U32, "the DT_HASH chains")
        if bucket_count == 0:
            contents.findings.warn(f"DT_HASH at {vaddr:#x} has no buckets: no symbol can be found")
        return cls(contents.name, buckets, chain)

    @property
    def count(self) -> int:
        """nchain, which is the number of symbols (gABI)."""
        return len(self.chain)

    def hash_of(self, names: Names) -> U32:
        return names.sysv_hash

    def entries(self, names: Names) -> tuple[U32, I64]:
        if not len(self.buckets):
            return frozen(np.empty(0, np.uint32)), frozen(np.empty(0, np.int64))
        bucket, depth = self._places()
        hashes = names.sysv_hash[: self.count]
        met = indices_where(bucket == (hashes % np.uint32(len(self.buckets))).astype(np.int64))
        met = met[np.argsort(depth[met], kind="stable")]
        return hashes[met], met

    def reaches(self, hashes: U32, symbols: I64) -> Bools:
        # `entries` already leaves out symbols that are not in the chain of their own hash.
        return np.ones(len(symbols), np.bool_)

    def _places(self) -> tuple[I64, I64]:
        """For each symbol the bucket of its chain (-1: none), and its position in the chain.

        When no symbol is linked to twice, a chain that starts at a bucket cannot loop, and every symbol has at
        most one predecessor. Pointer doubling over the predecessors then finds the buckets of all symbols in
        log(depth) passes. Raises MalformedElf when chains loop, merge or leave the table.
        """
        count = self.count
        links = np.concatenate([self.chain, self.buckets]).astype(np.int64)
        if count:
            links[0] = 0  # symbol 0 marks the end of a chain and is in no chain
        sources = indices_where(links)
        targets = links[sources]
        if len(targets) and int(targets.max()) >= count:
            raise MalformedElf(self.name, f"DT_HASH links to symbol {int(targets.max())} of {count}")
        if len(targets) and int(np.bincount(targets).max()) > 1:
            raise MalformedElf(self.name, "the chains of DT_HASH loop or run together")
        before = np.arange(len(links))
        before[targets] = sources
        depth = (before != np.arange(len(links))).astype(np.int64)
        for _ in range(len(links).bit_length()):
            further = before[before]
            if np.array_equal(further, before):
                break
            depth += depth[before]
            before = further
        # The predecessors of a loop that no bucket leads to stay below `count`, so its symbols count as
        # unreachable.
        return np.maximum(before[:count] - count, -1), depth[:count]

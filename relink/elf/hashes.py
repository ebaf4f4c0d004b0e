"""DT_GNU_HASH and DT_HASH: how many symbols there are, and which of them a name may reach.

ld.so walks a chain per name. Here a whole batch of names is looked up at once, against all entries sorted by
hash; the chains then only have to say which entries a walk would have met, and in what order. That makes the
time of a lookup independent of how long a hostile table's chains are.

The three ways to have hashes (GNU table, SysV table, no table: hash the names) are three `HashTable`s.
Sources: gABI chapter 5, "Hash Table"; for DT_GNU_HASH, glibc's elf/dl-lookup.c and binutils' bfd/elflink.c.
"""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import numpy as np

from relink.arrays import I64, U32, Bools
from relink.elf.contents import Contents, frozen
from relink.elf.layout import Layout
from relink.elf.names import Names
from relink.errors import MalformedElf
from relink.records import dataclass

_U32 = np.dtype("<u4")


class HashTable(Protocol):
    """What symbol lookup asks of a hash table."""

    #: Low bits of a hash that the table does not keep.
    lost_bits: int

    def hash_of(self, names: Names) -> U32:
        """uint32[n]: the hash this table files `names` under."""

    def entries(self, names: Names) -> tuple[U32, I64]:
        """(hash, symbol) of every entry, entries of one chain in the order a walk meets them.

        `names` are those of the symbol table, all of them.
        """

    def reaches(self, hashes: U32, symbols: I64) -> Bools:
        """bool[m]: whether a walk for the full hash `hashes[k]` meets symbol `symbols[k]`."""


@dataclass(frozen=True, eq=False)
class NoHash:
    """A symbol table without a hash table: everything in it can be found."""

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

    first: int  #: index of the first symbol the table knows; those before it are undefined or local
    buckets: U32
    chain: U32  #: the hash of symbol first + k, its low bit replaced by "last of its chain"
    lost_bits = 1

    @classmethod
    def read(cls, contents: Contents, layout: Layout, vaddr: int) -> GnuHash:
        """The table at `vaddr`. Raises MalformedElf for a bucket before it or a chain without an end."""
        name = contents.name
        bucket_count, first, bloom_words, _shift = contents.table(
            vaddr, 4, _U32, "the DT_GNU_HASH header"
        ).tolist()
        if bucket_count == 0:  # glibc, musl and bionic find nothing by it
            contents.findings.warn(f"DT_GNU_HASH at {vaddr:#x} has no buckets: no symbol can be found")
            nothing = frozen(np.empty(0, np.uint32))
            return cls(first, nothing, nothing)
        buckets_at = vaddr + 16 + bloom_words * layout.word_size
        contents.at(vaddr + 16, bloom_words * layout.word_size, "the DT_GNU_HASH bloom filter")
        buckets = contents.table(buckets_at, bucket_count, _U32, "the DT_GNU_HASH buckets")
        last = int(buckets.max())
        if last == 0:
            return cls(first, buckets, frozen(np.empty(0, np.uint32)))
        used = buckets[buckets != 0]
        if int(used.min()) < first:
            raise MalformedElf(
                name, f"a DT_GNU_HASH bucket begins at symbol {int(used.min())}, the table only at {first}"
            )
        chain_at = buckets_at + bucket_count * 4
        tail = contents.tail(chain_at, "the DT_GNU_HASH chains")
        tail = tail[: len(tail) & ~3]
        chain = tail.view(_U32)
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
        where = np.flatnonzero(met)
        met[where] = self._run[heads[where] - self.first] == self._run[symbols[where] - self.first]
        return met

    @cached_property
    def _run(self) -> I64:
        """Which run each entry of `chain` is in: how many runs end before it."""
        ends = (self.chain & np.uint32(1)).astype(np.int64)
        return frozen(np.cumsum(ends) - ends)


def _end_of_run(chain: U32, begin: int) -> int | None:
    """One past the first entry from `begin` that ends a chain; the runs of real tables are a few entries."""
    window = 64
    while begin < len(chain):
        ends = np.flatnonzero(chain[begin : begin + window] & np.uint32(1))
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
        """The table at `vaddr`. MalformedElf where it lies outside the image; links are checked on use."""
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
        met = np.flatnonzero(bucket == (hashes % np.uint32(len(self.buckets))).astype(np.int64))
        met = met[np.argsort(depth[met], kind="stable")]
        return hashes[met], met

    def reaches(self, hashes: U32, symbols: I64) -> Bools:
        # `entries` has left out every symbol that its own hash does not lead to.
        return np.ones(len(symbols), np.bool_)

    def _places(self) -> tuple[I64, I64]:
        """For each symbol the bucket whose chain it is in (-1: none), and how deep in it.

        When nothing is linked to twice, a walk from a bucket cannot come back to where it was, so no chain
        loops. Then every symbol has one predecessor, and following those in strides that double (each stride
        two of the last) finds the bucket of all symbols in log(depth) passes.
        """
        count = self.count
        links = np.concatenate([self.chain, self.buckets]).astype(np.int64)
        if count:
            links[0] = 0  # symbol 0 ends chains, it is in none
        sources = np.flatnonzero(links)
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
        # A ring that no bucket enters is never left; it stays below `count` and so counts as unreachable.
        return np.maximum(before[:count] - count, -1), depth[:count]

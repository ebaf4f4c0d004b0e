"""The guest heap: blocks in guest memory, book-keeping in Python.

Sizes and free lists are outside guest memory. A guest that writes past a block can damage other blocks but not the
allocator, and an invalid `free` is always detected and reported.

- Blocks of up to `SMALL_LIMIT` bytes have size classes 16 bytes apart. A freed block goes to the free list of its
  class and is reused unchanged (`emu.memory.small_blocks`).
- Larger blocks are cut best-fit from free *extents*. A freed block is merged with adjacent free extents.
- Extents come from arenas mapped with `map_anonymous`, each twice as large as the last. Arenas are never merged,
  since an access must not cross from one mapping into another.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from emu.errors import GuestAbort
from emu.memory.limit import MemoryLimit
from emu.memory.small_blocks import GRANULE, LARGEST, RUN, RUN_COST, SmallBlocks
from relink.errors import AddressSpaceError

if TYPE_CHECKING:
    from emu.ports import MappableMemory
    from relink.arch import Architecture

ALIGNMENT = GRANULE  #: bytes; the largest alignment of max_align_t of all ISAs, used on every ISA
SMALL_LIMIT = LARGEST * GRANULE  #: bytes; the largest size class
_COPIED = 1 << 20  #: bytes moved at a time when a block is resized
#: Host memory for the book-keeping of one large block, live or free, in bytes.
_BLOCK_COST = 200
_FIRST_ARENA = 1 << 18
_LARGEST_STEP = 1 << 26


class Heap:
    """malloc and related functions on guest memory. Addresses are unsigned; 0 is NULL; sizes are in bytes."""

    def __init__(
        self,
        memory: MappableMemory,
        arch: Architecture,
        account: MemoryLimit | None = None,
        *,
        limit: int | None = None,
    ) -> None:
        self.memory = memory
        #: Limit for arenas in bytes: beyond it malloc returns NULL, even below the machine's memory limit.
        self.limit = arch.address_mask if limit is None else limit
        self._account = account or MemoryLimit()  # for book-keeping; arenas are charged as pages
        self.mapped = 0  #: bytes of arenas so far
        self.refusals = 0  #: requests for which no memory was left
        self.small = SmallBlocks()
        self.changes = 0  #: of large blocks, extents and arenas; only increases
        self._live: dict[int, int] = {}  # address -> capacity of each other live block
        self._extents: list[tuple[int, int]] = []  # (size, start), sorted: best fit is one bisection
        self._extent_at: dict[int, int] = {}  # start -> size
        self._extent_ending: dict[int, int] = {}  # end -> start
        self._new_arenas: list[tuple[int, int]] = []  #: (size, start) of those that are no extents yet
        self._arena_bounds: set[int] = set()
        self._next_arena: int = _FIRST_ARENA

    # ---------------------------------------------------------------- the C interface

    def malloc(self, size: int) -> int:
        """The address of a new block of at least `size` bytes (a unique block even for 0), or 0 beyond the
        limit.
        """
        granules = (size + 15) >> 4 or 1
        if granules <= LARGEST:
            return self.small.take(granules) or self._take_small(granules)
        return self._take(granules * GRANULE)

    def calloc(self, count: int, size: int) -> int:
        """Like malloc of `count * size` bytes, zeroed."""
        total = count * size
        address = self.malloc(total)
        try:
            if address and total:
                self.memory.zero(address, total)
        except BaseException:
            self.free(address)
            raise
        return address

    def realloc(self, address: int, size: int) -> int:
        """Resize a block, moving it if necessary. Returns 0 beyond the limit and keeps the old block. `realloc(0,
        n)` is malloc.
        """
        if not address:
            return self.malloc(size)
        old = self._capacity("realloc", address)
        capacity = (size + 15) & -16 or 16
        if capacity <= old and capacity * 2 > old:
            return address
        if old > SMALL_LIMIT and capacity > SMALL_LIMIT and self._resize_extent(address, old, capacity):
            return address
        moved = self.malloc(size)
        if not moved:
            return 0
        try:
            kept = min(old, size)
            for offset in range(0, kept, _COPIED):
                self.memory.write(moved + offset, self.memory.read(address + offset, min(_COPIED, kept - offset)))
            self.free(address)
        except BaseException:
            self.free(moved)
            raise
        return moved

    def aligned_alloc(self, alignment: int, size: int) -> int:
        """Like malloc, at a multiple of `alignment`. Raises ValueError if it is not a power of two."""
        if alignment <= 0 or alignment & (alignment - 1):
            raise ValueError(f"alignment {alignment} is not a power of two")
        if alignment <= ALIGNMENT:
            return self.malloc(size)
        return self._take((size + 15) & -16 or 16, alignment)

    posix_memalign = aligned_alloc

    def free(self, address: int) -> None:
        """Free a block; 0 is ignored. Raises GuestAbort with the pointer if it is not a live block."""
        if self.small.give(address):
            return
        while address:
            seen = self.changes
            capacity = self._live.get(address)
            if capacity is None:
                raise self._bad_pointer("free", address)
            if self._give(seen, address, 0, capacity):
                return

    def usable_size(self, address: int) -> int:
        """The usable bytes at `address` (0 for NULL). Raises GuestAbort for a pointer that is not a live block."""
        return self._capacity("malloc_usable_size", address) if address else 0

    def _capacity(self, function: str, address: int) -> int:
        """The usable bytes of a live block."""
        capacity = self.small.size_at(address) or self._live.get(address)
        if capacity is None:
            raise self._bad_pointer(function, address)
        return capacity

    # ---------------------------------------------------------------- for people

    @property
    def live_blocks(self) -> int:
        """The number of live blocks."""
        return len(self._live) + self.small.count()[0]

    @property
    def live_bytes(self) -> int:
        """The bytes in live blocks, including rounding."""
        return sum(self._live.values()) + self.small.count()[1]

    def blocks(self) -> dict[int, int]:
        """Every live block: address -> usable bytes, in order of address."""
        return dict(sorted([*self._live.items(), *self.small.live()]))

    def _bad_pointer(self, function: str, address: int) -> GuestAbort:
        around = (start for start, size in self._live.items() if start < address < start + size)
        if start := next(around, 0) or self.small.containing(address):
            inside = f"{address - start} bytes into the block at {start:#x}"
            return GuestAbort(f"{function}(): {address:#x} is {inside}")
        for start, size in self._extent_at.items():
            if start <= address < start + size:
                return GuestAbort(f"{function}(): double free: {address:#x} is in memory that was already freed")
        if self.small.is_free(address):
            return GuestAbort(f"{function}(): double free of {address:#x}")
        return GuestAbort(f"{function}(): invalid pointer {address:#x}: it was never allocated by the heap")

    # ---------------------------------------------------------------- extents

    def _take_small(self, granules: int) -> int:
        """A small block from a new run; near the limit a single block instead of a run."""
        small = self.small
        while not small.is_full:
            if not small.spare:
                if not self._account.take(RUN_COST):
                    return 0
                taken = False
                try:
                    taken = self._take_run()
                finally:
                    if not taken:
                        self._account.used -= RUN_COST  # without a call, which could be interrupted
                if not taken:
                    break
            small.use_spare()
            if address := small.take(granules):
                return address
        return self._take(granules * GRANULE)

    def _take_run(self) -> bool:
        """Cut a run from the smallest extent that has one at a multiple of its size, for the small blocks."""
        most = 2 * RUN - ALIGNMENT  # such an extent has one anywhere
        while True:
            seen, extents = self.changes, self._extents
            fits = (
                index
                for index in range(bisect_left(extents, (RUN, 0)), len(extents))
                if -extents[index][1] % RUN + RUN <= extents[index][0]
            )
            index = next(fits, None)
            if index is None:
                if not self._grow(most):
                    return False
            elif self._cut(seen, index, RUN, RUN, run=True):
                return True

    def _take(self, size: int, alignment: int = ALIGNMENT) -> int:
        """A block from the smallest extent that has one anywhere; map a new arena if none has. 0: no memory."""
        most = size + alignment - ALIGNMENT
        while True:
            seen, extents = self.changes, self._extents
            index = bisect_left(extents, (most, 0))
            if index >= len(extents):
                if not self._grow(most):
                    return 0
            elif address := self._cut(seen, index, size, alignment):
                return address

    # The following change all records of large blocks, extents and arenas in one step, which makes no call: no
    # signal handler, which may allocate or raise, comes between. They change nothing, and say so, when a handler
    # has changed something since the caller looked (`seen`).

    def _cut(self, seen: int, index: int, size: int, alignment: int, block: int = 0, *, run: bool = False) -> int:
        """Cut a live block from the extent of an index, or extend the live `block` before it, or cut a run for
        small blocks. Returns its address; 0: the heap has changed.
        """
        if seen != self.changes:
            return 0
        available, start = self._extents[index]
        address, end = start + alignment - 1 & -alignment, start + available
        after = address + size
        # Both are smaller than the extent, so their places are before it.
        front, rest = [(address - start, start)], [(end - after, after)]
        place, place_of_rest = bisect_left(self._extents, front[0]), bisect_left(self._extents, rest[0])
        if rest[0] < front[0] and end > after:
            place += 1
        block = block or address
        runs = (address,) if run else ()
        if seen != self.changes:
            return 0
        self.changes = seen + 1
        del self._extents[index]
        if end > after:
            self._extents[place_of_rest:place_of_rest] = rest
            self._extent_at[after], self._extent_ending[end] = end - after, after
        else:
            del self._extent_ending[end]
        if address > start:
            self._extents[place:place] = front
            self._extent_at[start], self._extent_ending[address] = address - start, start
        else:
            del self._extent_at[start]
        if run:
            self.small.spare += runs
        else:
            self._live[block] = after - block
        return block

    def _give(self, seen: int, block: int, kept: int, capacity: int) -> bool:
        """Free a live block of `capacity` bytes, except the first `kept`, merging what is free with adjacent free
        extents of the same arena.
        """
        start, end = block + kept, block + capacity
        low = start if start in self._arena_bounds else self._extent_ending.get(start, start)
        high = end if end in self._arena_bounds else end + self._extent_at.get(end, 0)
        merged = [(high - low, low)]
        # Those that it is merged with are smaller, so their places are before it.
        extents = self._extents
        place = bisect_left(extents, merged[0])
        preceding, following = bisect_left(extents, (start - low, low)), bisect_left(extents, (high - end, end))
        if seen != self.changes:
            return False
        self.changes = seen + 1
        if low < start and high > end:
            first, second = (preceding, following) if preceding < following else (following, preceding)
            del extents[second], extents[first]
            place -= 2
        elif low < start or high > end:
            del extents[preceding if low < start else following]
            place -= 1
        extents[place:place] = merged
        if low < start:
            del self._extent_ending[start]
        if high > end:
            del self._extent_at[end]
        self._extent_at[low], self._extent_ending[high] = high - low, low
        if kept:
            self._live[block] = kept
        else:
            del self._live[block]
        return True

    def _resize_extent(self, address: int, old: int, new: int) -> bool:
        """Grow or shrink a large block in place."""
        end = address + old
        while True:
            seen = self.changes
            if self._live.get(address) != old:
                return False
            if new < old:
                if self._give(seen, address, new, old):
                    return True
                continue
            following = 0 if end in self._arena_bounds else self._extent_at.get(end, 0)
            if old + following < new:
                return False
            index = bisect_left(self._extents, (following, end))
            if self._cut(seen, index, new - old, ALIGNMENT, address):
                return True

    def _grow(self, size: int) -> bool:
        """Map a new arena. False: there is no memory."""
        if self._new_arenas:  # a signal handler interrupted what follows
            self._join_arenas()
            return True
        needed = (size + 4095) & -4096
        for arena in (max(needed, self._next_arena), needed):
            # an estimate as if cut into large blocks; small blocks are charged individually
            cost = arena // SMALL_LIMIT * _BLOCK_COST
            following = min(max(self._next_arena, arena) * 2, _LARGEST_STEP)
            if not self._account.take(cost):
                continue
            fits, start = self.mapped + arena <= self.limit, 0
            self.mapped += arena
            try:
                if not fits:
                    continue
                start = self.memory.map_anonymous(arena, name="[heap]")
                self._new_arenas += [(arena, start)]
                self._next_arena = following
            except AddressSpaceError:
                continue
            finally:
                if not start:  # without a call, which could be interrupted
                    self._account.used -= cost
                    self.mapped -= arena
            self._join_arenas()
            return True
        self.refusals += 1
        return False

    def _join_arenas(self) -> None:
        """Make new arenas extents."""
        while True:  # a signal handler that joins them may run where a condition was found to be true
            seen, new = self.changes, self._new_arenas[-1:]
            if not new:
                return
            size, start = new[0]
            bounds, place = {start, start + size}, bisect_left(self._extents, new[0])
            if seen == self.changes:
                self.changes = seen + 1
                del self._new_arenas[-1]
                self._extents[place:place] = new
                self._extent_at[start], self._extent_ending[start + size] = size, start
                self._arena_bounds |= bounds

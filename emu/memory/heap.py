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

from bisect import bisect_left, insort
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
        self._live: dict[int, int] = {}  # address -> capacity of each other live block
        self._extents: list[tuple[int, int]] = []  # (size, start), sorted: best fit is one bisection
        self._extent_at: dict[int, int] = {}  # start -> size
        self._extent_ending: dict[int, int] = {}  # end -> start
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
        address = self._take(granules * GRANULE)
        if address:
            self._live[address] = granules * GRANULE
        return address

    def calloc(self, count: int, size: int) -> int:
        """Like malloc of `count * size` bytes, zeroed."""
        total = count * size
        address = self.malloc(total)
        if address and total:
            self.memory.zero(address, total)
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
        if moved:
            kept = min(old, size)
            for offset in range(0, kept, _COPIED):
                self.memory.write(moved + offset, self.memory.read(address + offset, min(_COPIED, kept - offset)))
            self.free(address)
        return moved

    def aligned_alloc(self, alignment: int, size: int) -> int:
        """Like malloc, at a multiple of `alignment`. Raises ValueError if it is not a power of two."""
        if alignment <= 0 or alignment & (alignment - 1):
            raise ValueError(f"alignment {alignment} is not a power of two")
        if alignment <= ALIGNMENT:
            return self.malloc(size)
        capacity = (size + 15) & -16 or 16
        start = self._take(capacity + alignment - ALIGNMENT)
        if not start:
            return 0
        address = (start + alignment - 1) & -alignment
        self._give(start, address - start)
        self._give(address + capacity, start + alignment - ALIGNMENT - address)
        self._live[address] = capacity
        return address

    posix_memalign = aligned_alloc

    def free(self, address: int) -> None:
        """Free a block; 0 is ignored. Raises GuestAbort with the pointer if it is not a live block."""
        if self.small.give(address):
            return
        capacity = self._live.pop(address, 0)
        if capacity:
            self._give(address, capacity)
        elif address:
            raise self._bad_pointer("free", address)

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
        if not self.small.is_full:
            if not self._account.take(RUN_COST):
                return 0
            start = self._take_run()
            if start:
                self.small.add_run(start)
                return self.small.take(granules)
            self._account.give(RUN_COST)
        address = self._take(granules * GRANULE)
        if address:
            self._live[address] = granules * GRANULE
        return address

    def _take_run(self) -> int:
        """Cut a run from the smallest extent that has one at a multiple of its size."""
        most = 2 * RUN - ALIGNMENT  # such an extent has one anywhere
        fits = (
            (size, start)
            for size, start in self._extents[bisect_left(self._extents, (RUN, 0)) :]
            if -start % RUN + RUN <= size
        )
        found = next(fits, None)
        if found is None:
            if not self._grow(most):
                return 0
            found = self._extents[bisect_left(self._extents, (most, 0))]
        size, start = found
        self._forget(start, size)
        run = start + -start % RUN
        self._give(start, run - start)
        self._give(run + RUN, start + size - run - RUN)
        return run

    def _take(self, size: int) -> int:
        """Cut `size` bytes from the smallest extent that has them; map a new arena if none has. 0: no memory."""
        index = bisect_left(self._extents, (size, 0))
        if index == len(self._extents):
            if not self._grow(size):
                return 0
            index = bisect_left(self._extents, (size, 0))
        available, start = self._extents[index]
        self._forget(start, available)
        if available > size:
            self._remember(start + size, available - size)
        return start

    def _give(self, start: int, size: int) -> None:
        """Free [start, start + size), merging it with adjacent free extents of the same arena."""
        if not size:
            return
        end = start + size
        if end not in self._arena_bounds:
            following = self._extent_at.get(end)
            if following:
                self._forget(end, following)
                end += following
        if start not in self._arena_bounds:
            preceding = self._extent_ending.get(start)
            if preceding is not None:
                self._forget(preceding, start - preceding)
                start = preceding
        self._remember(start, end - start)

    def _resize_extent(self, address: int, old: int, new: int) -> bool:
        """Grow or shrink a large block in place."""
        end = address + old
        if new > old:
            following = 0 if end in self._arena_bounds else self._extent_at.get(end, 0)
            if old + following < new:
                return False
            self._forget(end, following)
            end += following
        self._live[address] = new
        self._give(address + new, end - address - new)
        return True

    def _remember(self, start: int, size: int) -> None:
        insort(self._extents, (size, start))
        self._extent_at[start] = size
        self._extent_ending[start + size] = start

    def _forget(self, start: int, size: int) -> None:
        del self._extents[bisect_left(self._extents, (size, start))]
        del self._extent_at[start]
        del self._extent_ending[start + size]

    def _grow(self, size: int) -> bool:
        needed = (size + 4095) & -4096
        for arena in (max(needed, self._next_arena), needed):
            # an estimate as if cut into large blocks; small blocks are charged individually
            cost = arena // SMALL_LIMIT * _BLOCK_COST
            if self.mapped + arena > self.limit or not self._account.take(cost):
                continue
            try:
                start = self.memory.map_anonymous(arena, name="[heap]")
            except AddressSpaceError:
                self._account.give(cost)
                continue
            self.mapped += arena
            self._next_arena = min(max(self._next_arena, arena) * 2, _LARGEST_STEP)
            self._arena_bounds.update((start, start + arena))
            self._remember(start, arena)
            return True
        self.refusals += 1
        return False

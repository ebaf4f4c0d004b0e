"""The small blocks of a heap, in arrays that machine code of the host can use too.

Blocks are cut from *runs* of `RUN` bytes, at addresses that are multiples of it, which are never given back. Each
granule of 16 bytes has a word: `LIVE` with the block's size in granules where a live block begins, `FREE` with the
next free block of that size (its number plus one) where a free one begins, otherwise 0. Granules are numbered
through all runs. Freed blocks are reused last in, first out.

`emu.cpu.hooks.heap_hook` does what `take` and `give` do, on the same arrays; none of them is in guest memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from relink.records.tuples import NamedTuple

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emu.cpu.hooks.heap_hook import BlockArrays

GRANULE: Final = 16  #: bytes
LARGEST: Final = 64  #: granules of the largest block
RUN: Final = 1 << 14  #: bytes
RUN_COST: Final = 4 * RUN // GRANULE + 64  #: bytes of host memory for a run
_SHIFT: Final = RUN.bit_length() - 1
_GRANULES: Final = RUN // GRANULE
_NUMBER: Final = _GRANULES.bit_length() - 1  #: bits of a granule's number in its run
LIVE, FREE = 1 << 31, 1 << 30
_SIZE: Final = 127  #: bits of a live word that are the size
_MOST_RUNS: Final = (FREE >> _NUMBER) - 1
#: Elements of the state: by size the first free block (its number plus one, 0: none); then the first granule that
#: is not cut yet, the end of its run, and a number that every change increases.
_NEXT, _END, _CHANGES, _STATE = 65, 66, 67, 68

_Content = tuple[bytes, bytes, tuple[int, ...], tuple[int, ...]]


class _Views(NamedTuple):
    """The arrays as Python reads them quickest, and what is derived from the list of runs."""

    state: Any
    words: Any
    numbers: dict[int, int]  #: address of a run, shifted -> its number
    addresses: NDArray[np.uint64]
    table: NDArray[np.uint64]  #: the same by open addressing: (shifted address, number plus one)
    mask: int  #: the number of entries of the table less one
    places: tuple[int, int, int, int]  #: of state, words, addresses and table in the host's memory
    arrays: BlockArrays

    def slot(self, address: int) -> int:
        """Where the table has room for a run."""
        from emu.cpu.hooks.stop_hook import MULTIPLIER, PLACE_SHIFT

        at = ((address >> _SHIFT) * MULTIPLIER & (1 << 64) - 1) >> PLACE_SHIFT & self.mask
        while self.table[2 * at + 1]:
            at = at + 1 & self.mask
        return at


class SmallBlocks:
    """Blocks of up to `LARGEST` granules. It saves itself in snapshots (`emu.ports.Saved`)."""

    def __init__(self) -> None:
        self._state: NDArray[np.uint64] = np.zeros(_STATE, np.uint64)
        self._words: NDArray[np.uint32] = np.zeros(_GRANULES, np.uint32)  #: of a power of two of runs
        self._runs: list[int] = []
        self.spare: tuple[int, ...] = ()  #: runs to be added
        self._views: _Views | None = None
        self._saved: tuple[object, _Content] | None = None  #: what `save_state` returned last, at this change

    # ---------------------------------------------------------------- blocks

    def take(self, granules: int) -> int:
        """The address of a new block of 1 to `LARGEST` granules; 0: a run is needed (`add_run`)."""
        views = self._views
        if views is None:
            self._view()
            return self.take(granules)
        # Without a call from here on: in it a signal handler that allocates could replace the arrays.
        state = views.state
        if head := state[granules]:
            place = head - 1
            state[granules] = views.words[place] & FREE - 1
        else:
            place = state[_NEXT]
            if place + granules > state[_END]:
                return 0
            state[_NEXT] = place + granules
        views.words[place] = LIVE | granules
        state[_CHANGES] += 1
        address: int = self._runs[place >> _NUMBER] + (place & _GRANULES - 1) * GRANULE
        return address

    def allocate(self, size: int) -> int:
        """The address of a new block of so many bytes; 0: there is none so large, or a run is needed."""
        granules = (size + GRANULE - 1) // GRANULE or 1
        return self.take(granules) if granules <= LARGEST else 0

    def give(self, address: int) -> bool:
        """Free the block at an address; False where there is no live one."""
        views = self._views
        if views is None:
            self._view()
            return self.give(address)
        key = address >> _SHIFT  # without a call from here on, as in `take`
        if address % GRANULE or key not in views.numbers:
            return False
        place = views.numbers[key] << _NUMBER | address % RUN // GRANULE
        word = views.words[place]
        if not word & LIVE:
            return False
        state = views.state
        views.words[place] = FREE | state[word & _SIZE]
        state[word & _SIZE] = place + 1
        state[_CHANGES] += 1
        return True

    def size_at(self, address: int) -> int:
        """The bytes of the live block at an address; 0 where there is none."""
        word = 0 if address % GRANULE else self._word(address)
        return (word & _SIZE) * GRANULE if word & LIVE else 0

    def is_free(self, address: int) -> bool:
        """Whether a freed block begins at an address."""
        return not address % GRANULE and bool(self._word(address) & FREE)

    def containing(self, address: int) -> int:
        """The live block that an address is inside of, but not the start of; 0: none."""
        start = address & -GRANULE
        for block in range(start, max(start - LARGEST * GRANULE, address & -RUN) - 1, -GRANULE):
            if size := self.size_at(block):
                return block if block < address < block + size else 0
        return 0

    def _word(self, address: int) -> int:
        views = self._views or self._view()
        run = views.numbers.get(address >> _SHIFT)
        return 0 if run is None else int(views.words[run << _NUMBER | address % RUN // GRANULE])

    def live(self) -> Iterator[tuple[int, int]]:
        """(address, bytes) of every live block."""
        places = np.flatnonzero(self._words & np.uint32(LIVE))
        sizes = (self._words[places] & np.uint32(_SIZE)) * GRANULE
        for place, size in zip(places.tolist(), sizes.tolist(), strict=True):
            yield self._runs[place >> _NUMBER] + (place & _GRANULES - 1) * GRANULE, size

    def count(self) -> tuple[int, int]:
        """How many blocks are live, and their bytes."""
        words = self._words[self._words >= LIVE] & np.uint32(_SIZE)
        return len(words), int(words.sum()) * GRANULE

    # ---------------------------------------------------------------- runs

    @property
    def is_full(self) -> bool:
        """Whether no more runs can be added."""
        return len(self._runs) >= _MOST_RUNS

    def add_run(self, address: int) -> None:
        """Cut blocks from the run at an address, once there may be no room for one in the run before."""
        self.spare += (address,)
        self.use_spare()

    def use_spare(self) -> None:
        """Cut blocks from the next run of `spare`, unless the last one has room for any; its rest becomes
        a free block.
        """
        while self.spare:
            seen = self._views or self._view()
            if seen.state[_NEXT] + LARGEST <= seen.state[_END]:
                break
            changes, views, words, runs = seen.state[_CHANGES], seen, self._words, [*self._runs]
            if len(runs) == len(words) // _GRANULES:
                words = np.concatenate([words, np.zeros_like(words)])
                views = self._made(words, runs)
            for run in self.spare[:1]:
                self._use(seen, changes, views, words, run, views.slot(run))

    def _use(
        self,
        seen: _Views | None,
        changes: Any,
        views: _Views,
        words: NDArray[np.uint32],
        run: int = 0,
        slot: int = 0,
    ) -> bool:
        """Use these views of words, with a run of `spare` added; not if anything has changed since `seen`."""
        number, arrays = len(self._runs), views.arrays
        new, first, end_of_run = [run], number * _GRANULES, (number + 1) * _GRANULES
        # Without a call from here on: no signal handler comes between.
        if self._views is not seen or self._state[_CHANGES] != changes or (run and run != self.spare[0]):
            return False
        if views is not seen:
            self._words, self._views = words, views
            arrays.state, arrays.words, arrays.runs, arrays.table = views.places
            arrays.mask, arrays.count = views.mask, number
        if run:
            state = views.state
            rest, end = state[_NEXT], state[_END]
            if rest < end:
                views.words[rest] = FREE | state[end - rest]
                state[end - rest] = rest + 1
            self._runs += new
            self.spare = self.spare[1:]
            views.numbers[run >> _SHIFT], views.addresses[number] = number, run
            views.table[2 * slot], views.table[2 * slot + 1] = run >> _SHIFT, number + 1
            arrays.count = number + 1
            state[_NEXT], state[_END] = first, end_of_run
            state[_CHANGES] += 1
        return True

    def _view(self) -> _Views:
        """Look at the arrays anew. They may come from a file: raises ValueError if they do not fit."""
        if self._state.dtype != np.uint64 or self._state.shape != (_STATE,):
            raise ValueError("the state of a heap's small blocks has another shape")
        while True:
            seen, changes, words, runs = self._views, self._state[_CHANGES], self._words, [*self._runs]
            views = self._made(words, runs)
            if self._use(seen, changes, views, words):
                return views

    def _made(self, words: NDArray[np.uint32], runs: list[int]) -> _Views:
        """Views of the state and of these words and runs. Raises ValueError if they do not fit."""
        from emu.cpu.hooks.heap_hook import BlockArrays  # when a block is needed, as with an engine

        arrays = BlockArrays() if self._views is None else self._views.arrays
        room = len(words) // _GRANULES if words.dtype == np.uint32 and words.ndim == 1 else 0
        if room & room - 1 or room < max(len(runs), 1):
            raise ValueError("a heap's small blocks have too few words")
        addresses, table = np.zeros(room, np.uint64), np.zeros(4 * room, np.uint64)  # at most half is used
        places = tuple(int(each.ctypes.data) for each in (self._state, words, addresses, table))
        state = memoryview(cast(Any, self._state)), memoryview(cast(Any, words))
        at = cast("tuple[int, int, int, int]", places)
        views = _Views(*state, {}, addresses, table, 2 * room - 1, at, arrays)
        for number, address in enumerate(runs):
            slot, key = views.slot(address), address >> _SHIFT
            views.numbers[key], addresses[number] = number, address
            table[2 * slot], table[2 * slot + 1] = key, number + 1
        return views

    @property
    def arrays(self) -> BlockArrays:
        """The arrays for machine code: the same object as long as this one."""
        return (self._views or self._view()).arrays

    # ---------------------------------------------------------------- snapshots

    def save_state(self) -> _Content:
        """See `emu.ports.Saved`."""
        changes = int(self._state[_CHANGES]), self.spare
        if self._saved is None or self._saved[0] != changes:
            words = self._words[: len(self._runs) * _GRANULES].tobytes()
            self._saved = changes, (self._state[:_CHANGES].tobytes(), words, tuple(self._runs), self.spare)
        return self._saved[1]

    def restore_state(self, state: _Content) -> None:
        """See `emu.ports.Saved`."""
        first, words, runs, self.spare = state
        self._state[:_CHANGES] = np.frombuffer(first, np.uint64)
        self._state[_CHANGES] += 1
        known = np.frombuffer(words, np.uint32)
        self._words[: len(known)] = known
        self._words[len(known) : len(self._runs) * _GRANULES] = 0
        if tuple(self._runs) != runs:
            self._runs[:] = runs
            self._view()
        self._saved = (int(self._state[_CHANGES]), self.spare), state

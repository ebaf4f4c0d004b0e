"""Counting an engine's instructions block by block, with exact instruction limits.

Unicorn's `count=`, and any hook before instructions, call a function before each instruction and are ten to thirty
times slower than the code. Here the hook before blocks (`emu.cpu.hooks.stop_hook`) subtracts the number of a
block's instructions from the remaining budget. The hook gets the block's size in bytes; a table gives the number
of instructions (on AArch64 it is a quarter of the size). The engine stops

- before a block that is not in the table: the block is added, and the run continues;
- before a block with more instructions than are left: it is translated again with an end after the last of them
  (`until=`), so that limits are exact, also inside blocks and Thumb IT blocks.

A block is entered only at its start and left at its end, except at faults and instructions that
`emu.cpu.hooks.inspector` executes; the instructions after these are added back to the budget. Instructions whose
condition is false count, as do the iterations of a `rep` prefix. When the engine reports a new translation, the
entry in the table is replaced.

One case is counted too high: x86 code that modifies its own block leaves it in the middle without notice, so the
rest of the block is counted twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, cast

import numpy as np

from emu.cpu.hooks.stop_hook import MULTIPLIER, PLACE_SHIFT, StopRequest
from emu.cpu.instruction_sizes import LONGEST, SIZES
from relink.errors import AddressSpaceError

_MOST: Final = 1 << 62
_SMALLEST: Final = 1 << 10  #: number of entries of a new table
_WORD: Final = (1 << 64) - 1


class Blocks(Protocol):
    """The part of an engine that the meter uses."""

    def block(self, pc: int) -> tuple[int, int]:
        """(instructions, bytes) of the block at `pc`, translated if necessary."""

    def drop(self, low: int, high: int) -> None:
        """Forget translations of [low, high)."""


class _Table:
    """(address, size) -> instructions, in the format that the hook reads: open addressing, linear probing, half
    empty.
    """

    def __init__(self, request: StopRequest) -> None:
        self._request = request
        self._used = 0
        self._make(_SMALLEST)

    def _make(self, entries: int) -> None:
        words = np.zeros(2 * entries, np.uint64)
        view, table, request = memoryview(cast(Any, words)), int(words.ctypes.data), self._request
        # Without a call from here on: the hook never reads words that are freed, whatever a signal handler raises.
        self._words, self._view, self._mask = words, view, 16 * entries - 16
        request.table, request.mask = table, self._mask

    def clear(self) -> None:
        self._words[:] = 0
        self._used = 0

    def set(self, address: int, size: int, count: int) -> None:
        view, value = self._view, size | count << 32
        place = (address * MULTIPLIER & _WORD) >> PLACE_SHIFT & self._mask
        while view[place // 8 + 1]:
            if view[place // 8] == address and view[place // 8 + 1] & 0xFFFF_FFFF == size:
                view[place // 8 + 1] = value
                return
            place = place + 16 & self._mask
        view[place // 8], view[place // 8 + 1] = address, value
        self._used += 1
        if 4 * self._used > len(view):
            self._grow()

    def _grow(self) -> None:
        before = self._view
        self._used = 0
        self._make(len(before))
        for at in range(0, len(before), 2):
            if before[at + 1]:
                self.set(before[at], before[at + 1] & 0xFFFF_FFFF, before[at + 1] >> 32)


class Meter:
    """The instruction counter of one engine. `request` is the data of its block hook, `read` returns guest
    bytes.
    """

    def __init__(self, arch: str, request: StopRequest, blocks: Blocks, read: Callable[[int, int], bytes]) -> None:
        self.request = self._request = request
        self._blocks, self._read = blocks, read
        self.left = 0  #: what was left of the limit and one, where a run took it off before `end`
        self._size = SIZES[arch]
        self._table: _Table | None = None if arch == "aarch64" else _Table(request)
        self._limit = self._beyond = 0
        self._whole = 0  #: during `begin_whole`: the instructions of the block
        self._wholes: dict[int, int] = {}  #: block -> its instructions
        self.code: set[int] = set()  #: numbers of pages of 4 KiB that have or had translated code
        self.knows_all = False  #: whether all runs were counted, so that `code` is complete
        self._cuts: dict[tuple[int, int], tuple[int, int]] = {}  #: (block, left) -> (last instruction, its end)
        self._done: dict[tuple[int, int], int] = {}  #: (block, address in it) -> instructions between
        #: the address at which the limit is reached, and the last instruction before it
        self._end = self._last = -1

    def start(self, limit: int) -> None:
        """Start counting, up to `limit` instructions; 0: do not count."""
        self._limit = limit = limit if limit < _MOST else _MOST
        request = self._request
        request.budget = limit + 1 if limit else 0
        request.block_size = self._beyond = self.left = self._whole = 0
        self._end = -1

    def end(self) -> int:
        """Stop counting; return the number of instructions run since `start`."""
        request = self._request
        budget = request.budget or self.left
        request.budget = self.left = 0
        return self._limit - (budget - 1 if budget else 0) + self._beyond

    def learn(self, pc: int, size: int = 0) -> None:
        """Add the block of `size` bytes at `pc`, which the engine has just translated or stopped before."""
        self._forget_places()
        if self._table is None:
            return
        count, whole = self._blocks.block(pc)
        self.code.update((pc >> 12, pc + max(whole, 1) - 1 >> 12))
        self._table.set(pc, whole, count)
        if size and size != whole:
            # Translated for a single use: one instruction, to continue after a store that changed the block
            # before.
            self._table.set(pc, size, 1)

    def learn_cut(self, pc: int, size: int, thumb: bool) -> None:
        """Add the block at `pc` that ends after `size` bytes in this run only (`until=`)."""
        if self._table is not None:
            self._table.set(pc, size, self._steps(pc, pc + size, thumb))

    def interrupted(self, pc: int, thumb: bool) -> None:
        """The engine stopped before the instruction at `pc`: add the rest of the last block back to the budget."""
        request = self._request
        if 0 <= pc - request.block < request.block_size:
            request.budget += self._rest(pc, thumb)
        request.block_size = 0

    def position(self, pc: int, thumb: bool) -> int:
        """In the middle of a run: the number of instructions before the one at `pc`."""
        request = self._request
        return self._limit - (request.budget - 1) + self._beyond + request.beyond - self._rest(pc, thumb)

    def shorten(self, limit: int) -> bool:
        """In the middle of a run: end it after `limit` instructions from its start. False when that is past, or
        inside the current block, which the engine will not leave.
        """
        less = self._limit - limit
        if less <= 0:
            return True
        if self._whole or self._request.armed or less >= self._request.budget:
            return False
        self._request.budget -= less
        self._limit -= less
        return True

    def begin_whole(self, pc: int) -> None:
        """The block at `pc`, before which the engine has stopped for a limit, will run whole: something else stops
        it where the limit is.
        """
        count = self._wholes.get(pc)
        if count is None:
            count, _ = self._blocks.block(pc)
            self._wholes[pc] = count
        self._whole = count
        self._request.budget += count
        self._beyond += self._whole

    def began_whole(self) -> None:
        """`begin_whole`, where the engine's hook has begun it (`StopRequest.armed`)."""
        request = self._request
        self._whole = request.beyond
        self._beyond += self._whole
        request.armed = request.beyond = 0

    def reached_inside(self) -> None:
        """The hook's block has run up to the limit."""
        request = self._request
        request.armed = request.beyond = request.block_size = 0
        request.budget = 1

    def end_whole(self, reached: bool) -> None:
        """That run has ended; `reached`: at the limit."""
        if reached:
            self._request.budget, self._request.block_size = 1, 0
            self._beyond -= self._whole
        self._whole = 0

    def may_be_translated(self, low: int, high: int) -> bool:
        """Whether code in [low, high) may have been translated; False is certain."""
        if not self.knows_all:
            return True
        return any(page in self.code for page in range(low >> 12, (high - 1 >> 12) + 1))

    def _rest(self, pc: int, thumb: bool) -> int:
        """The number of instructions of the current block from `pc` on."""
        request = self._request
        if not 0 <= pc - request.block < request.block_size:
            return 0
        place = (request.block, pc)
        done = self._done.get(place)
        if done is None:
            done = self._done[place] = self._steps(request.block, pc, thumb)
        return max(request.block_count - done, 0)

    def ran_one(self) -> None:
        """Count an instruction that was executed outside the engine after a stop in the middle of a block."""
        self._request.budget -= 1

    def cut(self, pc: int, thumb: bool) -> int | None:
        """The address at which to stop, after the engine stopped for a limit before the block at `pc`.

        None when the whole block may run: it differs from the one in the table, or has an instruction that the
        disassembler does not know.
        """
        left, size = self._request.budget - 1, self._request.size
        known = self._cuts.get((pc, left))
        if known is not None:
            self._last, self._end = known
            return self._end
        at = self._last = pc
        for _ in range(left):
            step = self._step(at, thumb)
            if not step or at + step >= pc + size:
                self._let_run(pc, size, left)
                return None
            self._last, at = at, at + step
        self._end = at
        self._cuts[pc, left] = self._last, at
        return at

    def _let_run(self, pc: int, size: int, left: int) -> None:
        count, whole = self._blocks.block(pc)
        if whole == size and self._table is not None:
            self._table.set(pc, size, count)
        more = max(count - left, 0)
        self._beyond += more
        self._request.budget += more

    def forget(self) -> None:
        """Forget all blocks: code has changed."""
        self._forget_places()
        if self._table is not None:
            self._table.clear()

    def ended(self, pc: int) -> int | None:
        """The address of the last instruction when a run stopped at `pc` because of the limit, else None.

        At the start of a block the last instruction is unknown; then it is `pc`.
        """
        if self._request.budget != 1 or pc != self._end:
            return None
        return self._last

    def _forget_places(self) -> None:
        self._done.clear()
        self._cuts.clear()
        self._wholes.clear()

    def _steps(self, start: int, end: int, thumb: bool) -> int:
        """The number of instructions that begin in [start, end)."""
        done, at = 0, start
        while at < end and (step := self._step(at, thumb)):
            at, done = at + step, done + 1
        return done

    def _step(self, at: int, thumb: bool) -> int:
        for longest in (LONGEST, 4096 - at % 4096):
            try:
                return self._size(self._read(at, longest), thumb)
            except AddressSpaceError:
                continue
        return 0

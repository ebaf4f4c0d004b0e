"""Counts the instructions one engine runs, block by block, and has it stop exactly where a limit is reached.

Unicorn's own way (`count=`, or any hook before instructions) calls a function before each instruction, and costs
ten to thirty times what the code itself does. Here the hook before blocks (`emu.cpu.stop_hook`) takes the number
of a block's instructions off what is left. It is given the block's size in bytes; how many instructions that is
stands in a table (on AArch64 it is a quarter). The engine stops

* before a block the table does not have: it is looked up, and the run goes on;
* before a block with more instructions than are left: it is translated again, to end behind the last of them
  (`until=`), so that a limit is reached exactly, in the middle of blocks and of Thumb's IT blocks too.

A block is entered at its start alone and left at its end, but for what stops in its middle (faults, instructions
that `emu.cpu.inspector` runs): the instructions from there on are given back. Instructions whose condition does
not hold count, as do the rounds of one with a `rep` prefix. Code that is translated anew is noticed where the
engine tells of new blocks, and its entry replaced.

One thing is counted too high: x86 code that changes the very block it is in leaves it in its middle unnoticed, so
that what follows in it is counted twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, cast

import numpy as np

from emu.cpu.instruction_sizes import LONGEST, SIZES
from emu.cpu.stop_hook import MULTIPLIER, PLACE_SHIFT, StopRequest
from relink.errors import AddressSpaceError

_MOST: Final = 1 << 62
_SMALLEST: Final = 1 << 10  #: entries of a new table
_WORD: Final = (1 << 64) - 1


class Blocks(Protocol):
    """What the meter asks of the engine."""

    def block(self, pc: int) -> tuple[int, int]:
        """(instructions, bytes) of the block at `pc`, translated if need be."""

    def drop(self, low: int, high: int) -> None:
        """Forget translations of [low, high)."""


class _Table:
    """(address, size) -> instructions, as the hook reads it: open addressing, linear probing, half empty."""

    def __init__(self, request: StopRequest) -> None:
        self._request = request
        self._used = 0
        self._make(_SMALLEST)

    def _make(self, entries: int) -> None:
        self._words = np.zeros(2 * entries, np.uint64)
        self._view = memoryview(cast(Any, self._words))
        self._mask = 16 * entries - 16
        self._request.table, self._request.mask = int(self._words.ctypes.data), self._mask

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
    """Counts for one engine. `request` is what its hook before blocks looks at, `read` gives guest bytes."""

    def __init__(self, arch: str, request: StopRequest, blocks: Blocks, read: Callable[[int, int], bytes]) -> None:
        self._request, self._blocks, self._read = request, blocks, read
        self._size = SIZES[arch]
        self._table: _Table | None = None if arch == "aarch64" else _Table(request)
        self._limit = self._beyond = 0
        self._end = self._last = -1  #: where the limit is reached, and the last instruction before

    def start(self, limit: int) -> None:
        """Count from here on, up to `limit` instructions; 0: do not count."""
        self._limit = min(limit, _MOST)
        self._request.budget = self._limit + 1 if limit else 0
        self._beyond, self._end, self._request.block_size = 0, -1, 0

    def end(self) -> int:
        """Stop counting; how many instructions have run since `start`."""
        left = max(self._request.budget - 1, 0)
        self._request.budget = 0
        return self._limit - left + self._beyond

    def learn(self, pc: int, size: int = 0) -> None:
        """Note the block at `pc`, which the engine has just translated, or stopped before, having `size` bytes."""
        if self._table is None:
            return
        count, whole = self._blocks.block(pc)
        self._table.set(pc, whole, count)
        if size and size != whole:
            # Translated for this once: one instruction, to go on behind a store that changed the block before.
            self._table.set(pc, size, 1)

    def learn_cut(self, pc: int, size: int, thumb: bool) -> None:
        """Note the block at `pc` that ends after `size` bytes for a reason of this run alone (`until=`)."""
        if self._table is not None:
            self._table.set(pc, size, self._steps(pc, pc + size, thumb))

    def interrupted(self, pc: int, thumb: bool) -> None:
        """The engine stopped before the instruction at `pc`: give back what of the last block has not run."""
        request = self._request
        if 0 <= pc - request.block < request.block_size:
            request.budget += max(request.block_count - self._steps(request.block, pc, thumb), 0)
        request.block_size = 0

    def ran_one(self) -> None:
        """An instruction was run outside the engine, where it stopped in the middle of a block."""
        self._request.budget -= 1

    def cut(self, pc: int, thumb: bool) -> int | None:
        """The engine stopped for a limit before the block at `pc`: where it is to stop, perhaps right there.

        None where the whole block is to run after all: it is another one than was noted, or has an instruction
        that the disassembler does not know.
        """
        left, size = self._request.budget - 1, self._request.size
        at = self._last = pc
        for _ in range(left):
            step = self._step(at, thumb)
            if not step or at + step >= pc + size:
                self._let_run(pc, size, left)
                return None
            self._last, at = at, at + step
        self._end = at
        return at

    def _let_run(self, pc: int, size: int, left: int) -> None:
        count, whole = self._blocks.block(pc)
        if whole == size and self._table is not None:
            self._table.set(pc, size, count)
        more = max(count - left, 0)
        self._beyond += more
        self._request.budget += more

    def forget(self) -> None:
        """Code has been changed."""
        if self._table is not None:
            self._table.clear()

    def ended(self, pc: int) -> int | None:
        """Whether a run that stopped at `pc` did so for the limit: the last instruction's address; None if not.

        Right at the start of a block, when it is not known, it is `pc`.
        """
        if self._request.budget != 1 or pc != self._end:
            return None
        return self._last

    def _steps(self, start: int, end: int, thumb: bool) -> int:
        """How many instructions begin in [start, end)."""
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

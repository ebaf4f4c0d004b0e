"""malloc and free of small blocks without leaving the run of the guest.

icicle has no hooks: the place in the compiled functions is an instruction that changes nothing, and stops the
engine (`emu/libc/compiled/src/allocation.c`). What `emu.cpu.hooks.heap_hook` does by machine code is done by
`emu.memory.small_blocks` itself, on the same arrays.
"""

from __future__ import annotations

import time
from collections.abc import Sized
from typing import TYPE_CHECKING, Any, Final

from emu.cpu.hooks.heap_hook import Blocks, HeapFunction
from emu.cpu.loongarch64.registers import PLAIN_REGISTERS
from relink.records.tuples import NamedTuple

if TYPE_CHECKING:
    from emu.cpu.icicle.engine import Engine


#: Calls after which a run of the engine ends: so often, at least, the time limit of a run is looked at.
_MOST: Final = 256


class _Place(NamedTuple):
    """The instruction of a function, with the names of registers in the engine."""

    function: HeapFunction
    blocks: Blocks
    argument: str
    result: str


class IcicleHeapCalls:
    """The `HeapCalls` of an IcicleCpu."""

    def __init__(self) -> None:
        self.places: dict[int, _Place] = {}  #: by address
        self._pausing: set[object] = set()  #: owners

    def has(self, address: int) -> bool:
        """See `HeapCalls`."""
        return address in self.places

    def add(self, address: int, function: HeapFunction, blocks: Blocks, argument: str, result: str) -> None:
        """See `HeapCalls`."""
        self.places[address] = _Place(function, blocks, PLAIN_REGISTERS[argument], PLAIN_REGISTERS[result])

    def unmapped(self, low: int, high: int) -> None:
        """Forget the places in [low, high), where there may be other code afterwards."""
        for address in [address for address in self.places if low <= address < high]:
            del self.places[address]

    def pause(self, owner: object, wanted: bool) -> None:
        """See `HeapCalls`."""
        self._pausing = self._pausing | {owner} if wanted else self._pausing - {owner}

    def go_on(self, engine: Engine, status: Any, changes: Sized) -> tuple[Any, float]:
        """Perform the instruction where the engine has stopped with this status, run on, and so on, until it stops
        for another reason, or there are `changes` of code, or `_MOST` are done. Returns the last status, and the
        seconds that the engine ran.
        """
        raw, words, clock, seconds = engine.raw, engine.words, time.perf_counter, 0.0
        for left in range(_MOST, 0, -1):
            pc = raw.pc
            place = self.places.get(pc)
            if place is None or raw.exception_code != words.host_operation:
                return status, seconds
            self._perform(engine, place)
            raw.pc = pc + 4
            if left == 1 or changes:
                break
            started = clock()
            status = raw.run()
            seconds += clock() - started
        return words.instruction_limit, seconds

    def _perform(self, engine: Engine, place: _Place) -> None:
        """Do what the instruction at one of `places` stands for, if it is due and can be done."""
        function, blocks, argument, result = place
        if self._pausing or engine.reg_read(result):
            return
        value = engine.reg_read(argument)
        try:
            if function is _FREE:
                done = int(blocks.give(value)) if value else 1
            else:
                done = blocks.allocate(value)
        except (IndexError, ValueError):  # arrays from a forged snapshot: Python's function says so
            return
        if done:
            engine.reg_write(result, done)


_FREE = HeapFunction.FREE

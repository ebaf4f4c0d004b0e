"""malloc and free of small blocks without leaving the run of the guest.

icicle has no hooks: the place in the compiled functions is an instruction that changes nothing, and stops the
engine (`emu/libc/compiled/src/allocation.c`). What `emu.cpu.hooks.heap_hook` does by machine code is done by
`emu.memory.small_blocks` itself, on the same arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.cpu.hooks.heap_hook import Blocks, HeapFunction
from emu.cpu.loongarch64.registers import PLAIN_REGISTERS
from relink.records.tuples import NamedTuple

if TYPE_CHECKING:
    from emu.cpu.icicle.engine import Engine


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

    def perform(self, engine: Engine, place: _Place) -> None:
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

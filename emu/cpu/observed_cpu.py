"""The part of a `Cpu` that the events of every engine use."""

from __future__ import annotations

from typing import Protocol

from emu.cpu.hooks.heap_hook import HeapCalls
from emu.cpu.protocol import Protection, Stop


class ObservedCpu(Protocol):
    """The part of a `Cpu` that its events use."""

    executed: int
    has_devices: bool  #: whether runs are pieces of those of a board (`DeviceCpu.run_piece`)

    @property
    def heap_calls(self) -> HeapCalls | None:
        """See `Cpu`."""

    def repeats_accesses(self, pc: int) -> bool:
        """Keep what devices have answered to the instruction at `pc`, which will run again, so that they are not
        asked twice. Whether it has accessed any.
        """

    def read_register(self, name: str) -> int: ...
    def read(self, address: int, size: int) -> bytes: ...
    def extent(self, address: int, needed: Protection) -> int: ...
    def run_engine(self, pc: int, max_instructions: int, timeout: float) -> Stop:
        """`Cpu.run` without events that span several runs of the engine."""

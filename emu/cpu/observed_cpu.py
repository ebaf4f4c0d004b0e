"""The part of a `Cpu` that the events of every engine use."""

from __future__ import annotations

from typing import Protocol

from emu.cpu.hooks.heap_hook import HeapCalls
from emu.cpu.protocol import Protection, Stop


class ObservedCpu(Protocol):
    """The part of a `Cpu` that its events use."""

    executed: int

    @property
    def heap_calls(self) -> HeapCalls | None:
        """See `Cpu`."""

    def read_register(self, name: str) -> int: ...
    def read(self, address: int, size: int) -> bytes: ...
    def extent(self, address: int, needed: Protection) -> int: ...
    def run_engine(self, pc: int, max_instructions: int, timeout: float) -> Stop:
        """`Cpu.run` without events that span several runs of the engine."""

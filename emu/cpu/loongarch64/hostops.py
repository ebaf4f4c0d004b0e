"""Instructions the p-code of the specification hands to the host."""

from __future__ import annotations

from typing import Protocol

from emu.cpu import StopReason


class Engine(Protocol):
    """What host operations need of the engine: its registers by name and its memory."""

    def reg_read(self, name: str) -> int: ...
    def reg_write(self, name: str, value: int) -> None: ...
    def mem_read(self, address: int, size: int) -> bytes: ...


class HostOperations:
    """Does the instructions that the engine stopped at because its p-code cannot."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def settle_cause(self) -> None:
        """Bring the Cause field of fcsr up to date."""

    def execute(self, pc: int) -> StopReason | None:
        """Do the instruction at `pc`: None if it is done, else what it stops the guest for."""
        word = int.from_bytes(self._engine.mem_read(pc, 4), "little")
        if word >> 15 == 0x54:
            return StopReason.BREAKPOINT
        return StopReason.INVALID_INSTRUCTION

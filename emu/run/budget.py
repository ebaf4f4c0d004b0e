"""Limits on the instructions and time of a guest call."""

from __future__ import annotations

import time

from emu.cpu.protocol import StopReason


class Budget:
    """The limits of an outermost call with all nested calls.

    The engine counts instructions exactly, including those that enter the kernel. A host function counts as one
    instruction, so that loops of host functions end too.
    """

    def __init__(self, instructions: int, seconds: float) -> None:
        self.limit, self.seconds = instructions, seconds
        self.instructions = instructions  #: what is left, where there is a limit
        self.executed = 0  #: by the guest, where there is a limit
        self.deadline = time.monotonic() + seconds if seconds else 0.0
        self.bounded = bool(instructions or seconds)

    @property
    def overdue(self) -> bool:
        """Whether the time limit has been exceeded."""
        return self.deadline > 0 and time.monotonic() >= self.deadline

    def seconds_left(self) -> float:
        return max(self.deadline - time.monotonic(), 1e-6) if self.deadline else 0.0

    def spend(self, executed: int, on_host: int) -> None:
        """Charge instructions, and host functions."""
        self.executed += executed
        self.instructions -= executed + on_host

    @property
    def spent(self) -> bool:
        """Whether no instructions are left."""
        return self.limit > 0 and self.instructions <= 0

    def describe(self, reason: StopReason) -> str:
        if reason is StopReason.TIMEOUT:
            return f"{self.seconds:g} seconds"
        return f"{self.limit} instructions"

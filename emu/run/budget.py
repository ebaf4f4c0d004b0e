"""How long a guest may run."""

from __future__ import annotations

import time

from emu.cpu.protocol import StopReason


class Budget:
    """What a top-level call, with everything it calls, may use up.

    The engine counts instructions between two traps only, so each stretch may take what is left, and each trap
    costs one: a guest that never returns is stopped either way.
    """

    def __init__(self, instructions: int, seconds: float) -> None:
        self.limit, self.seconds = instructions, seconds
        self.instructions = instructions
        self.deadline = time.monotonic() + seconds if seconds else 0.0
        self.bounded = bool(instructions or seconds)

    @property
    def overdue(self) -> bool:
        """Whether the time is used up."""
        return self.deadline > 0 and time.monotonic() >= self.deadline

    def seconds_left(self) -> float:
        return max(self.deadline - time.monotonic(), 1e-6) if self.deadline else 0.0

    def spent_on_trap(self) -> bool:
        """Charge a trap; whether that was the last of it."""
        if not self.limit:
            return False
        self.instructions -= 1
        return self.instructions <= 0

    def describe(self, reason: StopReason) -> str:
        if reason is StopReason.TIMEOUT:
            return f"{self.seconds:g} seconds"
        return f"{self.limit} instructions"

"""Running the guest for a debugger: in slices, between which Ctrl-C is seen, and to exact instruction counts."""

from __future__ import annotations

import time
from collections.abc import Callable

from emu.cpu.protocol import Cpu, Stop, StopReason
from emu.ports import Execution

SLICE = 0.05  #: seconds between two looks at Ctrl-C


class SlicedExecution:
    """An `Execution` around another. It stops with STEP when `interrupted`, and at the position `goal`.

    A position is the number of instructions run since `begin`.
    """

    def __init__(self, inner: Execution, cpu: Cpu, code_mask: int, interrupted: Callable[[], bool]) -> None:
        self.inner = inner
        self._cpu, self._code_mask, self._interrupted = cpu, code_mask, interrupted
        self._origin = 0
        self._counted: bool | None = None  #: whether instructions were counted before
        self.goal: int | None = None
        self.executed = 0

    def begin(self) -> None:
        """Make the present position 0, and count from it until `end`."""
        if self._counted is None:
            self._counted = self._cpu.events.counting
        self._cpu.events.counting = True
        self._origin = self._cpu.events.retired

    def end(self) -> None:
        """Count no more, and forget the goal. May be repeated."""
        self.goal = None
        if self._counted is not None:
            self._cpu.events.counting = self._counted
            self._counted = None

    @property
    def position(self) -> int:
        """Instructions since `begin`."""
        return self._cpu.events.retired - self._origin

    def run(self, pc: int, *, max_instructions: int = 0, timeout: float = 0.0) -> Stop:
        """See `emu.cpu.protocol.Cpu.run`."""
        self.executed, deadline = 0, time.monotonic() + timeout if timeout else 0.0
        while True:
            limits = [max_instructions - self.executed] if max_instructions else []
            if self.goal is not None:
                if self.goal <= self.position:
                    return self._at_goal(pc)
                limits.append(self.goal - self.position)
            before = self.position
            stop = self.inner.run(pc, max_instructions=min(limits, default=0), timeout=SLICE)
            self.executed += self.position - before
            pc = self._cpu.read_register("pc")
            if stop.reason is StopReason.INSTRUCTION_LIMIT and self.position == self.goal:
                return self._at_goal(pc)
            if stop.reason is not StopReason.TIMEOUT or (deadline and time.monotonic() >= deadline):
                return stop
            if self._interrupted():
                return Stop(StopReason.STEP, stop.pc)

    def _at_goal(self, pc: int) -> Stop:
        self.goal = None
        self._cpu.write_register("pc", pc)  # before the first instruction of a run it is elsewhere
        return Stop(StopReason.STEP, pc & self._code_mask)

"""Limits on the instructions and time of a guest call."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

from emu.cpu.protocol import Stop, StopReason
from emu.run.reserved import Reservable
from relink.errors import RelinkError


class Budget:
    """The limits of an outermost call with all nested calls.

    The engine counts instructions exactly, including those that enter the kernel. A host function counts as one
    instruction, so that loops of host functions end too.
    """

    def __init__(self, instructions: int, seconds: float) -> None:
        if isinstance(instructions, float):
            raise TypeError(f"a limit of instructions is a whole number: max_instructions={instructions}")
        try:
            if instructions < 0 or seconds < 0:
                raise ValueError(f"limits are not negative: max_instructions={instructions}, timeout={seconds}")
        except TypeError:
            problem = f"limits are numbers: max_instructions={instructions!r}, timeout={seconds!r}"
            raise TypeError(problem) from None
        self.limit, self.seconds = instructions, seconds
        self.instructions = instructions  #: what is left, where there is a limit
        self.executed = 0  #: by the guest, where there is a limit
        self.deadline: float = time.monotonic() + seconds if seconds else 0.0
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


UNLIMITED = Budget(0, 0.0)


class BudgetedCalls(Reservable):
    """The part of a `Runner` for the limits of its calls: see there."""

    def __init__(self, max_instructions: int, timeout: float) -> None:
        super().__init__()
        if max_instructions or timeout:
            Budget(max_instructions, timeout)  # checks them
        self.max_instructions, self.timeout = max_instructions, timeout
        self.in_host = False  #: during a call: whether a host function is running, which may call the guest
        self.depth = 0  #: number of calls in progress
        self._budget = UNLIMITED
        #: Whether outermost calls belong to something larger, and share one budget: a load, an unload, the end of
        #: a thread.
        self.in_operation = False
        self.shared: Budget | None = None  #: the shared budget, once the first of them has begun
        self._reached = 0  #: the trap or system call being handled

    @abstractmethod
    def _stopped(self, stop: Stop) -> RelinkError:
        """The exception for a guest that stopped before the end of its call."""

    def _new_budget(self, max_instructions: int | None, timeout: float | None) -> Budget:
        shares = self.in_operation and max_instructions is None and timeout is None
        if shares and self.shared is not None:
            return self.shared
        instructions = self.max_instructions if max_instructions is None else max_instructions
        seconds = self.timeout if timeout is None else timeout
        if not (instructions or seconds or shares):
            return UNLIMITED
        budget = Budget(instructions, seconds)
        if shares:
            self.shared = budget
        return budget

    @contextmanager
    def one_budget(self) -> Iterator[None]:
        """Outermost calls in the block of a `with` statement, as of constructors or exit handlers, share one
        budget.
        """
        if self.depth or self.in_operation:
            yield
            return
        try:
            self.in_operation = True
            yield
        finally:
            self.in_operation, self.shared = False, None

    def check_budget(self) -> None:
        """Raise BudgetExceeded when the current call has exceeded its time. Cheap, for use in long operations."""
        if self._budget.overdue:
            raise self._stopped(Stop(StopReason.TIMEOUT, self._reached))

    @property
    def seconds_left(self) -> float | None:
        """The remaining time of the current call in seconds; None without a limit."""
        return self._budget.seconds_left() if self._budget.deadline else None

    @property
    def executed(self) -> int | None:
        """The exact number of instructions run in the current or last outermost call, without host functions; None
        when it had no `max_instructions`.
        """
        return self._budget.executed if self._budget.limit else None

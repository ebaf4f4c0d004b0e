"""A machine that one thread has reserved."""

from __future__ import annotations

from threading import RLock, current_thread
from typing import TYPE_CHECKING, Protocol

from relink.errors import MachineInUse

if TYPE_CHECKING:
    from emu.run.budget import Budget


class _Runner(Protocol):
    user: RLock
    depth: int
    in_host: bool
    file: str | None
    in_operation: bool
    shared: Budget | None


class Reserved:
    """The block of a `with` statement in which a machine is reserved for its thread (`Runner.used`). With
    `one_budget` its outermost calls share one budget too (see `emu.run.budget.OneBudget`).
    """

    __slots__ = ("_ends", "_runner")

    def __init__(self, runner: _Runner, *, one_budget: bool = False) -> None:
        self._runner, self._ends = runner, one_budget  #: `_ends`: whether the shared budget ends with the block

    def __enter__(self) -> None:
        runner = self._runner
        if not runner.user.acquire(False):
            raise used_elsewhere()
        if runner.depth and not runner.in_host:
            runner.user.release()
            raise used_out_of_turn()
        if self._ends:
            if runner.depth or runner.in_operation:
                self._ends = False
            else:
                runner.in_operation = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        runner = self._runner
        if self._ends:
            runner.in_operation, runner.shared = False, None
        try:
            if error is not None and runner.file is not None:
                from emu.run.unfit import refuse

                refuse(error, runner.file)
        finally:
            runner.user.release()


def used_elsewhere() -> MachineInUse:
    """The error for a machine that another thread uses."""
    return MachineInUse(f"another thread is using the machine, so {current_thread().name} cannot")


def used_out_of_turn() -> MachineInUse:
    """The error for a use during a call, outside of host functions."""
    return MachineInUse("a call of the guest is in progress: only host functions can use the machine now")

"""A machine that one thread has reserved."""

from __future__ import annotations

from threading import RLock, current_thread
from typing import Protocol

from relink.errors import MachineInUse


class _Runner(Protocol):
    user: RLock
    depth: int
    in_host: bool
    file: str | None


class Reserved:
    """The block of a `with` statement in which a machine is reserved for its thread (`Runner.used`)."""

    __slots__ = ("_runner",)

    def __init__(self, runner: _Runner) -> None:
        self._runner = runner

    def __enter__(self) -> None:
        runner = self._runner
        if not runner.user.acquire(False):
            raise used_elsewhere()
        if runner.depth and not runner.in_host:
            runner.user.release()
            raise used_out_of_turn()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        runner = self._runner
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

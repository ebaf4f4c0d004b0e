"""Executions of inputs on a machine, each from the same state, with a record of what runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.errors import BudgetExceeded, ConstructorFault, GuestAbort, GuestExit, GuestFault, UnresolvedCall
from relink.errors import RelinkError

if TYPE_CHECKING:
    from emu.cpu.events import Events, Recording
    from emu.machine import Machine

#: What the guest does. Other errors of this project are the user's, and end the fuzzing.
_OF_THE_GUEST = (GuestFault, GuestAbort, UnresolvedCall, ConstructorFault, BudgetExceeded)


class Session:
    """From `__init__` to `close`; between executions the machine is in the state in which it began."""

    def __init__(
        self,
        machine: Machine,
        place: Callable[[Machine], Callable[[bytes], object]],
        max_instructions: int,
        record: Callable[[Events], Recording] | None = None,
    ) -> None:
        """`record` begins to record what runs in executions; its rows are delivered before `execute` returns."""
        self._machine = machine
        self._before = machine.snapshot()
        self._recording = None
        try:
            self._call = place(machine)
            machine.runner.max_instructions = max_instructions
            self._start = machine.snapshot()
            if record is not None:
                self._recording = record(machine.cpu.events)
        except BaseException:
            machine.restore(self._before)
            self._before.close()
            raise

    def execute(self, data: bytes) -> Exception | None:
        """Run one input; returns how it failed."""
        error: Exception | None = None
        try:
            self._call(data)
        except GuestExit:
            pass
        except _OF_THE_GUEST as failed:
            error = failed
        except RelinkError:
            raise
        except Exception as failed:
            error = failed
        finally:
            self.reset()
        return error

    def reset(self) -> None:
        """Return to the state before each execution, also after an exception that interrupted one."""
        self._machine.restore(self._start)
        if self._recording is not None:
            self._recording.flush()

    def close(self) -> None:
        """Return the machine to what it was."""
        if self._recording is not None:
            self._recording.close()
        self._machine.restore(self._before)
        self._start.close()
        self._before.close()

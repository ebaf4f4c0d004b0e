"""Executions of inputs on a machine, each from the same state, with the edges they reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.cpu.events import Recorded
from emu.errors import BudgetExceeded, ConstructorFault, GuestAbort, GuestExit, GuestFault, UnresolvedCall
from relink.errors import RelinkError

if TYPE_CHECKING:
    from emu.cpu.events import Rows
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
        seen: set[tuple[int, ...]],
        *,
        edges: bool = True,
    ) -> None:
        self._machine, self._seen = machine, seen
        self._before = machine.snapshot()
        self._recording = None
        try:
            self._call = place(machine)
            machine.runner.max_instructions = max_instructions
            self._start = machine.snapshot()
            if edges:
                events = machine.cpu.events
                what = Recorded.NEW_BLOCKS if events.single_steps else Recorded.EDGES
                self._columns = slice(0, 1) if events.single_steps else slice(0, 2)
                self._recording = events.record(what, self._noted)
        except BaseException:
            machine.restore(self._before)
            self._before.close()
            raise

    def _noted(self, rows: Rows) -> None:
        self._seen.update(map(tuple, rows[:, self._columns].tolist()))

    def execute(self, data: bytes) -> tuple[int, Exception | None]:
        """Run one input; returns how many new edges it has reached, and how it failed."""
        before = len(self._seen)
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
            self._machine.restore(self._start)
        if self._recording is not None:
            self._recording.flush()
        return len(self._seen) - before, error

    def close(self) -> None:
        """Return the machine to what it was."""
        if self._recording is not None:
            self._recording.close()
        self._machine.restore(self._before)
        self._start.close()
        self._before.close()

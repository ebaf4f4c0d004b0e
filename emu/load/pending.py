"""A load that stops between any two of the machine's steps, for inspection, changes or rollback."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from relink.load.plan import Plan


#: The steps in order (see `emu.load.loader`), and their numbers.
STEPS = ("publish", "prepare", "ifuncs", "tls", "construct")
PUBLISH, PREPARE, IFUNCS, TLS, CONSTRUCT = range(len(STEPS))


class RolledBack(BaseException):
    """Raised to leave the `with` block of a load that is rolled back on request; `loading` catches it."""

    def __init__(self, load: PendingLoad) -> None:
        super().__init__("the load was rolled back on request")
        self.load = load


class PendingLoad:
    """A linked load with the remaining steps of the machine."""

    def __init__(self, plan: Plan, steps: Sequence[tuple[int, Callable[[], None]]]) -> None:
        self.plan = plan
        self._steps = steps  #: those in which there is something to do, by number
        self._done = 0  #: how many of all are done
        self._failure: BaseException | None = None

    @property
    def next_step(self) -> str | None:
        """The next step; None when all are done."""
        return STEPS[self._done] if self._done < len(STEPS) else None

    def advance(self, until: str | None = None) -> None:
        """Do the steps before the step `until`; all remaining steps when it is None.

        Raises ValueError for an unknown step, or one that is done. After a step has raised, further calls raise
        the same exception: the load can only be rolled back.
        """
        end = len(STEPS) if until is None else self._turn(until)
        if self._failure is not None:
            raise self._failure
        marks = self.plan.timings.marks
        marks.append((None, time.perf_counter()))
        try:
            for turn, step in self._steps:
                if self._done <= turn < end:
                    self._done = turn + 1
                    step()
            if self._done < end:
                self._done = end
        except BaseException as error:
            self._failure = error
            raise
        marks.append(("start", time.perf_counter()))

    def _turn(self, wanted: str) -> int:
        """The number of a step that is left. Raises ValueError for another name."""
        if wanted not in STEPS[self._done :]:
            known = "has been done" if wanted in STEPS else f"is not one of {', '.join(STEPS)}"
            raise ValueError(f"step {wanted!r} {known}")
        return STEPS.index(wanted)

    def roll_back(self) -> NoReturn:
        """Undo the load: leaves the `with` block immediately."""
        raise RolledBack(self)

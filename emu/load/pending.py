"""A load that stops between any two of the machine's steps, for inspection, changes or rollback."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from relink.load.plan import Plan


class RolledBack(BaseException):
    """Raised to leave the `with` block of a load that is rolled back on request; `loading` catches it."""

    def __init__(self, load: PendingLoad) -> None:
        super().__init__("the load was rolled back on request")
        self.load = load


class PendingLoad:
    """A linked load with the remaining steps of the machine, in order (see `emu.load.loader`)."""

    def __init__(self, plan: Plan, steps: Mapping[str, Callable[[], None]]) -> None:
        self.plan = plan
        self._steps = dict(steps)  #: the remaining steps
        self._names = tuple(steps)
        self._failure: BaseException | None = None

    @property
    def next_step(self) -> str | None:
        """The next step; None when all are done."""
        return next(iter(self._steps), None)

    def advance(self, until: str | None = None) -> None:
        """Do the steps before the step `until`; all remaining steps when it is None.

        Raises ValueError for an unknown step, or one that is done. After a step has raised, further calls raise
        the same exception: the load can only be rolled back.
        """
        if until is not None and until not in self._steps:
            known = "has been done" if until in self._names else f"is not one of {', '.join(self._names)}"
            raise ValueError(f"step {until!r} {known}")
        if self._failure is not None:
            raise self._failure
        started = time.perf_counter()
        while self._steps:
            step = next(iter(self._steps))
            if step == until:
                break
            try:
                self._steps.pop(step)()
            except BaseException as error:
                self._failure = error
                raise
        self.plan.timings.add("start", time.perf_counter() - started)

    def roll_back(self) -> NoReturn:
        """Undo the load: leaves the `with` block immediately."""
        raise RolledBack(self)

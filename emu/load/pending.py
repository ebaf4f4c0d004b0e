"""A load that stops between any two of the machine's steps: to look, to intervene, to go on or roll back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from relink.load.plan import Plan


class RolledBack(BaseException):
    """Leaves the `with` block of a load that is rolled back on request; its `loading` catches it."""

    def __init__(self, load: PendingLoad) -> None:
        super().__init__("the load was rolled back on request")
        self.load = load


class PendingLoad:
    """A load that is linked, and the steps left to do on the machine, in order (see `emu.load.loader`)."""

    def __init__(self, plan: Plan, steps: Mapping[str, Callable[[], None]]) -> None:
        self.plan = plan
        self._steps = dict(steps)  #: those left
        self._names = tuple(steps)
        self._failure: BaseException | None = None

    @property
    def next_step(self) -> str | None:
        """The step that comes next; None when all have been done."""
        return next(iter(self._steps), None)

    def advance(self, until: str | None = None) -> None:
        """Do the steps that come before the step `until`; all that are left when it is None.

        Raises ValueError for a name that is no step, or one that has been done. What a step raises it raises again
        when called again: the load can only be rolled back.
        """
        if until is not None and until not in self._steps:
            known = "has been done" if until in self._names else f"is none of {', '.join(self._names)}"
            raise ValueError(f"step {until!r} {known}")
        if self._failure is not None:
            raise self._failure
        started = time.perf_counter()
        while (step := self.next_step) not in (None, until):
            assert step is not None
            try:
                self._steps.pop(step)()
            except BaseException as error:
                self._failure = error
                raise
        self.plan.timings.add("start", time.perf_counter() - started)

    def roll_back(self) -> NoReturn:
        """Undo the load: leaves the `with` block at once."""
        raise RolledBack(self)

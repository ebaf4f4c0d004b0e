"""A load that stops between any two of the machine's steps, for inspection, changes or rollback."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
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

    def __init__(self, plan: Plan, steps: Sequence[tuple[str, Callable[[], None] | None]]) -> None:
        self.plan = plan
        self._steps = steps  #: all of them, by name; None: there is nothing to do
        self._done = 0  #: how many are done
        self._failure: BaseException | None = None

    @property
    def next_step(self) -> str | None:
        """The next step; None when all are done."""
        return self._steps[self._done][0] if self._done < len(self._steps) else None

    def advance(self, until: str | None = None) -> None:
        """Do the steps before the step `until`; all remaining steps when it is None.

        Raises ValueError for an unknown step, or one that is done. After a step has raised, further calls raise
        the same exception: the load can only be rolled back.
        """
        end = len(self._steps) if until is None else self._turn(until)
        if self._failure is not None:
            raise self._failure
        steps, marks = self._steps, self.plan.timings.marks
        marks.append((None, time.perf_counter()))
        try:
            while self._done < end:
                step = steps[self._done][1]
                self._done += 1
                if step is not None:
                    step()
        except BaseException as error:
            self._failure = error
            raise
        marks.append(("start", time.perf_counter()))

    def _turn(self, wanted: str) -> int:
        """The number of a step that is left. Raises ValueError for another name."""
        names = [name for name, _ in self._steps]
        if wanted not in names[self._done :]:
            known = "has been done" if wanted in names else f"is not one of {', '.join(names)}"
            raise ValueError(f"step {wanted!r} {known}")
        return names.index(wanted)

    def roll_back(self) -> NoReturn:
        """Undo the load: leaves the `with` block immediately."""
        raise RolledBack(self)

"""What comes of power cuts: single cuts, outcomes, and the results of a sweep and of an exploration."""

from __future__ import annotations

import enum
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from emu.boards.flash_types import FlashEvent
from relink.records import dataclass, field


class Subtests(Protocol):
    """pytest's fixture `subtests`."""

    def test(self, msg: str | None = None) -> AbstractContextManager[object]: ...


class Trouble(enum.StrEnum):
    """The kinds of bad outcomes."""

    WRONG = "wrong"  #: the device ends in an error, or in something that the check objects to
    STUCK = "stuck"  #: and every further start ends in the same: no flash is changed any more, or in a circle
    ENDLESS = "endless"  #: a start does not come to its end


@dataclass(frozen=True)
class Cut:
    """A cut of the power at one operation: `event.id` names it, numbered from the last start."""

    event: FlashEvent
    mode: str  #: "before", "torn" or "after"
    seed: int = 0  #: of a torn operation: what decides how much of it was carried out
    start: int = 1  #: in which start since the last cut, where a device has several

    def __str__(self) -> str:
        seed = f" (seed {self.seed})" if self.mode == "torn" else ""
        return f"{self.mode} {self.event.id}{seed}" + (f" in start {self.start}" if self.start > 1 else "")


@dataclass(frozen=True)
class Outcome:
    """Where a sequence of cuts leads. `problem` is None where the device is well."""

    cuts: tuple[Cut, ...]
    problem: str | None
    trouble: Trouble | None = None  #: of which kind the problem is

    def __str__(self) -> str:
        way = ", then ".join(map(str, self.cuts)) or "no cut"
        return f"{self.problem or 'well'}: {way}"


@dataclass(frozen=True)
class Sweep:
    """Every single cut of an update."""

    outcomes: tuple[Outcome, ...]  #: one for each cut, in order
    states: int  #: different contents of flash among them, each booted once
    early: int  #: starts that ended early, in a state whose outcome was known
    wear: int  #: the most erases of a sector by the update, a cut and the recovery
    seconds: float
    cpu_seconds: float  #: of the processor, all processes together

    @property
    def bad(self) -> list[Outcome]:
        """The cuts that the device does not survive."""
        return [outcome for outcome in self.outcomes if outcome.problem is not None]

    def check(self, subtests: Subtests | None = None) -> None:
        """Raise AssertionError with all cuts that the device does not survive. With pytest's `subtests`, each cut
        is a subtest under its replay id instead.
        """
        _check(self.outcomes, subtests)

    @property
    def modes(self) -> Counter[str]:
        """The number of cuts by mode."""
        return Counter(outcome.cuts[0].mode for outcome in self.outcomes)

    def __str__(self) -> str:
        cuts = len(self.outcomes)
        return (
            f"{cuts} cuts ({_numbers(self.modes)}), {len(self.bad)} bad; {self.states} contents of flash booted "
            f"in {self.seconds:.1f} s, {self.early} ended early; {_rates(cuts, self.states, self)}"
        )


@dataclass(frozen=True)
class Exploration:
    """Everything that any number of cuts can lead to."""

    states: int  #: different contents of flash, each booted once
    cuts: int  #: cuts tried, of the update and of all recoveries
    closed: bool  #: whether nothing is left to try; False: a limit was reached
    new: tuple[int, ...]  #: contents that were not seen with fewer cuts, by the number of cuts, from one
    bad: tuple[Outcome, ...]  #: for each problem a sequence with the fewest cuts
    bad_states: int
    troubles: Counter[Trouble]  #: bad states by kind
    early: int  #: starts that ended early, in a state whose outcome was known
    wear: int  #: the most erases of a sector, counted from the start
    seconds: float
    cpu_seconds: float  #: of the processor, all processes together

    @property
    def longest(self) -> int:
        """The cuts in the longest of the shortest sequences."""
        return len(self.new)

    def check(self, subtests: Subtests | None = None) -> None:
        """Raise AssertionError with each problem and the fewest cuts to it; with pytest's `subtests`, each is a
        failed subtest.
        """
        _check(self.bad, subtests)

    def __str__(self) -> str:
        closed = "closed" if self.closed else "not closed"
        bad = f" ({_numbers(self.troubles)})" if self.troubles else ""
        return (
            f"{self.states} contents of flash, {closed}, with up to {self.longest} cuts (new with each number: "
            f"{', '.join(map(str, self.new))}); {self.cuts} cuts tried; "
            f"{self.bad_states} bad{bad}; at most {self.wear} erases of a sector; {self.seconds:.1f} s, "
            f"{self.early} ended early; {_rates(self.cuts, self.states, self)}"
        )


@dataclass
class Progress:
    """How far a sweep or an exploration is. `left` counts states that are known and not booted yet: all of a
    sweep's, but of an exploration more may be found.
    """

    done: int = 0
    left: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def rate(self) -> float:
        """States booted per second."""
        return self.done / max(time.monotonic() - self.started, 1e-9)

    @property
    def seconds_left(self) -> float:
        """The estimated time for the states that are known."""
        return self.left / max(self.rate, 1e-9)

    def __str__(self) -> str:
        return f"{self.done} booted, {self.left} left, {self.rate:.0f}/s, {self.seconds_left:.0f} s for these"


def _check(outcomes: Sequence[Outcome], subtests: Subtests | None) -> None:
    if subtests is None:
        bad = [str(outcome) for outcome in outcomes if outcome.problem is not None]
        assert not bad, "\n".join([f"{len(bad)} of {len(outcomes)} fail", *bad])
        return
    for outcome in outcomes:
        with subtests.test(msg=", then ".join(map(str, outcome.cuts))):
            assert outcome.problem is None, str(outcome)


def _numbers(counts: Counter[str] | Counter[Trouble]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _rates(cuts: int, states: int, result: Sweep | Exploration) -> str:
    each = max(result.cpu_seconds, 1e-9)
    return f"{cuts / each:.0f} cuts and {states / each:.0f} starts per second of CPU"


def fewest(outcomes: Iterable[Outcome]) -> dict[str, Outcome]:
    """For each problem the outcome with the fewest cuts, the first of these."""
    found: dict[str, Outcome] = {}
    for outcome in outcomes:
        if outcome.problem is not None:
            known = found.get(outcome.problem)
            if known is None or len(outcome.cuts) < len(known.cuts):
                found[outcome.problem] = outcome
    return found

"""Measurements: one piece of work by this project and by peers, in turns, of each the least of some rounds.

Other work of the machine only adds to a time, so the least is the nearest to what the work costs. Times are
processor time (user and system). Ratios hold between machines, times do not.
"""

from __future__ import annotations

import gc
import json
import math
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Seconds after which a comparison begins no further round.
PATIENCE = 30.0
#: The bar for what grows: the exponent of the cost, fitted to a series. Less is better than linear.
LINEAR, TOLERANCE = 1.0, 0.1


@dataclass(frozen=True)
class Row:
    """One comparison. `ours` and `peer` are in `unit`; `absent` says why there is no peer's figure.

    `goal` is the largest ratio that is wanted, `most` the largest value of ours. `how` says how it was measured.
    """

    subject: str
    work: str
    ours: float
    unit: str = "ms"
    peer_name: str = ""
    peer: float | None = None
    absent: str = ""
    goal: float | None = None
    most: float | None = None
    how: str = ""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times the peer's cost ours is."""
        return None if not self.peer else self.ours / self.peer

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without one, or without what it is compared with."""
        if self.most is not None:
            return self.ours <= self.most
        return None if self.goal is None or self.ratio is None else self.ratio <= self.goal


@dataclass(frozen=True)
class Series:
    """The cost of one piece of work by its size; `base` is the cost of the same work with nothing in it."""

    subject: str
    what: str
    sizes: tuple[int, ...]
    costs: Mapping[str, tuple[float, ...]]
    base: Mapping[str, float] = field(default_factory=dict)
    unit: str = "ms"

    def exponent(self, name: str) -> float:
        """The exponent of what the sizes add to the base."""
        base = self.base.get(name, 0.0)
        return exponent(self.sizes, [cost - base for cost in self.costs[name]])

    @property
    def met(self) -> bool:
        """Whether ours grows at most linearly."""
        return all(self.exponent(name) <= LINEAR + TOLERANCE for name in self.costs if name.startswith("ours"))


def exponent(sizes: Sequence[int], costs: Sequence[float]) -> float:
    """The slope of the logarithms, by least squares; what is not positive costs a nanosecond."""
    xs, ys = [math.log(size) for size in sizes], [math.log(max(cost, 1e-6)) for cost in costs]
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / sum((a - x) ** 2 for a in xs)


class PeerFailed(Exception):
    """A peer that is there cannot do the work; the message is what it said."""


@dataclass(frozen=True)
class Absent:
    """Why a peer cannot take part."""

    reason: str


Run = Callable[[], "float | Mapping[str, float]"]
Contender = Run | Absent


@dataclass
class Measured:
    """The figures of each contender by round, and why others have none."""

    runs: dict[str, list[Mapping[str, float]]]
    reasons: dict[str, str]

    def least(self, name: str, what: str = "") -> float:
        """The least figure of a contender that took part."""
        return min(run[what] for run in self.runs[name])

    def of_peer(self, name: str, what: str = "") -> float | None:
        """The least figure of a peer; None of one that did not take part."""
        return self.least(name, what) if name in self.runs else None

    def reason(self, name: str) -> str:
        """Why a contender did not take part; empty for one that did."""
        return self.reasons.get(name, "")

    def row(
        self, subject: str, work: str, peer: str, what: str = "", *, ours: str = "ours", unit: str = "ms",
        goal: float | None = None, most: float | None = None, how: str = "", note: str = "",
    ) -> Row:  # fmt: skip
        """One figure of ours beside the peer's only one."""
        own, theirs = self.least(ours, what), self.of_peer(peer)
        return Row(subject, work, own, unit, peer, theirs, self.reason(peer), goal, most, how, note)

    def loads(
        self, subject: str, work: str, peer: str, *, goals: tuple[float | None, float | None] = (None, None),
        how: str = "", note: str = "",
    ) -> Iterator[Row]:  # fmt: skip
        """The rows of `benchmarks.child`: later loads, and the first in the process, each with its goal."""
        for what, title, goal in (("warm", "warm", goals[0]), ("first", "first in the process", goals[1])):
            yield self.row(subject, f"{work}, {title}", peer, what, goal=goal, how=how, note=note)


def alternately(contenders: Mapping[str, Contender], rounds: int) -> Measured:
    """Run each contender once in each round; one that fails (`PeerFailed`) drops out.

    No round begins after `PATIENCE` seconds.
    """
    measured, started = Measured({}, {}), time.perf_counter()
    for number in range(rounds):
        if number and time.perf_counter() - started > PATIENCE:
            break
        for name, run in contenders.items():
            if isinstance(run, Absent):
                measured.reasons[name] = run.reason
            elif name not in measured.reasons:
                gc.collect()
                try:
                    figures = run()
                except PeerFailed as failure:
                    measured.reasons[name] = f"it fails: {failure}"
                    measured.runs.pop(name, None)
                    continue
                named = figures if isinstance(figures, Mapping) else {"": figures}
                measured.runs.setdefault(name, []).append(named)
    return measured


def settle() -> None:
    """Wait until files that were just made may be kept between loads (`relink.search.decoded_cache`)."""
    time.sleep(2.5)


def microseconds(action: Callable[[], object], count: int) -> float:
    """Mean processor time of `count` runs of `action`."""
    started = time.process_time()
    for _ in range(count):
        action()
    return (time.process_time() - started) / count * 1e6


def least_microseconds(action: Callable[[], object], count: int, rounds: int = 5) -> float:
    """The least of some such means."""
    return min(microseconds(action, count) for _ in range(rounds))


def environment(tree: Path = ROOT) -> dict[str, str]:
    """The environment of a measured process: compiled modules are written and used."""
    changed = {**os.environ, "PYTHONPATH": str(tree)}
    changed.pop("PYTHONDONTWRITEBYTECODE", None)
    return changed


def process(command: Sequence[str | Path], tree: Path = ROOT, *, accepted: Sequence[int] = (0,)) -> float:
    """Processor time of a whole process with those it starts, in milliseconds. Raises CalledProcessError."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = [str(word) for word in command]
    done = subprocess.run(words, env=environment(tree), cwd="/", capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in accepted:
        raise subprocess.CalledProcessError(done.returncode, words, done.stdout, done.stderr)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3


def child(module: str, *arguments: object, tree: Path = ROOT) -> dict[str, float]:
    """What `python -m module arguments` prints, as JSON: figures that it measured in itself.

    OpenBLAS makes no threads in it: they wait for work in a loop for some 20 ms after the import of numpy, which
    would count as processor time of what the process does then.
    """
    variables = {**environment(tree), "OPENBLAS_NUM_THREADS": "1"}
    return printed_figures([sys.executable, "-m", module, *map(str, arguments)], variables)


def printed_figures(command: Sequence[str], variables: Mapping[str, str] | None = None) -> dict[str, float]:
    """The figures in the last line that a command prints. Raises CalledProcessError with what it said."""
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
    figures = json.loads(done.stdout.splitlines()[-1])
    return {name: float(value) for name, value in figures.items()}

"""Power cuts: an update is interrupted at every operation of its flash, and everything that can follow is tried.

    cuts = PowerCuts(
        [nor],
        update=lambda: device.call("update", "int(void)"),
        restart=board.power_cycle,                        # RAM is lost
        recover=lambda: board.run(until=booted),
        check=lambda: None if version() in (1, 2) else "no bootable image",
    )
    sweep = cuts.sweep()                                  # one cut, at every operation
    exploration = cuts.explore()                          # any number of cuts, until nothing new can happen

After a cut RAM is lost, so what follows depends on the contents of flash alone. The update runs once; for each of
its operations the contents are noted that a cut would leave: *before* it, *after* it, or *torn*, with a part
carried out. Each content that was not seen before is booted once; the operations of that recovery lead to further
contents. So any number of cuts is a search of a finite graph, breadth first: the first way found to a state is
one with the fewest cuts.

A state is bad if its recovery, with no further cut, ends in an error or in something that `check` objects to.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from emu.boards.errors import BoardError
from emu.boards.flash_device import Flash
from emu.boards.flash_state import FlashState, digest_of
from emu.boards.flash_types import FlashEvent
from emu.errors import BudgetExceeded
from relink.errors import RelinkError
from relink.records import dataclass, field

MODES = ("before", "torn", "after")
_States = tuple[FlashState, ...]


@dataclass(frozen=True)
class Cut:
    """A cut of the power at one operation since the last start: `event.id` names it."""

    event: FlashEvent
    mode: str  #: one of `MODES`
    seed: int = 0  #: of a torn operation: what decides how much of it was carried out

    def __str__(self) -> str:
        return f"{self.mode} {self.event.id}" + (f" (seed {self.seed})" if self.mode == "torn" else "")


@dataclass(frozen=True)
class Outcome:
    """Where a sequence of cuts leads. `problem` is None where the device is well."""

    cuts: tuple[Cut, ...]
    problem: str | None

    def __str__(self) -> str:
        way = ", then ".join(map(str, self.cuts)) or "no cut"
        return f"{self.problem or 'well'}: {way}"


@dataclass(frozen=True)
class Sweep:
    """Every single cut of an update."""

    outcomes: tuple[Outcome, ...]  #: one for each cut, in order
    states: int  #: different contents of flash among them, each booted once
    seconds: float

    @property
    def bad(self) -> list[Outcome]:
        """The cuts that the device does not survive."""
        return [outcome for outcome in self.outcomes if outcome.problem is not None]


@dataclass(frozen=True)
class Exploration:
    """Everything that any number of cuts can lead to."""

    states: int  #: different contents of flash, each booted once
    cuts: int  #: cuts tried, of the update and of all recoveries
    closed: bool  #: whether nothing is left to try; False: a limit was reached
    longest: int  #: cuts in the longest of the shortest sequences
    bad: tuple[Outcome, ...]  #: for each problem a sequence with the fewest cuts
    bad_states: int
    wear: int  #: the most erases of a sector, counted from the start
    seconds: float


class _State:
    """One content of all flash devices, and how it is reached."""

    __slots__ = ("contents", "cut", "depth", "parent", "problem")

    def __init__(self, contents: _States, parent: _State | None, cut: Cut | None) -> None:
        self.contents, self.parent, self.cut = contents, parent, cut
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.problem: str | None = None

    def cuts(self) -> tuple[Cut, ...]:
        """The cuts that lead here."""
        if self.parent is None or self.cut is None:
            return ()
        return (*self.parent.cuts(), self.cut)


@dataclass
class Progress:
    """How far an exploration is. `left` counts states that are known and not booted yet."""

    done: int = 0
    left: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def rate(self) -> float:
        """States booted per second."""
        return self.done / max(time.monotonic() - self.started, 1e-9)


class PowerCuts:
    """The power cuts of one update.

    - `flashes`: the devices whose operations can be cut; their present contents are the update's start;
    - `update`: runs the update to its end, from the machine's present state;
    - `restart`: makes the machine lose what it loses without power (RAM, registers, devices); flash is put right
      afterwards;
    - `recover`: starts the device, and returns when it has recovered and runs;
    - `check`: looks at the device then; returns None, or what is wrong. It may raise AssertionError instead;
    - `modes`, `seeds`: which cuts; a torn one for each seed.

    Raises BoardError for unknown modes.
    """

    def __init__(
        self,
        flashes: Sequence[Flash],
        *,
        update: Callable[[], object],
        restart: Callable[[], object],
        recover: Callable[[], object],
        check: Callable[[], str | None],
        modes: Sequence[str] = MODES,
        seeds: Iterable[int] = (0,),
    ) -> None:
        if odd := [mode for mode in modes if mode not in MODES]:
            raise BoardError(f"there is no power cut {odd[0]!r}: it is one of {', '.join(MODES)}")
        self.flashes = tuple(flashes)
        self._update, self._restart, self._recover, self._check = update, restart, recover, check
        self._modes, self._seeds = frozenset(modes), tuple(seeds)
        self._start = self._contents()
        self._wear = [flash.wear.copy() for flash in self.flashes]
        self._most_worn = 0

    # ------------------------------------------------------------ what a user asks for

    def sweep(self, *, progress: Callable[[Progress], object] | None = None) -> Sweep:
        """Try every single cut of the update. Raises BoardError when the update fails without one, or changes no
        flash: then there is nothing to cut.
        """
        started, told = time.monotonic(), Progress()
        found = self._of_update()
        known: dict[bytes, _State] = {}
        outcomes = []
        for digest, state in found:
            if digest not in known:
                known[digest] = state
                self._boot(state)
                told.done += 1
                if progress is not None:
                    progress(told)
            outcomes.append(Outcome(state.cuts(), known[digest].problem))
        return Sweep(tuple(outcomes), len(known), time.monotonic() - started)

    def explore(
        self,
        *,
        most_states: int = 1_000_000,
        most_seconds: float = float("inf"),
        most_cuts: int | None = None,
        progress: Callable[[Progress], object] | None = None,
    ) -> Exploration:
        """Try any number of cuts (at most `most_cuts`, if given), until no new state appears or a limit is
        reached. Raises as `sweep`.
        """
        started, told = time.monotonic(), Progress()
        first = self._of_update()
        tried = len(first)
        known: dict[bytes, _State] = {}
        queue: deque[_State] = deque()
        shortest: dict[str, _State] = {}
        problems: Counter[str] = Counter()
        bounded = False  # whether `most_cuts` kept states from being tried
        for state in self._new(first, known):
            queue.append(state)
        while queue and told.done < most_states and time.monotonic() - started < most_seconds:
            state = queue.popleft()
            further = self._boot(state)
            if state.problem is not None:  # what follows is of no interest any more
                shortest.setdefault(state.problem, state)
                problems[state.problem] += 1
                further = []
            tried += len(further)
            if most_cuts is None or state.depth < most_cuts:
                queue.extend(self._new(further, known))
            else:
                bounded = bounded or any(digest not in known for digest, _ in further)
            told.done, told.left = told.done + 1, len(queue)
            if progress is not None:
                progress(told)
        bad = tuple(Outcome(state.cuts(), problem) for problem, state in shortest.items())
        longest = max((state.depth for state in known.values()), default=0)
        seconds = time.monotonic() - started
        return Exploration(
            told.done, tried, not queue and not bounded, longest, bad, problems.total(), self._most_worn, seconds
        )

    def replay(self, cuts: Sequence[Cut]) -> str | None:
        """Repeat a sequence of cuts; the device is left as its last recovery leaves it. What is wrong with it is
        returned. Raises BoardError for a cut that does not happen.
        """
        found = self._of_update()
        state = _State(self._start, None, None)
        for number, cut in enumerate(cuts):
            match = next((each for _, each in found if str(each.cut) == str(cut)), None)
            if match is None:
                raise BoardError(f"cut {number + 1} ({cut}) does not happen")
            state = match
            found = self._boot(state)
        return state.problem

    # ------------------------------------------------------------ running

    def _of_update(self) -> list[tuple[bytes, _State]]:
        """The states that a cut of the update can leave."""
        root = _State(self._start, None, None)
        self._put(self._start)
        with self._noting(root) as found:
            problem = self._problem(self._update)
        if problem is None:
            problem = self._problem(self._checked)
        if problem is not None:
            raise BoardError(f"the update fails without a power cut: {problem}")
        if not found:
            raise BoardError("the update changes no flash, so there is nothing to cut")
        return found

    def _boot(self, state: _State) -> list[tuple[bytes, _State]]:
        """Start the device in a state, and note how it ends and which states a further cut can leave."""
        self._restart()
        self._put(state.contents)
        with self._noting(state) as found:
            state.problem = self._problem(self._recover)
        if state.problem is None:
            state.problem = self._problem(self._checked)
        for flash, before in zip(self.flashes, self._wear, strict=True):
            self._most_worn = max(self._most_worn, int((flash.wear - before).max(initial=0)))
        return found

    def _checked(self) -> None:
        if (problem := self._check()) is not None:
            raise AssertionError(problem)

    @staticmethod
    def _problem(run: Callable[[], object]) -> str | None:
        """What went wrong in a run; None when it ended well."""
        try:
            run()
        except BudgetExceeded:
            return "it does not come to an end"
        except AssertionError as error:
            return str(error) or "an assertion failed"
        except RelinkError as error:
            return f"{type(error).__name__}: {error}"
        return None

    @staticmethod
    def _new(found: Iterable[tuple[bytes, _State]], known: dict[bytes, _State]) -> Iterator[_State]:
        """The states that were not known."""
        for digest, state in found:
            if digest not in known:
                known[digest] = state
                yield state

    # ------------------------------------------------------------ flash

    def _contents(self) -> _States:
        return tuple(flash.state() for flash in self.flashes)

    def _digest(self) -> bytes:
        return digest_of(*(flash.digest() for flash in self.flashes))

    def _put(self, contents: _States) -> None:
        """Give the devices these contents, as they are when power comes back."""
        for flash, state in zip(self.flashes, contents, strict=True):
            flash.restore(state)
            flash.power_cycle()
            flash.operations = 0  # operations are numbered from each start

    @contextmanager
    def _noting(self, parent: _State) -> Iterator[list[tuple[bytes, _State]]]:
        """In the block, note what a cut at each operation would leave."""
        found: list[tuple[bytes, _State]] = []

        def note(cut: Cut) -> None:
            found.append((self._digest(), _State(self._contents(), parent, cut)))

        def before(flash: Flash, event: FlashEvent) -> None:
            if "before" in self._modes:
                note(Cut(event, "before"))
            if "torn" in self._modes:
                whole = flash.state()
                for seed in self._seeds:
                    flash.tear(event, seed)
                    note(Cut(event, "torn", seed))
                    flash.restore(whole)
                    flash.operations = event.number

        def after(event: FlashEvent) -> None:
            if "after" in self._modes:
                note(Cut(event, "after"))

        added = [(flash, partial(before, flash)) for flash in self.flashes]
        for flash, listener in added:
            flash.before.append(listener)
            flash.after.append(after)
        try:
            yield found
        finally:
            for flash, listener in added:
                flash.before.remove(listener)
                flash.after.remove(after)

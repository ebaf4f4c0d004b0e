"""`PowerCuts`: sweeps of single cuts, and the search of everything that any number of cuts leads to."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from emu.boards.errors import BoardError, EmptyShare, NoSuchCut
from emu.boards.flash_device import Flash
from emu.boards.power.results import Cut, Exploration, Outcome, Progress, Sweep, Trouble, fewest
from emu.boards.power.starts import Contents, End, Found, Starts
from emu.boards.power.states import Booted, Booter, State, Used

if TYPE_CHECKING:
    from emu.boards.power.workers import Workers
    from emu.machine import Machine

MODES = ("before", "torn", "after")


class PowerCuts:
    """The power cuts of one update.

    - `flashes`: the devices whose operations can be cut; their present contents are the update's start;
    - `update`: runs the update to its end, from the machine's present state;
    - `restart`: makes the machine lose what it loses without power (RAM, registers, devices); flash is put right
      afterwards;
    - `recover`: starts the device, and returns when it has recovered and runs;
    - `check`: looks at the device then; returns None, or what is wrong. It may raise AssertionError instead;
    - `modes`, `seeds`: which cuts; a torn one for each seed;
    - `starts`: the number of starts without a cut after which the device has to be well;
    - `machine`: where `restart` restores a snapshot of it, a run ends early in a state (registers, memory, flash)
      from which it is known how it goes on. What your Python functions keep in objects is not seen: what of it
      the future depends on is to be returned by `state`;
    - `same`: returns what of the present contents of flash counts (something with a repr), for example all but
      counters that only rise. Contents of which it returns the same are one state, and the first of them is
      booted: that the device does the same with the others is your word;
    - `wear_counts`: contents with different wear are different ones. Needed when sectors may wear out.

    Raises BoardError for unknown modes, and for devices with the same name.
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
        starts: int = 1,
        machine: Machine | None = None,
        state: Callable[[], object] = lambda: None,
        same: Callable[[], object] | None = None,
        wear_counts: bool = False,
    ) -> None:
        if odd := [mode for mode in modes if mode not in MODES]:
            raise BoardError(f"there is no power cut {odd[0]!r}: it is one of {', '.join(MODES)}")
        names = Counter(flash.name for flash in flashes)
        if twice := [name for name, count in names.items() if count > 1]:
            raise BoardError(f"two flash devices are called {twice[0]!r}, so ids of cuts would be ambiguous")
        if starts < 1 or not flashes or not modes or ("torn" in modes and not (seeds := tuple(seeds))):
            raise BoardError("power cuts need a flash device, a mode, a seed for torn operations, and one start")
        self._update = update
        self._starts = Starts(
            flashes,
            restart=restart,
            recover=recover,
            check=check,
            modes=frozenset(modes),
            seeds=tuple(seeds),
            starts=starts,
            machine=machine,
            state=state,
            same=same,
            wear_counts=wear_counts,
        )
        self._first = self._starts.contents()

    # ------------------------------------------------------------ what a user asks for

    def sweep(
        self,
        *,
        share: tuple[int, int] = (0, 1),
        workers: Workers | None = None,
        progress: Callable[[Progress], object] | None = None,
    ) -> Sweep:
        """Try every single cut of the update; with `share` (k, n) only the k-th of n parts, from 0: for n tests
        that share the work. `workers` are processes that boot the states. Raises BoardError when the update fails
        without a cut, or changes no flash: then there is nothing to cut; and for a part without a cut.
        """
        started, before = time.monotonic(), self.used(workers)
        number, parts = share
        if not 0 <= number < parts:
            raise BoardError(f"there is no part {number} of {parts}")
        found = self.of_update()
        places = {digest: place for place, digest in enumerate(dict.fromkeys(each.digest for each in found))}
        mine = [each for each in found if places[each.digest] * parts // len(places) == number]
        if not mine:
            raise EmptyShare(f"{parts} parts of {len(places)} contents of flash: part {number} has no cut")
        states = _distinct(mine)
        told = Progress(left=len(states))
        for state, end, _ in self._booter(workers)(list(states.values()), False):
            state.end = end
            told.done, told.left = told.done + 1, told.left - 1
            if progress is not None:
                progress(told)
        after = self.used(workers)
        return Sweep(
            tuple(_outcome(each, states[each.digest]) for each in mine),
            len(states),
            after.early - before.early,
            after.wear,
            time.monotonic() - started,
            after.cpu_seconds - before.cpu_seconds,
        )

    def explore(
        self,
        *,
        most_states: int = 1_000_000,
        most_seconds: float = float("inf"),
        most_cuts: int | None = None,
        workers: Workers | None = None,
        progress: Callable[[Progress], object] | None = None,
    ) -> Exploration:
        """Try any number of cuts (at most `most_cuts`, if given), until no new state appears or a limit is
        reached. Raises as `sweep`.
        """
        search = Search(self.of_update(), most_states, most_seconds, most_cuts, progress)
        return search.run(self._booter(workers), lambda: self.used(workers))

    def replay(
        self, cuts: Sequence[Cut | str], *, told: Callable[[Sequence[Found]], object] = lambda found: None
    ) -> str | None:
        """Repeat a sequence of cuts, or of their texts; the device is left as its last start leaves it. What is
        wrong with it is returned. `told` gets what cuts of the update would leave, then those of the start after
        each cut. Raises NoSuchCut, and BoardError as `sweep`.
        """
        if not cuts:
            raise BoardError("no cuts to repeat")
        found, end = self.of_update(), None
        told(found)
        for number, cut in enumerate(cuts):
            self.forget()  # every run to its end
            match = next((each for each in found if str(each.cut) == str(cut)), None)
            if match is None:
                raise NoSuchCut(f"cut {number + 1} ({cut}) does not happen")
            end, found = self.start(match.contents)
            told(found)
        return end.problem if end is not None else None

    # ------------------------------------------------------------ running

    def of_update(self) -> list[Found]:
        """The states that cuts at each operation of the update leave. Raises BoardError (see `sweep`)."""
        end, found = self._starts.update(self._update, self._first)
        if end.problem is not None:
            raise BoardError(f"the update fails without a power cut: {end.problem}")
        if not found:
            raise BoardError("the update changes no flash, so there is nothing to cut")
        return found

    def boot(self, states: Sequence[State], note: bool) -> Generator[Booted]:
        """Boot states one after the other (a `Booter`)."""
        for state in states:
            yield state, *self.start(state.contents, note)

    def start(self, contents: Contents, note: bool = True) -> tuple[End, list[Found]]:
        """Boot one state: how it ends up, and if `note` what cuts of its recovery would leave."""
        return self._starts.boot(contents, note)

    def _booter(self, workers: Workers | None) -> Booter:
        if workers is None:
            return self.boot
        workers.begin()
        return workers.boot

    def forget(self) -> None:
        """Forget how runs went on, so that none ends early because of an earlier sweep."""
        self._starts.forget()

    def used(self, workers: Workers | None = None) -> Used:
        """The runs and time that all starts so far have taken, here and in other processes."""
        early, wear, seconds = self._starts.early, self._starts.most_worn, time.process_time()
        if workers is None:
            return Used(early, wear, seconds)
        theirs = workers.used()
        return Used(early + theirs.early, max(wear, theirs.wear), seconds + theirs.cpu_seconds)


def _distinct(found: Iterable[Found]) -> dict[bytes, State]:
    """The states of the different contents, each with the first cut that leads to it."""
    states: dict[bytes, State] = {}
    for each in found:
        if each.digest not in states:
            states[each.digest] = State(each, None)
    return states


def _outcome(found: Found, state: State) -> Outcome:
    assert state.end is not None
    return Outcome((found.cut,), state.end.problem, state.end.trouble)


class Search:
    """A breadth-first search of the states that cuts can lead to: the first way found to a state is one with the
    fewest cuts. States with the same number of cuts are booted together, so they can be shared out.
    """

    def __init__(
        self,
        first: list[Found],
        most_states: int,
        most_seconds: float,
        most_cuts: int | None,
        progress: Callable[[Progress], object] | None,
    ) -> None:
        self._most_states, self._most_seconds, self._most_cuts = most_states, most_seconds, most_cuts
        self._tell, self._told = progress, Progress()
        self._known: set[bytes] = set()
        self._level: list[State] = []
        self._bad: list[State] = []
        self._tried, self._bounded = len(first), False
        self._new: list[int] = []
        self._add(first, None)

    def _add(self, found: Iterable[Found], parent: State | None) -> None:
        for each in found:
            if each.digest not in self._known:
                self._known.add(each.digest)
                self._level.append(State(each, parent))

    def run(self, boot: Booter, used: Callable[[], Used]) -> Exploration:
        """Search, with `boot` to boot states and `used` for what that took so far."""
        before, started = used(), self._told.started
        while self._level and not self._over():
            self._new.append(len(self._level))
            states, self._level = self._level[: self._most_states - self._told.done], []
            with closing(boot(states, True)) as booting:
                for state, end, found in booting:
                    self._ended(state, end, found)
                    if self._over():
                        break
        after = used()
        outcomes = [state.outcome() for state in self._bad]
        return Exploration(
            self._told.done,
            self._tried,
            self._told.done == len(self._known) and not self._bounded,
            tuple(self._new),
            tuple(fewest(outcomes).values()),
            len(outcomes),
            Counter(outcome.trouble or Trouble.WRONG for outcome in outcomes),
            after.early - before.early,
            after.wear,
            time.monotonic() - started,
            after.cpu_seconds - before.cpu_seconds,
        )

    def _over(self) -> bool:
        late = time.monotonic() - self._told.started >= self._most_seconds
        return late or self._told.done >= self._most_states

    def _ended(self, state: State, end: End, found: list[Found]) -> None:
        state.end, state.contents = end, ()  # which are not needed any more
        if end.problem is not None:  # what follows is of no interest any more
            self._bad.append(state)
        else:
            if self._most_cuts is None or state.depth < self._most_cuts:
                self._tried += len(found)
                self._add(found, state)
            else:
                self._bounded = self._bounded or any(each.digest not in self._known for each in found)
        self._told.done += 1
        self._told.left = len(self._known) - self._told.done
        if self._tell is not None:
            self._tell(self._told)

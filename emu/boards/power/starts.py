"""Starting a device under test from given contents of flash, and noting what a power cut would leave behind."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from emu.boards.flash_device import Flash, Listener
from emu.boards.flash_state import FlashState, digest_of
from emu.boards.flash_types import FlashEvent
from emu.boards.power.places import python_place
from emu.boards.power.results import Cut, Trouble
from emu.errors import BudgetExceeded
from relink.errors import RelinkError
from relink.memory.rollback import Rollback

if TYPE_CHECKING:
    from emu.machine import Machine

Contents: TypeAlias = tuple[FlashState, ...]  #: of all devices
#: Hashes of whole states without one that was known before, after which no more are made.
_VAIN = 3000
#: One in so many contents of flash is compared, since a comparison costs as much as some operations. The contents
#: decide, so that different runs compare at the same places.
_SPARSE = 4
#: Besides, so many operations after a start: a circle without any such contents is found too.
_REGULAR = 64
_OBJECTS = 50_000  #: new ones, after which Python looks for garbage
_NO_END = "it does not come to an end"


def _remove(listeners: list[Listener], listener: Listener) -> None:
    """Remove a listener, if it is there."""
    if listener in listeners:
        listeners.remove(listener)


class Found(NamedTuple):
    """The state that one cut leaves."""

    digest: bytes
    contents: Contents
    cut: Cut


class End(NamedTuple):
    """How a device ends up: `starts` it took. `problem` and `trouble` are None where it is well."""

    problem: str | None
    trouble: Trouble | None
    starts: int


class _Settled(BaseException):
    """Ends a run in a state from which it is known how it goes on. Not an Exception: nobody is to handle it."""

    def __init__(self, end: End) -> None:
        self.end = end


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Let Python look for garbage rarely: most of what a start makes is kept, and it took a tenth of the time."""
    thresholds = gc.get_threshold()
    try:
        if thresholds[0]:
            gc.set_threshold(max(thresholds[0], _OBJECTS), *thresholds[1:])
        yield
    finally:
        gc.set_threshold(*thresholds)


class Starts:
    """Runs the device, with `flashes` as its memory (see `emu.boards.power.PowerCuts` for the rest)."""

    def __init__(
        self,
        flashes: Sequence[Flash],
        *,
        restart: Callable[[], object],
        recover: Callable[[], object],
        check: Callable[[], str | None],
        modes: frozenset[str],
        seeds: Sequence[int],
        starts: int,
        machine: Machine | None,
        state: Callable[[], object],
        same: Callable[[], object] | None,
        wear_counts: bool,
    ) -> None:
        self.flashes = tuple(flashes)
        self._restart, self._recover, self._check = restart, recover, check
        self._modes, self._seeds, self._most = modes, seeds, starts
        self._machine, self._state, self._same, self._wear_counts = machine, state, same, wear_counts
        self._start_wear = [flash.wear.copy() for flash in self.flashes]
        self._known: dict[bytes, End] = {}  # hashes of whole states -> how the device ends up from there
        self._passed: dict[bytes, int] = {}  # those of the present run, and in which start
        self._in_start: set[bytes] = set()  # those of the present start
        self._hashes = 0
        self.early = 0  #: runs that ended early
        self.most_worn = 0  #: the most erases of a sector since these contents were the first

    # ------------------------------------------------------------ contents

    def contents(self) -> Contents:
        """The present contents."""
        return tuple(flash.state() for flash in self.flashes)

    def digest(self) -> bytes:
        """Equal for contents that count as equal."""
        if self._same is not None:
            return digest_of(repr(self._same()))
        if self._wear_counts:
            return digest_of(*(part for flash in self.flashes for part in (flash.digest(), flash.wear.tobytes())))
        return digest_of(*(flash.digest() for flash in self.flashes))

    def put(self, contents: Contents) -> None:
        """Give the devices these contents, as they are when power comes back."""
        for flash, state in zip(self.flashes, contents, strict=True):
            flash.restore(state)
        self._power_comes_back()

    def _power_comes_back(self) -> None:
        for flash in self.flashes:
            flash.power_cycle()
            flash.operations = 0  # operations are numbered from each start

    def forget(self) -> None:
        """Forget how runs ended, so that the next one goes to its end."""
        self._known.clear()

    # ------------------------------------------------------------ runs

    def update(self, update: Callable[[], object], contents: Contents) -> tuple[End, list[Found]]:
        """Run the update from its contents, to its end."""
        self.forget()
        self.put(contents)
        return self._until_well(update, 1, True)

    def boot(self, contents: Contents, note: bool) -> tuple[End, list[Found]]:
        """Start the device with these contents, and again if it is not well then, up to the limit. Returns how it
        ends up, and if `note` what a cut at each operation would have left (up to where a run ended early: what is
        cut after that is known).
        """
        self._restart()
        self.put(contents)
        return self._until_well(self._recover, self._most, note)

    @_rare_collections()
    def _until_well(self, run: Callable[[], object], most: int, note: bool) -> tuple[End, list[Found]]:
        self._passed.clear()
        found: list[Found] = []
        seen = {self.digest()}
        try:
            for start in range(1, most + 1):
                if start > 1:
                    self._restart()
                    self._power_comes_back()
                with self._watching(found, start, note):
                    problem, trouble = self._problem(run)
                if problem is None:
                    problem, trouble = self._problem(self._checked)
                self._note_wear()
                end = End(problem, trouble, start)
                if problem is None:
                    break
                digest = self.digest()
                if trouble is Trouble.WRONG and digest in seen and run is self._recover:
                    end = End(problem, Trouble.STUCK, start)
                    break
                seen.add(digest)
        except _Settled as settled:
            end = settled.end
            self.early += 1
            self._note_wear()
        for key, start in self._passed.items():
            self._known[key] = end._replace(starts=end.starts - start)
        return self._within(end, most), found

    @staticmethod
    def _within(end: End, most: int) -> End:
        """An end that was found in another run, with the limit of starts."""
        if end.problem is None and end.starts > most:
            return End(f"is well only after {end.starts} starts", Trouble.WRONG, end.starts)
        return end

    def _checked(self) -> None:
        if (problem := self._check()) is not None:
            raise AssertionError(problem)

    @staticmethod
    def _problem(run: Callable[[], object]) -> tuple[str | None, Trouble | None]:
        """What went wrong in a run; None when it ended well."""
        try:
            run()
        except BudgetExceeded:
            return _NO_END, Trouble.ENDLESS
        except AssertionError as error:
            return str(error) or "an assertion failed", Trouble.WRONG
        except RelinkError as error:
            return f"{type(error).__name__}: {error}", Trouble.WRONG
        return None, None

    def _note_wear(self) -> None:
        for flash, before in zip(self.flashes, self._start_wear, strict=True):
            self.most_worn = max(self.most_worn, int((flash.wear - before).max(initial=0)))

    # ------------------------------------------------------------ operations of a run

    @contextmanager
    def _watching(self, found: list[Found], start: int, note: bool) -> Iterator[None]:
        """In the block, end runs early, and if `note` note what a cut at each operation would leave."""
        frame = sys._getframe(2)  # whose block it is
        self._in_start.clear()
        compare = partial(self._compare, start, frame)
        after = partial(self._after, found, start)
        notes = [(flash, partial(self._before, found, start, flash)) for flash in self.flashes] if note else []
        added = [(flash.before, compare) for flash in self.flashes]
        for flash, before in notes:
            added += [(flash.before, before), (flash.after, after)]
        rest = Rollback((_remove, each) for each in added)
        try:
            for listeners, listener in added:
                listeners.append(listener)
            yield
        finally:
            try:
                rest.close()
            finally:
                if rest.calls:
                    rest.close()

    def _before(self, found: list[Found], start: int, flash: Flash, event: FlashEvent) -> None:
        if "before" in self._modes:
            self._note(found, Cut(event, "before", 0, start))
        if "torn" not in self._modes:
            return
        whole = flash.state()
        for seed in self._seeds:
            flash.tear(event, seed)
            self._note(found, Cut(event, "torn", seed, start))
            flash.restore(whole)
            flash.operations = event.number

    def _after(self, found: list[Found], start: int, event: FlashEvent) -> None:
        if "after" in self._modes:
            self._note(found, Cut(event, "after", 0, start))

    def _note(self, found: list[Found], cut: Cut) -> None:
        found.append(Found(self.digest(), self.contents(), cut))

    def _compare(self, start: int, frame: FrameType, event: FlashEvent) -> None:
        """End the run if it is known how it goes on from here. Raises _Settled."""
        if self._machine is None or (self._hashes > _VAIN and not self.early):
            return
        contents = self.digest()
        if contents[0] % _SPARSE and event.number % _REGULAR:
            return
        of_machine = self._machine.state_hash()
        if of_machine is None:
            return
        self._hashes += 1
        rest = event.operation, event.device, event.address, event.size, self._state(), python_place(frame)
        key = digest_of(of_machine, contents, event.data, repr(rest))
        end = self._known.get(key)
        if end is not None and (end.trouble is not Trouble.WRONG or end.starts + start >= self._most):
            raise _Settled(end._replace(starts=end.starts + start))
        if self._passed.setdefault(key, start) == start and key in self._in_start:
            raise _Settled(End(_NO_END, Trouble.ENDLESS, start))
        self._in_start.add(key)

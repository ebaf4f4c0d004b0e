"""Processes that boot the states of a sweep or an exploration.

    def make() -> PowerCuts: ...            # builds the device; a function that processes can import

    with Workers(make, 2) as workers:
        exploration = make().explore(workers=workers)

Contents of flash travel sector by sector, each sector to a process once.
"""

from __future__ import annotations

import multiprocessing
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Sequence
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

from emu.boards.errors import BoardError
from emu.boards.flash_state import FlashState, SectorState
from emu.boards.power.results import Cut
from emu.boards.power.starts import Contents, End, Found
from emu.boards.power.states import Booted, State, Used

_LARGEST = 32  #: states that a process gets at a time: neighbours, which have much in common


class Device(Protocol):
    """An object that boots states, for example `emu.boards.power.PowerCuts`."""

    def start(self, contents: Contents, note: bool = True) -> tuple[End, list[Found]]: ...
    def used(self) -> Used: ...
    def forget(self) -> None: ...


class _Packed(NamedTuple):
    """A FlashState whose sectors are named by their digests."""

    state: FlashState  # without sectors
    sectors: tuple[bytes, ...]


class _Sectors:
    """One end of a connection: the sectors that both ends know."""

    def __init__(self) -> None:
        self._known: dict[bytes, SectorState] = {}

    def pack(self, contents: Contents, new: dict[bytes, SectorState]) -> tuple[_Packed, ...]:
        """The contents for the other end; sectors that it does not have yet are added to `new`."""
        packed = []
        for state in contents:
            for sector in state.sectors:
                if sector.digest not in self._known:
                    self._known[sector.digest] = new[sector.digest] = sector
            packed.append(_Packed(_with(state, ()), tuple(sector.digest for sector in state.sectors)))
        return tuple(packed)

    def learn(self, new: dict[bytes, SectorState]) -> None:
        """Sectors from the other end."""
        self._known.update(new)

    def unpack(self, packed: Sequence[_Packed]) -> Contents:
        """The contents from the other end."""
        return tuple(_with(each.state, tuple(map(self._known.__getitem__, each.sectors))) for each in packed)


def _with(state: FlashState, sectors: tuple[SectorState, ...]) -> FlashState:
    return FlashState(
        state.device, state.sizes, state.units, sectors, state.wear, state.reads, state.locked, state.bad,
        state.operations,
    )  # fmt: skip


class _Worker:
    """One process, as seen from this one."""

    def __init__(self, context: Any, make: Callable[[], Device]) -> None:
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, make), daemon=True)
        self.process.start()
        theirs.close()
        self.sectors = _Sectors()
        self.used: tuple[int, int, float] = (0, 0, 0.0)
        self.idle = True
        self.in_step = True  #: whether the last exchange with it was complete

    def give(self, search: int, note: bool, first: int, states: Sequence[State]) -> None:
        """Let it boot states of a search; `first` is the number of the first. For `note` see `Starts.boot`."""
        self.in_step = False
        new: dict[bytes, SectorState] = {}
        packed = [self.sectors.pack(state.contents, new) for state in states]
        self.connection.send((search, note, first, new, packed))
        self.idle, self.in_step = False, True

    def take(self) -> tuple[int, list[tuple[End, list[Found]]]]:
        """The results of a worker. Raises BoardError when it failed."""
        self.in_step = False
        try:
            failure, first, new, results, self.used = self.connection.recv()
        except EOFError:
            raise BoardError(
                f"a process that boots states has ended (exit code {self.process.exitcode})"
            ) from None
        if failure:
            raise BoardError(f"a process that boots states has failed: {failure}")
        self.sectors.learn(new)
        self.idle = self.in_step = True
        unpack = self.sectors.unpack
        return first, [
            (end, [Found(digest, unpack(packed), cut) for digest, packed, cut in found]) for end, found in results
        ]


class Workers:
    """`count` processes, each with a device of its own that `make` builds.

    `make` is called in each process, which has to be able to import it: a function of a module, or a `partial`.
    """

    def __init__(self, make: Callable[[], Device], count: int) -> None:
        if count < 1:
            raise BoardError(f"{count} processes")
        context = multiprocessing.get_context("spawn")  # engines do not survive a fork
        self._workers = [_Worker(context, make) for _ in range(count)]
        self._search = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.connection.close()
            worker.process.terminate()
            worker.process.join()

    def begin(self) -> None:
        """A sweep or an exploration begins: what was found in another one does not count."""
        self._search += 1

    def used(self) -> Used:
        """The runs and time that starts in all processes have taken so far."""
        each = [worker.used for worker in self._workers]
        return Used(sum(u[0] for u in each), max(u[1] for u in each), sum(u[2] for u in each))

    def boot(self, states: Sequence[State], note: bool) -> Generator[Booted]:
        """Boot states, in order (a `Booter`). Raises BoardError when a process fails, and once an exception has
        interrupted an exchange with one, as that of a signal handler.
        """
        if not all(worker.in_step for worker in self._workers):
            raise BoardError("an exchange with a process that boots states was interrupted: make new Workers")
        size = max(min(len(states) // (4 * len(self._workers)), _LARGEST), 1)
        left = deque((at, states[at : at + size]) for at in range(0, len(states), size))
        done: dict[int, tuple[End, list[Found]]] = {}
        number = 0
        self._settle()
        while number < len(states):
            for worker in self._workers:
                if left and worker.idle:
                    worker.give(self._search, note, *left.popleft())
            for worker in self._ready():
                first, results = worker.take()
                done.update(enumerate(results, first))
            while number in done:
                yield states[number], *done.pop(number)
                number += 1

    def _ready(self) -> list[_Worker]:
        busy: dict[object, _Worker] = {w.connection: w for w in self._workers if not w.idle}
        return [busy[connection] for connection in wait([w.connection for w in busy.values()])]

    def _settle(self) -> None:
        """Drop what is still to come from a run that was left early."""
        while busy := [worker for worker in self._workers if not worker.idle]:
            busy[0].take()


def _work(connection: Connection, make: Callable[[], Device]) -> None:
    """The work of a process: boot states, and send how they end."""
    sectors, search = _Sectors(), 0
    try:
        cuts = make()
        began = time.process_time()
        while True:
            try:
                now, note, first, new, states = connection.recv()
            except (EOFError, OSError):
                return
            if now != search:
                search = now
                cuts.forget()
            sectors.learn(new)
            fresh: dict[bytes, SectorState] = {}
            results = [_boot(cuts, note, sectors, sectors.unpack(packed), fresh) for packed in states]
            early, wear, _ = cuts.used()
            connection.send(("", first, fresh, results, (early, wear, time.process_time() - began)))
    except Exception as error:
        connection.send((f"{error!r}\n{traceback.format_exc()}", 0, {}, [], (0, 0, 0.0)))


def _boot(
    cuts: Device, note: bool, sectors: _Sectors, contents: Contents, fresh: dict[bytes, SectorState]
) -> tuple[End, list[tuple[bytes, tuple[_Packed, ...], Cut]]]:
    """Boot one state; sectors that are not known there are added to `fresh`."""
    end, found = cuts.start(contents, note)
    return end, [(digest, sectors.pack(after, fresh), cut) for digest, after, cut in found]

"""Short runs in quick succession: from one event of a board to the next.

`run_piece` is `run`, and for the usual piece (no time limit, nobody observes, it ends at its limit or at an
exception) does in few methods what `run` spreads over many, and in one call of the host's machine code. An
interrupt is two runs of the engine of 2 µs each, so the time between them counts. Whatever is unusual goes the
common way.
"""

from __future__ import annotations

import struct
import sys
from abc import abstractmethod
from threading import get_ident
from typing import TYPE_CHECKING, Final

from emu.cpu.hooks.stop_hook import ASKED, LIMIT
from emu.cpu.observed import ObservedEngine
from emu.cpu.pages import READABLE, WRITABLE, PageMap
from emu.cpu.protocol import Stop, StopReason
from emu.cpu.unicorn.api import uc
from emu.cpu.unicorn.devices import EVER, UnicornDevices
from emu.cpu.unicorn.stops import LIMIT_REACHED, STORE_FAULTS

if TYPE_CHECKING:
    from emu.cpu.hooks.meter import Meter
    from emu.cpu.unicorn.events import UnicornEvents

_NOWHERE: Final = -1
_FETCH_UNMAPPED: Final = uc.UC_ERR_FETCH_UNMAPPED
_stop = tuple.__new__  # without the class's own function, which is in Python
_ONE_BLOCK: Final = 2  #: of `StopRequest.left`
_WORDS: Final = tuple(struct.Struct(f"<{count}I") for count in range(64))


class UnicornPieces(UnicornDevices, ObservedEngine):
    """The part of a `UnicornCpu` for short runs: `DeviceCpu.run_piece`."""

    executed: int
    _pages: PageMap
    _trap_start: int
    _trap_end: int
    _host_writes: list[tuple[int, int]] | None
    _observed: UnicornEvents | None

    @abstractmethod
    def _explain(self, status: int, pc: int) -> Stop: ...

    @abstractmethod
    def _leave(self) -> None: ...

    @abstractmethod
    def forget_exception(self) -> None:
        """Have the next exception be no double fault."""

    def _take_seen(self) -> tuple[int | None, int | None]:
        """`Seen.take`. The engine does not remember the exception."""
        if self._seen.exception() in self._isa.contributory:
            self.forget_exception()
        return self._seen.take()

    def _abandon(self) -> None:
        """A signal handler raised: the guest is between two blocks and will not continue from there."""
        self._make_whole()
        self._take_seen()
        self._seen.forget()
        self._at_stop = self._first = None
        self.pausing = False
        look = self._look
        look.left = look.stopped = 0
        look.cuts = None
        if self._limit_hooks is not None:
            self._limit_hooks.disarm()
        if look.armed and self._meter is not None:
            self._meter.began_whole()
        if self._watched is not None:
            self._watched.forget()
        if self.kept is None:
            self._suspended = _NOWHERE if self._interworking else None
        elif self.kept[0] is not None and self._interworking:
            self._suspended = self.kept[1].pc  # the guest goes on there, maybe in an IT block

    def run_piece(self, pc: int, limit: int, timeout: float) -> Stop:
        """See `DeviceCpu.run_piece`."""
        inspector, meter, windows = self._inspector, self._meter, self._windows
        usual = self._quick and not (timeout or self._running or self._native or self._stores.stale)
        if (
            not usual
            or (meter is None or windows is None or inspector is None)
            or (self._observed is not None and self._observed.active)
            or pc & -inspector.align not in inspector.known
        ):
            return self.run(pc, max_instructions=limit, timeout=timeout)
        if self._suspended is not None and pc & ~1 != self._suspended:
            self._leave()
        look, watch = self._look, self._watch
        watch.runs += 1
        try:
            self._running = get_ident()
            watch.fired = False
            watch.running = True
            meter.start(limit or EVER)
            windows.begin(self._first_calls)
            if self.stops_at_blocks:
                look.left = _ONE_BLOCK
            self._begin.value, look.cuts = pc, self._cuts
            status, at = self._holding()
            look.cuts = None
            stop = self._end_of_piece(pc, status, at, meter)
            return stop if windows.held is None else self._let_go(stop)
        except BaseException:
            self._abandon()
            raise
        finally:
            watch.running = False  # before any call, in which a signal handler may raise
            self._running = 0
            meter.left, meter.request.budget = meter.request.budget, 0
            if sys.unraisablehook == windows.catch:
                sys.unraisablehook = windows.otherwise
            windows.finish()
            self.executed = meter.end()
            if inspector.correction is not None:
                inspector.correct(self, self.read_register("pc"))

    def _end_of_piece(self, pc: int, status: int, at: int, meter: Meter) -> Stop:
        """Why a run of the engine from `pc` has ended at `at`; it goes on where the guest is not affected."""
        look, windows, limit = self._look, self._windows, False
        stopped, called = look.stopped, windows is not None and windows.ended_by is not None
        if status == _FETCH_UNMAPPED and not (stopped or look.armed or called) and at >= self._stores.never_from:
            self._suspended = at  # the end of a handler, most often
            return _stop(Stop, (StopReason.FETCH_PROTECTED, at, None))
        if look.armed:
            status, at = self._disarm(pc, (status, at), meter)
            limit = status == LIMIT_REACHED
        elif stopped and status in STORE_FAULTS:
            status, at = self._enter(pc, (status, at))
        elif stopped == LIMIT:
            look.left = look.stopped = 0
            status, at = (LIMIT_REACHED, at) if look.budget == 1 else self._last_block(at)
            limit = status == LIMIT_REACHED
        elif stopped == ASKED and self.stops_at_blocks and not (called or self._interrupted()):
            look.left = look.stopped = 0
            self._suspended = at if self._interworking else None
            return _stop(Stop, (StopReason.BLOCK, at, None))
        elif stopped or self._interrupted() or status == uc.UC_ERR_INSN_INVALID:
            status, at = self._enter(pc, (status, at))
        exact = windows is None or windows.ended_by is None
        if limit and exact:
            self._suspended = at if self._interworking else None
            return _stop(Stop, (StopReason.INSTRUCTION_LIMIT, at, None))
        return self._stop_of(status, at, meter, exact=exact)

    def _disarm(self, pc: int, started: tuple[int, int], meter: Meter) -> tuple[int, int]:
        """After a run from `pc` in which the hook before blocks has armed one inside a block."""
        assert self._limit_hooks is not None
        look = self._look
        request = self._limit_hooks.armed[look.armed]
        if request.stopped and not (look.stopped or started[0] in STORE_FAULTS) and not self._interrupted():
            meter.reached_inside()
            request.left = request.stopped = 0
            return LIMIT_REACHED, started[1]
        meter.began_whole()
        return self._stopped_inside(pc, request, started)

    def _stop_of(self, status: int, at: int, meter: Meter | None, *, exact: bool) -> Stop:
        """Why a run has ended, of which the engine returned `status` at `at`.

        `exact`: LIMIT_REACHED is the run's own limit, and not one of events or devices.
        """
        if status == LIMIT_REACHED and exact:
            self._suspended = at if self._interworking else None
            return Stop(StopReason.INSTRUCTION_LIMIT, at)
        if self._trap_start <= at < self._trap_end and status not in STORE_FAULTS:
            return Stop(StopReason.TRAP, at)
        stop = self._explain(status, at)
        if meter is not None and (stop.reason.is_fault or stop.reason is StopReason.BREAK):
            meter.interrupted(stop.pc, bool(self.code_state))
        return stop

    def _end_run(self, meter: Meter | None) -> None:
        """Tell what a run has executed, and make the correction that is due where it has stopped."""
        if meter is not None:
            self.executed = meter.end()
        if self._inspector is not None and self._inspector.correction is not None:
            self._inspector.correct(self, self.read_register("pc"))

    # ---------------------------------------------------------------- words of memory

    def load_words(self, address: int, count: int) -> tuple[int, ...]:
        """See `DeviceCpu.load_words`."""
        pages = self._pages
        piece = pages.found.get(address >> 12) or pages.at(address)
        if piece is None or address + 4 * count > piece.end or not READABLE[piece.protection] or self._observed:
            return _WORDS[count].unpack(self.load(address, 4 * count))
        return _WORDS[count].unpack_from(piece.memory, address - piece.start)

    def store_words(self, address: int, *words: int) -> None:
        """See `DeviceCpu.store_words`."""
        count, meter = len(words), self._meter
        pages, end = self._pages, address + 4 * count
        piece = pages.found.get(address >> 12) or pages.at(address)
        if (
            piece is None
            or end > piece.end
            or not WRITABLE[piece.protection]
            or self._observed is not None
            or self._host_writes is not None
            or meter is None
            or not meter.knows_all
            or address >> 12 in meter.code
            or end - 1 >> 12 in meter.code
        ):
            self.store(address, _WORDS[count].pack(*words))
        else:
            _WORDS[count].pack_into(piece.memory, address - piece.start, *words)

"""Runs of Unicorn through the stops that mean nothing to the guest, and the limits that end them."""

from __future__ import annotations

import ctypes
import platform
from abc import abstractmethod
from functools import partial
from typing import Final

from emu.cpu import unicorn_api as api
from emu.cpu import watchdog
from emu.cpu.finders import FINDERS
from emu.cpu.inspector import Inspector, Verdict
from emu.cpu.meter import Meter
from emu.cpu.stop_hook import LIMIT, UNKNOWN_BLOCK, stop_hook
from emu.cpu.unicorn_api import emu_start, reg_read, uc
from emu.cpu.unicorn_isas import UnicornIsa
from emu.cpu.unicorn_registers import UnicornRegisters
from emu.cpu.watchdog import WATCHDOG, Watch
from relink.errors import AddressSpaceError, MachineError

REFUSED: Final = -1  #: the status of an instruction that `emu.cpu.inspector` refuses


class UnicornStops(UnicornRegisters):
    """What of a `Cpu` is about going on, and about where to stop."""

    arch: str

    def __init__(self, handle: ctypes.c_void_p, isa: UnicornIsa) -> None:
        super().__init__(handle, isa)
        self._look = api.stop_request()
        # 2: the block it comes to first runs, so that the guest gets on however often it is stopped.
        self._watch = Watch(partial(setattr, self._look, "left", 2))
        self._begin, self._until = ctypes.c_uint64(), ctypes.c_uint64((1 << 8 * isa.word) - 1)
        self._every = watchdog.stop_every + 1 if watchdog.stop_every else 0
        self._watched: api.Watched | None = None  #: what tells of new blocks, where somebody looks at them
        #: Steps in where the engine would run an instruction wrong; None where none is known.
        self._inspector: Inspector | None = None
        self._meter: Meter | None = None  #: counts instructions, once there has been a limit

    @abstractmethod
    def read(self, address: int, size: int) -> bytes:
        """See `Cpu.read`."""

    @abstractmethod
    def load(self, address: int, size: int) -> bytes:
        """See `Cpu.load`."""

    @abstractmethod
    def store(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """See `Cpu.store`."""

    def _install_stops(self) -> None:
        """The hook before blocks, by which the watchdog stops runs, and the look at new ones."""
        if (address := stop_hook()) is None:
            return
        look = ctypes.byref(self._look)
        api.add_hook(self._handle, uc.UC_HOOK_BLOCK, ctypes.c_void_p(address), look)
        WATCHDOG.add(self._watch)
        if self.arch in FINDERS:
            self._watched = api.Watched(self._handle, address)
            self._inspector = Inspector(self.arch, self._watched, self.read)

    def _enter(self, pc: int) -> tuple[int, int]:
        """Run, through stops that mean nothing to the guest; Unicorn's status and the pc.

        Between a stop and going on, the interpreter runs the handlers of signals that have come.
        """
        identifier, buffer, reference = self._pc_slot
        look, every, inspector, watched = self._look, self._every, self._inspector, self._watched
        while True:
            if inspector is not None:
                inspector.begin(pc)
            self._begin.value = pc
            if every:
                look.left = every
            status = emu_start(self._handle, self._begin, self._until, api.NO_TIMEOUT, api.NO_COUNT)
            reg_read(self._handle, identifier, reference)
            stopped_at: int = buffer.value
            if watched is not None and watched.stopped:
                if stopped_at == self._until.value:  # nothing is there to look at
                    watched.forget()
                    return uc.UC_ERR_OK, stopped_at
                verdict = self._verdict(watched, stopped_at)
                if verdict.refused:
                    return REFUSED, verdict.pc
                pc = verdict.pc
                continue
            if look.stopped:
                cause, look.left, look.stopped = look.stopped, 0, 0
                # Before `fired` is looked at: what fires now asks again.
                if self._watch.fired:
                    return status, stopped_at
                if cause == UNKNOWN_BLOCK:
                    self._learn(stopped_at, look.size)
                elif cause == LIMIT:
                    return self._last_block(stopped_at)
            elif status != uc.UC_ERR_INSN_INVALID or not self._paused(pc, stopped_at):
                return status, stopped_at
            pc = stopped_at | self._thumb_bit()

    def _verdict(self, watched: api.Watched, pc: int) -> Verdict:
        """How to go on from a stop at a new block, or at an instruction that the engine runs wrong."""
        meter, thumb = self._meter, self._thumb_bit()
        if meter is not None:
            if watched.edges.stopped:
                meter.learn(pc)
            elif self._look.budget:
                meter.interrupted(pc, bool(thumb))
        if self._inspector is None:
            watched.forget()
            return Verdict(pc | thumb)
        verdict = self._inspector.verdict(self, pc)
        if meter is not None and self._look.budget and verdict.pc != pc:
            meter.ran_one()
        return verdict

    def _learn(self, pc: int, size: int) -> None:
        """The engine stopped before a block that the meter does not know."""
        assert self._meter is not None
        if pc + size == self._until.value:  # what the engine would translate now goes on behind it
            self._meter.learn_cut(pc, size, bool(self._thumb_bit()))
        else:
            self._meter.learn(pc, size)

    def _last_block(self, pc: int) -> tuple[int, int]:
        """The block at `pc` has more instructions than are left: run those, to where the limit is reached."""
        meter = self._meter
        assert meter is not None
        end, size = meter.cut(pc, bool(self._thumb_bit())), self._look.size
        if end == pc:
            return uc.UC_ERR_OK, pc
        until, watched = self._until.value, self._watched
        looking = watched.edges.left if watched is not None else 0
        if end is not None:
            self._translate_anew(pc, size, end, 0)  # all of it has been looked at
        try:
            return self._enter(pc | self._thumb_bit())
        finally:
            if end is not None:
                self._translate_anew(pc, size, until, looking)

    def _translate_anew(self, block: int, size: int, until: int, looking: int) -> None:
        """Have a block cut at `until`, or whole again; `looking`: whether at new blocks."""
        api.control(self._handle, uc.UC_CTL_TB_REMOVE_CACHE, block, block + size)
        self._until.value = until
        if self._watched is not None:
            self._watched.edges.left = looking

    def _arm(self, timeout: float) -> None:
        self._need_hook("a time limit")
        WATCHDOG.arm(self._watch, timeout)

    def _metered(self, limit: int) -> Meter:
        """Have the next run stop after `limit` instructions."""
        if self._meter is None:
            hook = self._need_hook("an instruction limit")
            if self._watched is None:
                self._watched = api.Watched(self._handle, hook)
                self._watched.edges.left = 1
            self._meter = Meter(self.arch, self._look, self._watched, self.read)
        self._meter.start(limit)
        return self._meter

    def _need_hook(self, purpose: str) -> int:
        if (address := stop_hook()) is None:
            raise MachineError(f"{purpose} cannot be kept exactly on this host ({platform.machine()})")
        return address

    def _paused(self, begin: int, pc: int) -> bool:
        """Whether the engine only left its loop for a hint (Arm's yield and wfe), which it calls invalid."""
        if begin & ~1 == pc:
            return False
        return any(self._before(pc, len(pause)) == pause for pause in self._isa.pauses)

    def _before(self, pc: int, size: int) -> bytes:
        try:
            return self.read(pc - size, size)
        except AddressSpaceError:
            return b""

"""Running Unicorn across stops that do not affect the guest, and the limits that end a run."""

from __future__ import annotations

import ctypes
import platform
from abc import abstractmethod
from typing import TYPE_CHECKING, Final

from emu.cpu import watchdog
from emu.cpu.corrections.finders import DENORMAL_FINDERS, FINDERS
from emu.cpu.corrections.screens import tables_of
from emu.cpu.hooks.inspector import Inspector, Verdict
from emu.cpu.hooks.limit_hooks import LimitHooks
from emu.cpu.hooks.meter import Meter
from emu.cpu.hooks.stack_watch import StackWatch, stack_hook
from emu.cpu.hooks.stop_hook import ASKED, LIMIT, STACK, UNKNOWN_BLOCK, stop_hook
from emu.cpu.misrun import DENORMALS_ARE_ZERO, INEXACT
from emu.cpu.protocol import CpuContext
from emu.cpu.unicorn import api
from emu.cpu.unicorn.api import emu_start, reg_read_batch, uc
from emu.cpu.unicorn.code_pages import CodePages, Store
from emu.cpu.unicorn.first_blocks import UnicornFirstBlocks
from emu.cpu.unicorn.isas import UnicornIsa
from emu.cpu.unicorn.late_maps import LateMaps
from emu.cpu.unicorn.quick_run import QuickRun
from emu.cpu.unicorn.quick_stores import QuickStores
from emu.cpu.unicorn.watched import Watched
from emu.cpu.watchdog import WATCHDOG, Watch
from relink.errors import MachineError

if TYPE_CHECKING:
    from emu.cpu.unicorn.events import UnicornEvents

_PROTECTION: Final = frozenset({uc.UC_ERR_FETCH_PROT, uc.UC_ERR_WRITE_PROT})
#: What the engine returns after a bad store. Where it cannot leave the instruction at once
#: (`emu.cpu.unicorn.bad_stores`), it may have stopped for another reason after it.
STORE_FAULTS: Final = frozenset({uc.UC_ERR_WRITE_UNMAPPED, uc.UC_ERR_WRITE_PROT})
#: A recorded access of a page that does not permit it -> what the engine returns there.
_CLOSED: Final = {uc.UC_MEM_READ_PROT: uc.UC_ERR_READ_PROT, uc.UC_MEM_WRITE_PROT: uc.UC_ERR_WRITE_PROT}
_ONE: Final = ctypes.c_size_t(1)
REFUSED: Final = -1  #: the status for an instruction that `emu.cpu.hooks.inspector` refuses
BLOCK_ENDED: Final = -2  #: the status at the end of a block, with `stops_at_blocks`
LIMIT_REACHED: Final = -3  #: the status when as many instructions have run as were allowed


class UnicornStops(UnicornFirstBlocks):
    """The part of a `UnicornCpu` for stopping and continuing."""

    arch: str

    def __init__(self, handle: ctypes.c_void_p, isa: UnicornIsa) -> None:
        super().__init__(handle, isa)
        self._look = api.stop_request()
        self._watch = Watch(self._look.ask)
        self._begin, self._until = ctypes.c_uint64(), ctypes.c_uint64((1 << 8 * isa.word) - 1)
        self._engine_run = QuickRun(handle, self._begin, self._until, self._place)
        self._every = watchdog.stop_every + 1 if watchdog.stop_every else 0
        self._watched: Watched | None = None  #: the hook for new blocks, if they are inspected
        self._inspector: Inspector | None = None  #: for instructions that the engine executes wrongly
        self._observed: UnicornEvents | None = None
        self._meter: Meter | None = None  #: counts instructions, after the first limit
        self._limit_hooks: LimitHooks | None = None  #: for limits inside blocks; None: they are translated anew
        self.stops_at_blocks = False  #: whether a run ends after its first block
        self.in_misrun = False  #: whether an instruction is being computed
        self._quick = False  #: whether runs may skip what is for unusual cases
        self.pausing = False  #: whether the run is to end after that instruction
        self._seen = api.Seen()
        #: Keeps what the engine cannot translate from it; None if there is nothing such.
        self._code_pages: CodePages | None = None
        self._late: LateMaps  #: mappings that the engine does not have yet
        self._stores: QuickStores

    @abstractmethod
    def _made_late(self, status: int, pc: int) -> bool:
        """Whether the engine lacked a mapping that had waited, which it has now: the run can go on."""

    @abstractmethod
    def _last_block(self, pc: int) -> tuple[int, int]:
        """Run the remaining instructions of the budget: the block at `pc` has more than these."""

    @abstractmethod
    def load(self, address: int, size: int) -> bytes:
        """See `Cpu.load`."""

    @abstractmethod
    def store(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """See `Cpu.store`."""

    @abstractmethod
    def drop_all_translations(self) -> None:
        """Have all code translated again."""

    def flush_to_zero(self, mxcsr: int) -> None:
        super().flush_to_zero(mxcsr)
        if self._inspector is not None:
            if not mxcsr & INEXACT:
                self._inspector.rounding_matters()
            if mxcsr & DENORMALS_ARE_ZERO and self._inspector.find_by(DENORMAL_FINDERS[self.arch]):
                assert self._watched is not None
                self._watched.stop_at_all()
                self.drop_all_translations()

    def restore(self, context: CpuContext) -> None:
        super().restore(context)
        if self._inspector is not None:
            self._inspector.rounding_matters()

    def _install_stops(self) -> None:
        """Install the hook before blocks, with which the watchdog stops runs, and the inspection of new blocks."""
        if (address := stop_hook()) is None:
            return
        look, stack = ctypes.byref(self._look), None
        before = stack_hook(address, self._look) if "fptag" in self._isa.names else None
        if before is not None:
            registers = self._slots["fpsw"][0], self._slots["fptag"][0]
            stack = StackWatch(self._look, ctypes.cast(reg_read_batch, ctypes.c_void_p), registers)
        api.add_hook(self._handle, uc.UC_HOOK_BLOCK, ctypes.c_void_p(before or address), look)
        WATCHDOG.add(self._watch)
        if self.arch in FINDERS:
            self._watched = Watched(self._handle, address, self._slots, self._look, tables_of(self.arch))
            align = 2 if self._interworking else 1
            self._inspector = Inspector(
                FINDERS[self.arch], self._watched, self.read, align=align, stack=stack, anywhere=align > 1
            )

    def _enter(self, pc: int, started: tuple[int, int] | None = None) -> tuple[int, int]:
        """Run across stops that do not affect the guest; return Unicorn's status and the pc.

        At such a stop the interpreter runs the handlers of pending signals. `started`: what the first run of the
        engine gave, if that has been made.
        """
        look, every, inspector, watched = self._look, self._every, self._inspector, self._watched
        looked = False
        while True:
            if every or self.stops_at_blocks:
                look.left = 2 if self.stops_at_blocks else every
            if inspector is not None and not looked and started is None:
                self._begin_inspection(inspector, pc)
            looked = False
            status, stopped_at = self._start(pc, started)
            started = None
            if self._first is not None:
                self._settle_first()
            if watched is not None and watched.stopped():
                if stopped_at == self._until.value:  # there is nothing to inspect
                    watched.forget()
                    return uc.UC_ERR_OK, stopped_at
                if self._observed is not None and self._observed.takes(stopped_at, watched.edges.stopped):
                    watched.forget()
                    return status, stopped_at
                verdict = self._verdict(watched, stopped_at)
                if verdict.refused or verdict.closed:
                    status = REFUSED if verdict.refused else _CLOSED[self._seen.fault()[0]]
                    return status, verdict.pc & ~self._thumb_bit()
                if self.pausing:
                    self.pausing = False
                    return BLOCK_ENDED, verdict.pc & ~self._thumb_bit()
                if self.stops_at_blocks and stopped_at != self._begin.value & ~1:
                    return BLOCK_ENDED, verdict.pc & ~self._thumb_bit()
                pc, looked = verdict.pc, verdict.looked
                if looked and pc == self._begin.value and self._stops_first(look):
                    # This was the stop before the first block too: see `_looked`.
                    look.left = 0
                    if self._watch.fired:
                        return status, stopped_at
                    assert inspector is not None
                    inspector.know(pc)
                continue
            if look.stopped:
                ended = self._looked(status, stopped_at)
                if ended is not None:
                    return ended
            elif status != uc.UC_ERR_INSN_INVALID or not self._paused(pc, stopped_at):
                return status, stopped_at
            pc = self._read_place() | self.code_state

    def _forget_stops(self) -> None:
        """The run has ended where other hooks have asked for a stop too."""
        self._look.left = self._look.stopped = 0
        if self._watched is not None:
            self._watched.forget()

    def _looked(self, status: int, pc: int) -> tuple[int, int] | None:
        """After a stop before the block at `pc`: how the run ends; None: it goes on."""
        look = self._look
        if look.stopped == STACK and self._inspector is not None:
            look.stopped = 0
            self._inspector.spread(self, pc)
            return None
        cause, look.left, look.stopped = look.stopped, 0, 0
        # Before `fired` is checked: a deadline that passes now makes a new request.
        if self._watch.fired:
            return status, pc
        first = cause == ASKED and pc == self._begin.value and not self._interworking
        if first and self._inspector is not None and not self._inspector.may_begin(pc):
            self._inspector.first_block(pc, look.size)
        if self.stops_at_blocks and cause == ASKED:
            return BLOCK_ENDED, pc
        if cause == UNKNOWN_BLOCK:
            self._learn(pc, look.size)
        elif cause == LIMIT:
            return self._last_block(pc)
        return None

    def _start(self, pc: int, started: tuple[int, int] | None = None) -> tuple[int, int]:
        """Run until the engine stops; return Unicorn's status and the pc. `started` is as for `_enter`."""
        code_pages = self._code_pages
        while True:
            if started is None:
                self._begin.value = pc
                if code_pages is not None:
                    code_pages.set_exits(self._until.value)
                status, pc = self._start_engine()
            else:
                (status, pc), started = started, None
            refused = code_pages is not None and (status in _PROTECTION or pc in code_pages.bad)
            if refused:
                assert code_pages is not None
                status = self._permitted(code_pages, status, pc)
            if not (refused and status == uc.UC_ERR_OK) and not (self._late and self._made_late(status, pc)):
                if status in STORE_FAULTS:
                    self._forget_stops()
                return status, pc
            pc = self._read_place() | self.code_state
            if self._inspector is not None:
                self._begin_inspection(self._inspector, pc)

    def _start_engine(self) -> tuple[int, int]:
        """Run the engine from `_begin`; return its status and the pc."""
        return self._engine_run.run(), self._unpack_place()

    def _read_place(self) -> int:
        """The pc after a stop; Arm: and the state."""
        place = self._place
        reg_read_batch(self._handle, place.numbers, place.places, place.count)
        return self._unpack_place()

    def _unpack_place(self) -> int:
        """The pc, out of the registers that have been read after a stop."""
        self._at_stop = values = self._place.unpack(self._place.array)
        if self._interworking:
            self.code_state = values[1] >> 5 & 1
        return int(values[0])

    def _permitted(self, code_pages: CodePages, status: int, pc: int) -> int:
        """The status after a fetch or store that the guest may make, but the engine may not yet: UC_ERR_OK to
        continue. REFUSED before what must not be translated.
        """
        if pc in code_pages.bad:
            self._forget_stops()
            return REFUSED
        if status == uc.UC_ERR_FETCH_PROT:
            return uc.UC_ERR_OK if code_pages.fetch(pc) else status
        address, size = self._seen.access()
        if self._observed is not None and self._observed.keeps_closed(address):
            return status  # the events open the page and step
        answer = code_pages.store(address, size, pc)
        if answer is Store.FAULT:
            return status
        self._seen.forget()
        metered = self._meter is not None and self._look.budget
        if self._meter is not None and metered:
            self._meter.interrupted(pc, False)
        if self._observed is not None:
            self._observed.repeats(pc)
        if answer is Store.AGAIN:
            return uc.UC_ERR_OK
        status = self._run_one(pc)
        if self._observed is not None and (after := self._read_place()) != pc:
            self._observed.interrupted(after)  # the rest of the block has not run
        code_pages.stepped()
        if self._meter is not None and metered:
            self._meter.ran_one()
        return status

    def _run_one(self, pc: int) -> int:
        """Run one instruction without inspecting or counting it; return Unicorn's status."""
        watched, budget, stack = self._watched, self._look.budget, self._look.watch
        looking, inexact = (watched.edges.left, watched.inexact.left) if watched is not None else (0, 0)
        self._look.budget, self._look.watch = 0, None
        if watched is not None:
            watched.edges.left, watched.instructions.left, watched.inexact.left = 0, 2, 0
        self._begin.value, self._at_stop = pc, None
        try:
            api.control(
                self._handle, uc.UC_CTL_TB_REMOVE_CACHE, pc, pc + 1
            )  # a longer translation would run whole
            return int(emu_start(self._handle, self._begin, self._until, api.NO_TIMEOUT, _ONE))
        finally:
            self._look.budget, self._look.watch = budget, stack
            if watched is not None:
                watched.edges.left, watched.instructions.left, watched.inexact.left = looking, 1, inexact

    def _verdict(self, watched: Watched, pc: int) -> Verdict:
        """How to continue from a stop at a new block, or at an instruction that the engine executes wrongly."""
        meter, thumb = self._meter, self._thumb_bit()
        if meter is not None:
            if watched.edges.stopped:
                meter.learn(pc)
                if self._limit_hooks is not None:
                    self._limit_hooks.code_changed()
            elif self._look.budget:
                meter.interrupted(pc, bool(thumb))
        observed, instruction = self._observed, not watched.edges.stopped
        if observed is not None:
            observed.new_block()
            if instruction:
                observed.interrupted(pc)
        if self._inspector is None:
            watched.forget()
            return Verdict(pc | thumb)
        self.in_misrun = True
        try:
            verdict = self._inspector.verdict(self, pc)
        finally:
            self.in_misrun = False
        if observed is not None and instruction and verdict.pc != pc:
            observed.ran_outside(pc, verdict.pc - pc)
        if meter is not None and self._look.budget and verdict.pc != pc:
            meter.ran_one()
        return verdict._replace(pc=verdict.pc | thumb) if thumb else verdict

    def _learn(self, pc: int, size: int) -> None:
        """Add the block before which the engine stopped to the meter."""
        assert self._meter is not None
        if self._limit_hooks is not None:
            self._limit_hooks.code_changed()
        if pc + size == self._until.value:  # a translation made now would continue after it
            self._meter.learn_cut(pc, size, bool(self._thumb_bit()))
        else:
            self._meter.learn(pc, size)

    def _interrupted(self) -> bool:
        """Whether a new block or an instruction to inspect has stopped the engine."""
        return self._watched is not None and self._watched.stopped()

    def _arm(self, timeout: float) -> None:
        self._need_hook("a time limit")
        WATCHDOG.arm(self._watch, timeout)

    def _metered(self, limit: int) -> Meter:
        """Make the next run stop after `limit` instructions."""
        if self._meter is None:
            hook = self._need_hook("an instruction limit")
            if self._watched is None:
                self._watched = Watched(self._handle, hook, self._slots, self._look)
                self._watched.edges.left = 1
            self._watched.stop_at_all()
            self._meter = Meter(self.arch, self._look, self._watched, self.read)
        self._meter.start(limit)
        return self._meter

    def _need_hook(self, purpose: str) -> int:
        if (address := stop_hook()) is None:
            raise MachineError(f"{purpose} cannot be kept exactly on this host ({platform.machine()})")
        return address

"""Unicorn, the engine of six ISAs, behind `Cpu`. The C library itself is `emu.cpu.unicorn.api`.

**Memory** is the caller's: `uc_mem_map_ptr` maps the numpy buffer itself, so the host reads and writes it
directly. Unicorn does not notice such writes, so `write` drops the translations. It is told of a mapping before a
run, or at the guest's first access (`emu.cpu.unicorn.late_maps`).

**Traps** are addresses where nothing is mapped. The guest's branch completes, the fetch fails with
UC_ERR_FETCH_UNMAPPED, and all registers are unchanged. The only hook is that of first calls, machine code, once a
jump slot has been bound lazily (`emu.cpu.hooks.first_call_hook`), so no Python code runs.

**Faults** need hooks, because the error code alone gives neither the data address nor the exception number. The
hooks are called for faults only and record their arguments; `_explain` interprets them.

**Stops from outside** (time limits, and so that Python may handle signals) and instruction limits are exact on all
six ISAs: the run can continue as if it had not been stopped. Of Unicorn 2.1.4 this is exact, by its source and by
experiment (`tests/cpu/test_stops.py`, docs/stops.md):

* `uc_emu_stop` called from within a hook that runs before a block or an instruction: what is done here, by the
  hook of `emu.cpu.hooks.stop_hook` before blocks, for stops from outside and for limits (`emu.cpu.hooks.meter`);
* `count=`, which is the same by a hook of Unicorn's own, and `until=` (it ends translation there), by which the
  last block before a limit is cut;
* a fetch of an unmapped page, an exception or a system call reported to a hook.

Exact on no ISA: `uc_emu_stop` from another thread, and `timeout=`, which is one; nor a stop in a hook on memory
accesses. They may stop in the middle of an instruction, which then runs twice. None of them is used.

**Stores** and the TLB are `emu.cpu.unicorn.quick_stores`. Where that is off, as with watched memory, Unicorn drops
the top 12 bits of a data address on x86_64, so a bad pointer that differs from a valid one only there (not
canonical, so it faults on hardware) is dereferenced. No memory is mapped up there.
"""

from __future__ import annotations

import ctypes
import weakref
from threading import get_ident
from typing import TYPE_CHECKING, Any, cast

from emu.cpu.closed import Closed
from emu.cpu.pages import PAGE_SIZE, PageMap
from emu.cpu.protocol import Protection, Stop, StopReason
from emu.cpu.unicorn import api
from emu.cpu.unicorn.api import uc
from emu.cpu.unicorn.code_pages import CodePages
from emu.cpu.unicorn.first_calls import UnicornFirstCalls
from emu.cpu.unicorn.heap_calls import UnicornHeapCalls
from emu.cpu.unicorn.isas import CPSR_IT, ISAS, MODELS
from emu.cpu.unicorn.late_maps import LateMaps
from emu.cpu.unicorn.memory import UnicornMemory
from emu.cpu.unicorn.quick_stores import QuickStores
from emu.cpu.unicorn.stops import BLOCK_ENDED, LIMIT_REACHED, REFUSED, STORE_FAULTS
from emu.cpu.unicorn.system import UnicornSystem
from emu.cpu.unicorn.untranslatable import UNTRANSLATABLE
from emu.cpu.watchdog import WATCHDOG, Watch
from relink.errors import MachineInUse, UnsupportedElf

if TYPE_CHECKING:
    from emu.cpu.hooks.meter import Meter
    from emu.cpu.unicorn.events import UnicornEvents

_FETCH_FAULTS = frozenset({StopReason.FETCH_UNMAPPED, StopReason.FETCH_PROTECTED})
_TRAP = StopReason.TRAP  # attributes of an enumeration are slow
#: What the engine returns at an unmapped address, or the one it was to run to.
_ARRIVED = frozenset({uc.UC_ERR_OK, uc.UC_ERR_FETCH_UNMAPPED})
_PROTECTED = frozenset({StopReason.READ_PROTECTED, StopReason.WRITE_PROTECTED, StopReason.FETCH_PROTECTED})

_SET_UP: dict[tuple[str, str | None], dict[str, int]] = {}  #: (ISA, model) -> register -> value after the set-up


def _release(handle: ctypes.c_void_p, watch: Watch, *kept_until_here: object) -> None:
    WATCHDOG.forget(watch)
    api.uclib.uc_close(handle)


class UnicornCpu(UnicornMemory, UnicornSystem):
    """A `Cpu` of one of Unicorn's six ISAs (x86_64, i386, aarch64, arm, riscv64, riscv32).

    Besides the psABI's: `mxcsr fpcw fpsw fptag` (x86), `fs_base gs_base` (x86_64), `pstate nzcv fpcr fpsr
    tpidr_el0` (aarch64), `cpsr fpscr tpidruro` (arm), `fcsr mstatus` (riscv). On i386, `GDT_PAGE` is the CPU's
    own. `model`: one of `isas.MODELS`; Cortex-M has `xpsr ipsr msp psp control primask basepri faultmask` too.
    """

    _first_calls: UnicornFirstCalls | None = None
    page_size = page_cost = PAGE_SIZE
    shares_memory = True
    executed = 0

    def __init__(self, arch: str, model: str | None = None) -> None:
        if arch not in ISAS:
            raise ValueError(f"Unicorn runs {', '.join(ISAS)}; not {arch}")
        if model is not None and (arch, model) not in MODELS:
            known = ", ".join(name for isa, name in MODELS if isa == arch) or "none"
            raise UnsupportedElf(arch, f"has no CPU model {model!r} on Unicorn (known: {known})")
        self.arch = arch
        isa = ISAS[arch] if model is None else MODELS[arch, model]
        self._handle = handle = api.open_engine(arch, isa)
        super().__init__(handle, isa)
        self._kept: list[Any] = [self._look, self._seen]
        self.heap_calls = UnicornHeapCalls(handle, self._slots, self._kept)
        self._free = weakref.finalize(self, _release, handle, self._watch, self._kept)
        self._free.atexit = False  # a thread that outlives the main thread may be in the engine
        api.install_recorders(handle, isa, self._seen)
        self._pages = PageMap()
        self._late = LateMaps(handle, arch, self._pages)
        if arch in UNTRANSLATABLE:
            self._code_pages = self._late.code_pages = CodePages(handle, arch, self._pages)
        cpsr = self._slots["cpsr"][0] if self._interworking else None
        self._stores = QuickStores(handle, self._pages, self._seen, model, cpsr, self._code_pages is None)
        self._install_stops()
        if self._code_pages is not None and self._inspector is not None:
            self._code_pages.on_search = self._inspector.forget
        self._trap_start = self._trap_end = 0
        self._returned = Stop(_TRAP, 0)  #: that of the first trap, at which most calls end
        self._set_up(model)

    def _set_up(self, model: str | None) -> None:
        """Set the registers of `UnicornIsa.setup` and `initial`. All engines of a model begin with the same
        registers, so what this writes is found once.
        """
        known = _SET_UP.get((self.arch, model))
        for name, value in (known or {}).items():
            number, buffer, reference = self._slots[name]
            buffer.value = value
            api.reg_write(self._handle, number, reference)
        if known is None:
            values = {}
            for name, bits in self._isa.setup.items():
                values[name] = value = self.read_register(name) | bits
                self.write_register(name, value)
            for name, value in self._isa.initial.items():
                values[name] = value
                self.write_register(name, value)
            _SET_UP[self.arch, model] = values

    def set_trap_range(self, start: int, size: int) -> None:
        """Set the trap range [start, start + size). Only read-only pages may be mapped there."""
        self._trap_start, self._trap_end = start, start + size
        self._returned = Stop(_TRAP, start)
        # Unicorn also stops, without an error, at its `until` address; make that a trap too.
        self._until.value = start

    # ---------------------------------------------------------------- running

    def run_engine(self, pc: int, max_instructions: int, timeout: float) -> Stop:
        """`run` without the events that take several runs of the engine (`emu.cpu.engine_events`)."""
        if self._running:
            self._refuse_other_threads()
            raise MachineInUse("the guest is running on this CPU: a signal handler cannot run it as well")
        if self._suspended is not None and pc & ~1 != self._suspended:
            self._leave()
        limit = max_instructions or self._unlimited
        if self._late:
            self._make_late(pc, counted=bool(limit))
        if self._stores.stale:
            self._stores.prepare(self._late, self._watch.runs)
        meter = self._metered(limit) if limit else None
        watch, watched, inspector, started = self._watch, self._watched, self._inspector, None
        watch.runs += 1
        try:
            self._running = get_ident()
            watch.running = True
            watch.fired, self._at_stop = False, None
            if timeout > 0:
                self._arm(timeout)
            if not (  # nothing has to be done first
                (inspector is not None and inspector.correction)
                or ((code_pages := self._code_pages) is not None and (code_pages.bad or code_pages.exits))
                or (self._every or self.stops_at_blocks or self._windows)
            ):
                if inspector is not None and pc & -inspector.align not in inspector.known:
                    self._begin_inspection(inspector, pc)
                self._begin.value = pc
                status = self._engine_run.run()
                at = self._unpack_place()
                unusual = self._look.stopped or self._late or self._native or (watched and watched.stopped())
                if self._trap_start <= at < self._trap_end and status in _ARRIVED and not unusual:
                    if self._first is not None:
                        self._settle_first()
                    return self._returned if at == self._trap_start else Stop(_TRAP, at)
                started = status, at
            return self._run_on(pc, started, meter)
        except BaseException:
            self._abandon()
            raise
        finally:
            watch.running, self._running = False, 0  # before any call, in which a signal handler may raise
            if meter is not None:
                meter.left, meter.request.budget = meter.request.budget, 0
            if timeout > 0:
                WATCHDOG.disarm(watch)
            if meter is not None or (inspector is not None and inspector.correction is not None):
                self._end_run(meter)

    def _run_on(self, pc: int, started: tuple[int, int] | None, meter: Meter | None) -> Stop:
        """Run, whatever happens; `started` is as for `_enter`."""
        windows = self._windows
        status, at = self._enter(pc, started) if windows is None else self._enter_with_devices(pc)
        if self._native is not None:
            api.raise_from_hooks(self._native)
        exact = not ((self._observed and self._observed.active) or (windows and windows.ended_by))
        stop = self._stop_of(status, at, meter, exact=exact)
        return self._let_go(stop) if windows and windows.held else stop

    @property
    def first_calls(self) -> UnicornFirstCalls | None:
        """See `Cpu.first_calls`. The hook is installed when this is first asked for."""
        traps = self._trap_start, self._trap_end
        if self._first_calls is None and self._native is None and traps[0] < traps[1]:
            self._first_calls = UnicornFirstCalls.of(self._handle, self._slots, self._isa, traps, self._kept)
        return self._first_calls

    _observed: UnicornEvents | None = None  #: what is behind `events`

    def _make_events(self) -> UnicornEvents:
        from emu.cpu.unicorn.events import UnicornEvents

        self._late.end()
        events = UnicornEvents(weakref.proxy(self), (1 << 64) - 2 if self._interworking else (1 << 64) - 1)
        if self._watched is not None:
            self._watched.observed_by(events.follow)
        if self._code_pages is not None:
            self._code_pages.observed = events
        return events

    @property
    def native(self) -> Any:
        """This engine as a `unicorn.Uc`; docs/events.md says what may be done with it."""
        if self._native is None:
            if self._first_calls is not None:
                self._first_calls.end()
            self._late.end()
            self._stores.end()
            self._seen.leave_stores(0)  # hooks of others may come after that for bad accesses, and permit them
            self._native = api.native(self._handle, self._isa, self)
        return self._native

    @property
    def handle(self) -> ctypes.c_void_p:
        """The engine, for the C API."""
        return self._handle

    @property
    def seen(self) -> api.Seen:
        """The records of the hooks."""
        return self._seen

    def record_all_faults(self, wanted: bool) -> None:
        """Whether each access that a page does not permit stops the engine, wherever it is."""
        if wanted:
            self._stores.suspend()
        else:
            self._stores.resume()

    def state_bit(self) -> int:
        """Arm: 1 in Thumb state; 0 on other ISAs."""
        return self._thumb_bit()

    def drop_translations(self, low: int, high: int) -> None:
        """Have code in [low, high) translated again."""
        piece = self._pages.at(low)
        if piece is not None and piece.protection & Protection.X and piece.start not in self._late:
            if self._meter is not None:
                self._meter.forget()
            api.control(self._handle, uc.UC_CTL_TB_REMOVE_CACHE, low, high)

    def drop_all_translations(self) -> None:
        """Have all code translated again."""
        if self._meter is not None:
            self._meter.forget()
        api.control(self._handle, uc.UC_CTL_TB_FLUSH)

    def _explain(self, status: int, pc: int) -> Stop:
        """The Stop for an engine that returned with a pc outside the trap range."""
        if self._windows is not None and self._windows.ended_by is not None:
            stop = self._device_stop(self._windows)
            self._suspended = stop.pc if self._interworking else None
            return stop
        address, number = self._take_seen()
        if number is not None:
            isa, self.exception = self._isa, number
            if number in isa.overshooting:
                before = self._before(pc, 2) if isa.constants == "x86" else b""
                pc = self._rewind(pc, isa.overshoot(number, before, bool(self.code_state)))
            stop = Stop(isa.exceptions.get(number, StopReason.EXCEPTION), pc)
        elif status == uc.UC_ERR_FETCH_UNMAPPED and self._stores.is_never_executed(pc):
            stop = Stop(StopReason.FETCH_PROTECTED, pc)  # as the engine itself tells it; at the end of handlers
        elif status == BLOCK_ENDED:
            stop = Stop(StopReason.BLOCK, pc)
        elif status in (uc.UC_ERR_OK, LIMIT_REACHED) or (status == uc.UC_ERR_INSN_INVALID and self._waits(pc)):
            stop = (self._observed and self._observed.stop(pc)) or self._ended(pc)
        else:
            reason = api.FAULTS.get(status, StopReason.EXCEPTION)
            if status == REFUSED:
                reason = StopReason.INVALID_INSTRUCTION
            elif reason is StopReason.INVALID_INSTRUCTION:
                reason = self._isa.refused
            elif reason in _FETCH_FAULTS:
                address = fetched = self._fetched(pc)
                if self._stores.is_never_executed(fetched):  # as the engine itself tells it
                    reason, address = StopReason.FETCH_PROTECTED, None
                if fetched != pc:
                    return self._approach(reason, pc, fetched)
            stop = self._fault(reason, pc, self._full_address(address))
        self._suspended = stop.pc if self._interworking and stop.reason is not StopReason.SYSCALL else None
        return stop

    def _fault(self, reason: StopReason, pc: int, address: int | None) -> Stop:
        if reason in _PROTECTED:  # afterwards the engine's TLB would let reads of the page pass
            api.control(self._handle, uc.UC_CTL_TLB_FLUSH)
        return Stop(reason, pc, address)

    def _approach(self, reason: StopReason, pc: int, page: int) -> Stop:
        """Run up to the start of an unfetchable page, and fault there.

        The x86 front end reads into the next page before it runs the code in this one, and then faults at the
        start of the whole block.
        """
        # The block is inspected as the first of a run: Unicorn drops it each time it stops before `page`.
        edges = None if self._inspector is None or self._watched is None else self._watched.edges
        if self._inspector is not None:
            self._inspector.begin(pc)
        until = self._until.value
        try:
            self._until.value = page
            if edges is not None:
                edges.left = 0
            status, reached = self._enter(pc | self._thumb_bit())
        finally:  # without a call, in which a signal handler may raise
            self._until.value = until
            if edges is not None:
                edges.left = 1
        if status in STORE_FAULTS:
            return self._explain(status, reached)
        if reached == pc and self._observed is not None and (event := self._observed.stop(pc)) is not None:
            return event
        if reached in (page, pc):  # pc: the instruction itself straddles the two pages
            return self._fault(reason, reached, page)
        if self._trap_start <= reached < self._trap_end:
            return Stop(StopReason.TRAP, reached)
        return self._explain(status, reached)

    def _ended(self, pc: int) -> Stop:
        """The Stop for a run that ended without an error: a limit, or an instruction that waits for an interrupt
        (hlt, wfi).
        """
        last = None if self._meter is None else self._meter.ended(pc)
        if last is not None and (last == pc or self._before(pc, pc - last) not in self._isa.halts):
            return Stop(StopReason.INSTRUCTION_LIMIT, pc)
        if self._watch.fired:
            return Stop(StopReason.TIMEOUT, pc)
        halts = (len(halt) for halt in self._isa.halts if self._before(pc, len(halt)) == halt)
        size = next(halts, 0)
        return Stop(StopReason.WAIT if size else StopReason.EXCEPTION, self._rewind(pc, size))

    def _waits(self, pc: int) -> bool:
        """Whether the engine stopped after an instruction that waits, and not at the instruction at `pc`."""
        return self._is_behind(self._begin.value & ~1, pc) and any(
            self._before(pc, len(halt)) == halt for halt in self._isa.halts
        )

    def _rewind(self, pc: int, distance: int) -> int:
        if distance:
            pc -= distance
            self.write_register("pc", pc | self._thumb_bit())
        return pc

    def _leave(self) -> None:
        """Arm: clear the state of the IT block in which the guest was stopped, and where it does not continue.

        Otherwise the first instructions of the next run would be conditional.
        """
        self.write_register("cpsr", self.read_register("cpsr") & ~CPSR_IT)

    def continue_at(self, pc: int) -> None:
        """See `DeviceCpu.continue_at`."""
        self._suspended = pc & ~1 if self._interworking else None

    def hand_over(self, other: Any) -> None:
        """Let the engine live as long as another object, which will have this one's attributes."""
        found = self._free.detach()
        if found is not None:
            _, release, arguments, _ = found
            self._free = weakref.finalize(other, release, *arguments)
            self._free.atexit = False

    def close(self) -> None:
        """Free the engine and release all buffers. The CPU then raises MachineError. Raises MachineInUse while the
        guest runs on it.
        """
        if self._running:
            raise MachineInUse("the guest is running on this CPU: it cannot be closed")
        if self._observed is not None and self._free.alive:
            self._observed.closing()
        self._free()
        self._late.clear()
        # Calling the freed engine would crash; all calls go through one of these.
        self._handle = self._begin = self._slots = self._batches = self._pages = cast(Any, Closed())
        self._suspended = None
        if self._native is not None:
            self._native._uch = self._handle

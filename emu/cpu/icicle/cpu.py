"""LoongArch64 on icicle. Peculiarities of the engine that this module hides:

* It has no callbacks. An instruction that its p-code cannot express (see `loongarch64.hostops`) stops the engine;
`run` executes it in Python and continues. * It never invalidates translated code. When code that may have run is
written, unmapped or loses its execute permission, the engine is rebuilt with its memory before the next run
(`_refresh`), which is slow but rare. * It refuses a guest's store to code that has run; the same refresh permits
the store. * Memory cannot be shared: `map` copies the caller's buffer once. * It can only be used in the thread
that created it: the Rust object panics in another thread.

**Stops.** A run is split into slices by the engine's instruction limit, which is exact. Between slices Python
handles signals and checks the clock. The engine is never stopped from another thread.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from emu.cpu import watchdog
from emu.cpu.icicle.changed_code import SCRATCH_PAGE, is_other_code, run_alone
from emu.cpu.icicle.engine import HAS_ADDRESS, Engine, nonzero_blocks
from emu.cpu.icicle.heap_calls import IcicleHeapCalls
from emu.cpu.icicle.tiers import EngineTiers
from emu.cpu.loongarch64.registers import INTEGER_REGISTERS
from emu.cpu.observed import ObservedEngine
from emu.cpu.pages import map_each
from emu.cpu.protocol import Pages, Stop, StopReason
from relink.arrays import U8
from relink.errors import AddressSpaceError, MachineInUse
from relink.memory.address_space import Protection

if TYPE_CHECKING:
    from emu.cpu.icicle.events import IcicleEvents

PAGE_SIZE = 4096

_WORD = (1 << 64) - 1
_WRITTEN_AND_RUN = int(Protection.W | Protection.X)
_TRAP = StopReason.TRAP
_NOT_BEGUN = {StopReason.FETCH_UNMAPPED, StopReason.FETCH_PROTECTED, StopReason.INVALID_INSTRUCTION}


class IcicleCpu(EngineTiers, ObservedEngine):
    """A LoongArch64 hart (base integer, F, D, LSX, atomics). Implements `emu.cpu.Cpu`.

    Besides the integer registers it has `f0`-`f31` (also `fa0`…, `ft0`…, `fs0`…; raw 64-bit patterns),
    `fcc0`-`fcc7`, `fcsr` and `pc`; `r0`-`r31` are accepted for the integer registers. `v0`-`v31` (`vr0`…) are
    the vectors, 128 bits each, of which `f0`-`f31` are the lower halves.
    """

    page_size = PAGE_SIZE
    page_cost = 8448  #: measured: the engine keeps a byte of permissions beside each byte
    shares_memory = False
    registers = (*INTEGER_REGISTERS, "pc")
    first_calls = None

    def __init__(self, arch: str = "loongarch64") -> None:
        if arch != "loongarch64":
            raise ValueError(f"this CPU runs loongarch64, not {arch}")
        self.arch = arch
        super().__init__()
        self._running = False
        self.heap_calls = IcicleHeapCalls()
        self.executed = 0
        #: What signal handlers have written to code during a run: (address, bytes). Written between two slices.
        self._late_code: list[tuple[int, bytes]] = []
        self._trap_start = self._trap_end = 0
        #: Instructions per slice at most.
        self._most = watchdog.stop_every or _WORD

    # ---------------------------------------------------------------- memory

    def set_trap_range(self, start: int, size: int) -> None:
        """Declare [start, start + size) the trap range; nothing may be mapped there."""
        self._trap_start, self._trap_end = start, start + size

    def map(self, address: int, size: int, protection: Protection, buffer: U8, *, zeroed: bool = False) -> None:
        """Map a copy of `buffer` (uint8, `size` bytes). Raises AddressSpaceError on overlap."""
        end = self._range(address, size)
        reserved = (self._trap_start, self._trap_end), (SCRATCH_PAGE, SCRATCH_PAGE + PAGE_SIZE)
        collides = any(address < stop and start < end for start, stop in reserved)
        if collides or self._pages.overlapping(address, end):
            raise AddressSpaceError("memory is already mapped", address=address, size=size)
        engine, spans = self._engine, self._pages.with_span(address, end, protection)
        try:
            engine.mem_map(address, size, protection)
            self._pages.spans = spans
        except self._words.memory_error:
            raise AddressSpaceError("the engine refuses to map", address=address, size=size) from None
        except BaseException:  # of a signal handler, before or after the engine has mapped it
            with suppress(self._words.memory_error):
                engine.mem_unmap(address, size)
            raise
        if self._first_writes is not None:
            self._first_writes.added(address, end)
        if not zeroed:  # to look at all pages of a stack takes longer than the rest of a machine
            self._fill(address, buffer.data.cast("B"))
        if protection & Protection.X:
            self._became_executable(address)
        self._remapped(address, size)

    def map_all(self, regions: Sequence[tuple[int, U8, Sequence[Pages]]]) -> None:
        """Map copies of runs of pages of several regions; see `Cpu.map_all`."""
        map_each(self.map, regions)

    def protect(self, address: int, size: int, protection: Protection) -> None:
        """Change the permissions of mapped pages. Raises AddressSpaceError if one is not mapped."""
        end = self._mapped_range(address, size)
        self._forget(address, end)
        engine, spans = self._engine, self._pages.with_span(address, end, protection)
        if self._observed is not None:
            self._observed.remapping(address, size)
        try:
            engine.mem_protect(address, size, protection)
        finally:  # also where a signal handler raises right after the call
            self._pages.spans = spans
        if self._first_writes is not None:
            self._first_writes.protected(address, end)
        if protection & Protection.X:
            self._became_executable(address)
        self._remapped(address, size)

    def unmap(self, address: int, size: int) -> None:
        """Unmap pages. Raises AddressSpaceError if one is not mapped."""
        end = self._mapped_range(address, size)
        if self._first_writes is not None:
            self._first_writes.removing(address, end)
        self._forget(address, end)
        self.heap_calls.unmapped(address, end)
        for span in self._pages.overlapping(address, end):
            remaining = self._pages.without(span.start, span.end)
            try:
                self._engine.mem_unmap(span.start, span.end - span.start)
            finally:  # also where a signal handler raises right after the call
                self._pages.spans = remaining

    def read(self, address: int, size: int) -> bytes:
        """Read guest memory, ignoring permissions. Raises GuestAccessError if any byte is unmapped."""
        return self._read(address, size, Protection.NONE)

    def load(self, address: int, size: int) -> bytes:
        """Read guest memory with the guest's permissions. Raises GuestAccessError if any byte is not readable."""
        return self._read(address, size, Protection.R)

    def _read(self, address: int, size: int, needed: Protection) -> bytes:
        if not size:
            return b""
        # The engine allocates the size before checking it, and aborts the process when that fails.
        self._pages.require(address, size, needed, write=False)
        data = self._engine.mem_read(address, size)
        for start, late in self._late_code:
            if start < address + size and address < start + len(late):
                first, last = max(start, address), min(start + len(late), address + size)
                data = data[: first - address] + late[first - start : last - start] + data[last - address :]
        if needed and self._observed is not None and self._observed.watching:
            self._observed.host_accesses(address, size, data, write=False)
        return data

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Write guest memory, ignoring permissions. Raises GuestAccessError if any byte is unmapped."""
        self._write(address, data, Protection.NONE)

    def store(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Write guest memory with the guest's permissions. Raises GuestAccessError, with nothing written."""
        self._write(address, data, Protection.W)

    def extent(self, address: int, needed: Protection) -> int:
        """The number of bytes from `address` on that allow `needed`; see `Cpu.extent`."""
        span = self._pages.find(address)
        if span is None or (needed and int.__and__(span.protection, needed) != needed):
            return 0
        return span.end - address

    def _write(self, address: int, data: bytes | bytearray | memoryview, needed: Protection) -> None:
        size = len(data)
        if not size:
            return
        self._pages.require(address, size, needed, write=True)
        if self._late_code or self._ran.overlapping(address, address + size):
            if self._observed is not None:
                self._observed.forget_blocks()
            if self._running or self._late_code:
                self._late_code.append((address, bytes(data)))
                return
            self._refresh()
        observed = self._observed if needed and self._observed is not None and self._observed.watching else None
        before = self.read(address, size) if observed is not None else b""
        self._write_engine(address, bytes(data))
        if observed is not None:
            observed.host_accesses(address, size, before, write=True)

    def _write_engine(self, address: int, data: bytes) -> None:
        if self._first_writes is not None:
            self._first_writes.writing(address, address + len(data))
        self._engine.mem_write(address, data)
        if self._late_writes is not None:
            self._late_writes.append((address, data))

    def _write_late_code(self) -> None:
        """Write what signal handlers have changed in code during a run."""
        self._refresh()
        while self._late_code:
            self._write_engine(*self._late_code[0])
            del self._late_code[0]

    def _range(self, address: int, size: int) -> int:
        """The end of a page range; raises AddressSpaceError if it is not one."""
        if address % PAGE_SIZE or size % PAGE_SIZE or size <= 0 or not 0 <= address <= _WORD + 1 - size:
            raise AddressSpaceError("not a range of whole pages", address=address, size=size)
        return address + size

    def _mapped_range(self, address: int, size: int) -> int:
        end = self._range(address, size)
        if not self._pages.covers(address, end):
            raise AddressSpaceError("memory is not mapped", address=address, size=size)
        return end

    def _fill(self, address: int, data: memoryview) -> None:
        """Write into fresh zero memory, skipping zero blocks, so that they use no host memory."""
        for offset, block in nonzero_blocks(data):
            self._engine.mem_write(address + offset, block)

    # ---------------------------------------------------------------- running

    def run_engine(self, pc: int, max_instructions: int, timeout: float) -> Stop:
        """`run` without the events that take several runs of the engine (`emu.cpu.engine_events`)."""
        if self._running:
            raise MachineInUse("the guest is running on this CPU: a signal handler cannot run it as well")
        deadline = time.monotonic() + timeout if timeout else 0.0
        try:
            self._running = True
            if self._hot.left <= 0 or self._stale or not self._ran_current:
                self._engine.raw.pc = pc  # which another engine takes over
                if self._hot.left <= 0:
                    self._look(pc)
                if self._stale or not self._ran_current:
                    self._prepare()
            stop = self._run(pc, max_instructions or -1, deadline)
            # The engine counts an instruction that faults, except one that it cannot fetch or decode.
            if stop.reason is not _TRAP and stop.reason.is_fault and stop.reason not in _NOT_BEGUN:
                self.executed -= 1
            return stop
        finally:
            self._running = False
            if self._late_code:
                self._write_late_code()

    def _run(self, pc: int, limit: int, deadline: float) -> Stop:
        """Run in slices of instructions: each ends exactly, and then Python handles signals."""
        engine, words = self._engine, self._words
        engine.complete()
        engine.raw.pc = pc
        self.executed = 0
        while True:
            if self._late_code:
                self._write_late_code()
                self._prepare()
                engine = self._engine
            status = self._slice(engine, limit if limit < 0 else limit - self.executed)
            pc = engine.raw.pc
            if self._trap_start <= pc < self._trap_end:
                return Stop(_TRAP, pc)
            if status != words.instruction_limit:
                if status == words.breakpoint:
                    return Stop(StopReason.BREAK, pc)
                stop = self._exception(int(engine.raw.exception_code), pc)
                if stop is not None:
                    return stop
                engine = self._engine
                pc = engine.raw.pc
            if 0 <= limit <= self.executed:
                return Stop(StopReason.INSTRUCTION_LIMIT, pc)
            if deadline and time.monotonic() >= deadline:
                return Stop(StopReason.TIMEOUT, pc)
            if self._hot.left <= 0:
                self._look(pc)
                engine = self._engine

    def _slice(self, engine: Engine, limit: int) -> Any:
        """Run a slice of at most `limit` instructions (negative: any number), and count it; return the status."""
        hot, raw = self._hot, engine.raw
        size = hot.slice if hot.slice < self._most else self._most
        if 0 <= limit < size:
            size = limit
        if not engine.jit and hot.left < size:
            size = hot.left
        raw.icount = 0
        raw.icount_limit = size
        try:
            started = time.perf_counter()
            status = raw.run()
            seconds = time.perf_counter() - started
            if raw.pc in self.heap_calls.places:
                status, more = self.heap_calls.go_on(engine, status, self._late_code)
                seconds += more
        finally:  # also where a signal handler raises between two functions of the heap
            ran: int = raw.icount
            self.executed += ran
        (hot.ran if engine.jit else hot.interpreted)(ran, seconds)
        return status

    def _exception(self, code: int, pc: int) -> Stop | None:
        """Handle the engine's exception at `pc`. Returns the Stop, or None if the guest can go on."""
        engine, words = self._engine, self._words
        if code == words.host_operation:
            try:
                reason = engine.host.execute(pc)
            except words.memory_error:  # a signal handler has unmapped the code: the engine will stop there
                return None
            if reason is not None:
                return Stop(reason, pc)
            engine.raw.pc = pc + 4 & _WORD
            if engine.host.fetches_anew:
                engine.host.fetches_anew = False
                self._fetch_anew(pc + 4 & _WORD)
        elif code == words.self_modifying:
            other = is_other_code(engine, pc)
            self._drop_translations(pc)
            if not other and not run_alone(self._engine, pc):  # refused for another reason too
                return self._exception(int(self._engine.raw.exception_code), pc)
        elif code in words.refused and engine.admit(int(engine.raw.exception_value)):
            self.executed -= 1  # it is repeated
        elif code == words.write_refused and self._admitted():
            self.executed -= 1
        elif code == words.not_compiled:
            self._prepare(refresh=True)
        else:
            return self._stop(code, pc)
        return None

    def _fetch_anew(self, pc: int) -> None:
        """After an `ibar`, run what is in memory: the engine does not notice every store to code."""
        if any(int.__and__(span.protection, _WRITTEN_AND_RUN) == _WRITTEN_AND_RUN for span in self._ran.spans):
            self._drop_translations(pc)

    def _drop_translations(self, pc: int) -> None:
        self._prepare(refresh=True)
        self._engine.raw.pc = pc

    # ---------------------------------------------------------------- events

    _observed: IcicleEvents | None = None

    def _make_events(self) -> IcicleEvents:
        from emu.cpu.icicle.events import IcicleEvents

        return IcicleEvents(weakref.proxy(self))

    def _remapped(self, address: int, size: int) -> None:
        if self._observed is not None:
            self._observed.remapped(address, size)

    @property
    def native(self) -> Any:
        """This engine as an `icicle.Icicle`, for good: code is not compiled from now on."""
        self.jit = False
        self._engine.reusable = False  # whoever has the handle may keep it
        return self._engine.raw

    def _stop(self, code: int, pc: int) -> Stop:
        """The engine's exception as a Stop."""
        reason = self._words.reasons.get(code, StopReason.EXCEPTION)
        if reason not in HAS_ADDRESS:
            return Stop(reason, pc)
        address = int(self._engine.raw.exception_value)
        if code == self._words.fetch_refused:
            address = pc
            if self._pages.find(pc):
                reason = StopReason.FETCH_PROTECTED
        return Stop(reason, pc, address)

    def close(self) -> None:
        """Free the engine and its memory. The CPU cannot be used afterwards. Raises MachineInUse while the guest
        runs on it.
        """
        if self._running:
            raise MachineInUse("the guest is running on this CPU: it cannot be closed")
        if self._observed is not None:
            self._observed.closing()
        self._leave()

"""Unicorn, the engine of six ISAs. The only file that imports it.

The C library is called through ctypes with buffers made once: the Python binding's own methods cost four
times as much as the engine on a short run. Every call below is of Unicorn's C API (unicorn/unicorn.h).

**Memory** is the caller's: `uc_mem_map_ptr` maps the numpy buffer itself, so the host reads and writes it
directly. Unicorn does not see such writes, and keeps running what it once translated from there; `write`
makes it forget.

**Traps** are addresses where nothing is mapped. The guest's branch completes, the fetch fails with
UC_ERR_FETCH_UNMAPPED, and every register is as the guest left it. No hook sees it, so no Python runs.

**Faults** need hooks, for the error code alone gives neither the data address nor the exception number. The
hooks fire on faults only and write down what they see; all judgement is in `_explain`.

**Known weakness**: on x86_64 Unicorn drops the top 12 bits of a data address, so a wild pointer that differs from
a good one only there (which is not canonical, and faults on hardware) is followed. The engine's other address
translation (UC_TLB_VIRTUAL) would not, and is six times slower on loads and stores.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, NoReturn, cast

import numpy as np
import unicorn.arm64_const
import unicorn.arm_const
import unicorn.riscv_const
import unicorn.unicorn_const as uc
import unicorn.x86_const
from numpy.typing import NDArray
from unicorn.unicorn_py3.unicorn import uclib

from emu.cpu.inspector import Inspector
from emu.cpu.misrun import FINDERS
from emu.cpu.pages import PAGE_SIZE, PageMap, Piece
from emu.cpu.protocol import CpuContext, Protection, Stop, StopReason
from emu.cpu.unicorn_isas import GDT_FLAT, GDT_PAGE, GDT_TLS, ISAS, UnicornIsa, gdt_entry
from emu.cpu.watchdog import WATCHDOG, Watch
from relink.errors import AddressSpaceError, MachineError

#: The engine never drops translated code but for want of room: by default it takes a gigabyte before.
_TRANSLATED: Final = 32 << 20
# As uc_ctl encodes a call that writes one argument.
_SET_TRANSLATION_BUFFER: Final = uc.UC_CTL_TCG_BUFFER_SIZE | 1 << 26 | uc.UC_CTL_IO_WRITE << 30
_NO_TIMEOUT: Final = ctypes.c_uint64(0)
_CPSR_IT: Final = 0x0600_FC00  # CPSR[26:25] and [15:10], the state of a Thumb IT block
_SYSCALL_INSTRUCTION: Final = 0x80  # syscall and sysenter, under the number of the i386 system call

_CONSTANTS = {
    "x86": unicorn.x86_const,
    "arm64": unicorn.arm64_const,
    "arm": unicorn.arm_const,
    "riscv": unicorn.riscv_const,
}

# The binding's prototypes convert every argument again on every call. These have none: what is passed below
# has its C type already.
_emu_start, _emu_stop = uclib["uc_emu_start"], uclib["uc_emu_stop"]
_reg_read, _reg_write = uclib["uc_reg_read"], uclib["uc_reg_write"]
_reg_read_batch, _reg_write_batch = uclib["uc_reg_read_batch"], uclib["uc_reg_write_batch"]

_MEMORY_HOOK = ctypes.CFUNCTYPE(
    ctypes.c_bool,
    ctypes.c_void_p,
    ctypes.c_int,
    ctypes.c_uint64,
    ctypes.c_int,
    ctypes.c_int64,
    ctypes.c_void_p,
)
_INTERRUPT_HOOK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p)
_INSTRUCTION_HOOK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)

#: Protection (ELF's bit order) -> UC_PROT_*.
_UC_PROTECTION = tuple(
    (uc.UC_PROT_READ if p & Protection.R else 0)
    | (uc.UC_PROT_WRITE if p & Protection.W else 0)
    | (uc.UC_PROT_EXEC if p & Protection.X else 0)
    for p in range(8)
)

_FAULTS = {
    uc.UC_ERR_READ_UNMAPPED: StopReason.READ_UNMAPPED,
    uc.UC_ERR_WRITE_UNMAPPED: StopReason.WRITE_UNMAPPED,
    uc.UC_ERR_FETCH_UNMAPPED: StopReason.FETCH_UNMAPPED,
    uc.UC_ERR_READ_PROT: StopReason.READ_PROTECTED,
    uc.UC_ERR_WRITE_PROT: StopReason.WRITE_PROTECTED,
    uc.UC_ERR_FETCH_PROT: StopReason.FETCH_PROTECTED,
    uc.UC_ERR_READ_UNALIGNED: StopReason.UNALIGNED,
    uc.UC_ERR_WRITE_UNALIGNED: StopReason.UNALIGNED,
    uc.UC_ERR_FETCH_UNALIGNED: StopReason.UNALIGNED,
    uc.UC_ERR_INSN_INVALID: StopReason.INVALID_INSTRUCTION,
    uc.UC_ERR_EXCEPTION: StopReason.EXCEPTION,
}
_REFUSED: Final = -1  #: the status of an instruction that `emu.cpu.inspector` refuses
_FETCH_FAULTS = frozenset({StopReason.FETCH_UNMAPPED, StopReason.FETCH_PROTECTED})


class _Wide(ctypes.Structure):
    """A 128-bit register buffer that speaks int, as ctypes' own integers do."""

    _fields_ = (("low", ctypes.c_uint64), ("high", ctypes.c_uint64))

    @property
    def value(self) -> int:
        return int(self.low) | int(self.high) << 64

    @value.setter
    def value(self, value: int) -> None:
        self.low, self.high = value, value >> 64  # ctypes drops what does not fit


#: A register's width in bytes -> the type of its buffer.
_BUFFERS: Mapping[int, Any] = {
    2: ctypes.c_uint16,
    4: ctypes.c_uint32,
    8: ctypes.c_uint64,
    10: _Wide,
    16: _Wide,
}


class _Seen:
    """What the hooks saw during a run. They hold this and not the Cpu, which can so be freed at once."""

    __slots__ = ("address", "interrupt")

    def __init__(self) -> None:
        self.address: int | None = None  #: data address of a memory fault
        self.interrupt: int | None = None  #: exception number


class _Batch(NamedTuple):
    """Arguments of uc_reg_read_batch for one sequence of register names."""

    identifiers: Any
    pointers: Any
    buffers: tuple[Any, ...]
    length: int


class UnicornError(AddressSpaceError):
    """Unicorn refused a request about memory or set-up; the message is its own."""


def _check(status: int, action: str, address: int | None = None, size: int | None = None) -> None:
    if status != uc.UC_ERR_OK:
        reason = uclib.uc_strerror(status).decode("ascii", "replace")
        raise UnicornError(f"Unicorn cannot {action}: {reason}", address=address, size=size)


def _control(handle: ctypes.c_void_p, kind: int, *values: int) -> int:
    """uc_ctl for writing: UC_CTL_WRITE(kind, number of arguments)."""
    request = kind | len(values) << 26 | uc.UC_CTL_IO_WRITE << 30
    return int(uclib.uc_ctl(handle, ctypes.c_int(request), *(ctypes.c_uint64(value) for value in values)))


def _release(handle: ctypes.c_void_p, watch: Watch, *kept_until_here: object) -> None:
    WATCHDOG.forget(watch)
    uclib.uc_close(handle)


class _Context:
    """Saved registers, freed with the object."""

    def __init__(self, handle: ctypes.c_void_p) -> None:
        self.pointer = ctypes.c_void_p()
        _check(uclib.uc_context_alloc(handle, ctypes.byref(self.pointer)), "allocate a context")
        weakref.finalize(self, uclib.uc_context_free, self.pointer)


class _Closed:
    """Stands where a closed CPU had its engine."""

    def _refuse(self, *_: object) -> NoReturn:
        raise MachineError("the CPU has been closed")

    __getattr__ = __setattr__ = __getitem__ = _refuse

    @property
    def _as_parameter_(self) -> NoReturn:  # how ctypes asks for an argument
        raise MachineError("the CPU has been closed")


class _Watched:
    """The engine as `emu.cpu.inspector` uses it."""

    def __init__(self, handle: ctypes.c_void_p) -> None:
        self._handle = handle

    def stop(self) -> None:
        _emu_stop(self._handle)

    def hook_edges(self, callback: Any) -> None:
        self._hook(uc.UC_HOOK_EDGE_GENERATED, callback, 1, 0)

    def hook_instruction(self, callback: Any, address: int) -> None:
        self._hook(uc.UC_HOOK_CODE, callback, address, address)

    def drop(self, low: int, high: int) -> None:
        _control(self._handle, uc.UC_CTL_TB_REMOVE_CACHE, low, high)

    def _hook(self, kind: int, callback: Any, low: int, high: int) -> None:
        hook, function = ctypes.c_size_t(), ctypes.cast(callback, ctypes.c_void_p)
        place = ctypes.c_uint64(low), ctypes.c_uint64(high)
        _check(uclib.uc_hook_add(self._handle, ctypes.byref(hook), kind, function, None, *place), "install a hook")


class UnicornCpu:
    """A `Cpu` of one of Unicorn's six ISAs (x86_64, i386, aarch64, arm, riscv64, riscv32).

    Besides the psABI's registers: `mxcsr fpcw fpsw fptag` (x86), `fs_base gs_base` (x86_64), `pstate nzcv
    fpcr fpsr tpidr_el0` (aarch64), `cpsr fpscr tpidruro` (arm), `fcsr mstatus` (riscv). On i386 the page
    at `GDT_PAGE` (0xffffe000) is the CPU's own. Not thread-safe, like any CPU.
    """

    page_size = page_cost = PAGE_SIZE
    shares_memory = True

    def __init__(self, arch: str) -> None:
        if arch not in ISAS:
            raise ValueError(f"Unicorn runs {', '.join(ISAS)}; not {arch}")
        self.arch = arch
        self._isa = isa = ISAS[arch]
        self.registers = isa.printed
        self._handle = handle = ctypes.c_void_p()
        engine, mode = getattr(uc, f"UC_ARCH_{isa.engine}"), getattr(uc, f"UC_MODE_{isa.mode}")
        _check(uclib.uc_open(engine, mode, ctypes.byref(handle)), f"open {arch}")
        size = ctypes.c_uint32(_TRANSLATED)
        _check(uclib.uc_ctl(handle, _SET_TRANSLATION_BUFFER, size), "bound the cache of translated code")
        self._watch = Watch(lambda: _emu_stop(handle))
        WATCHDOG.add(self._watch)
        self._seen = _Seen()
        hooks = _hooks(handle, self._seen)
        self._free = weakref.finalize(self, _release, handle, self._watch, *hooks)
        if isa.model:
            model = getattr(_CONSTANTS[isa.constants], f"UC_CPU_{isa.model}")
            _check(_control(handle, uc.UC_CTL_CPU_MODEL, model), "choose the CPU model")
        _install(handle, isa, hooks)
        self._slots = _register_slots(isa)
        self._batches: dict[tuple[str, ...], _Batch] = {}
        self._pages = PageMap()
        #: Steps in where the engine would run an instruction wrong; None where none is known.
        self._inspector = Inspector(arch, _Watched(handle), self._pages.read) if arch in FINDERS else None
        self._begin, self._until = ctypes.c_uint64(), ctypes.c_uint64((1 << 8 * isa.word) - 1)
        self._count = ctypes.c_size_t()
        self._counting = False
        self._trap_start = self._trap_end = 0
        self._suspended: int | None = None  # Arm: where a fault or limit may have left an IT block
        self._pc_slot = self._slots["pc"]
        #: Names of the program counter that read with the Thumb bit.
        self._interworking = frozenset({"pc", "r15"} if arch == "arm" else ())
        for name, bits in isa.setup.items():
            self.write_register(name, self.read_register(name) | bits)
        self._gdt: NDArray[np.uint8] | None = None
        if isa.thread_pointer is None:
            self._map_gdt()

    def set_trap_range(self, start: int, size: int) -> None:
        """Declare [start, start + size) the trap range. Only read-only pages may be mapped there."""
        self._trap_start, self._trap_end = start, start + size
        # Unicorn also stops, without an error, where it is told to run until; let that be a trap as well.
        self._until.value = start

    # ---------------------------------------------------------------- memory

    def map(self, address: int, size: int, protection: Protection, buffer: NDArray[np.uint8]) -> None:
        """Map `buffer` itself; see `Cpu.map`. Raises AddressSpaceError on overlap or a misfit buffer."""
        if buffer.nbytes != size or buffer.dtype != np.uint8 or not buffer.flags.c_contiguous:
            raise AddressSpaceError("the buffer does not fit the mapping", address=address, size=size)
        if buffer.ctypes.data % PAGE_SIZE:
            raise AddressSpaceError("the buffer is not page-aligned", address=address, size=size)
        overlaps = address < self._trap_end and self._trap_start < address + size
        if overlaps and protection != Protection.R:  # what cannot run stops like what is not there
            raise AddressSpaceError("mapping overlaps the trap range", address=address, size=size)
        self._pages.add(address, memoryview(cast(Any, buffer)), protection)
        host = ctypes.c_void_p(buffer.ctypes.data)
        status = uclib.uc_mem_map_ptr(self._handle, address, size, _UC_PROTECTION[protection], host)
        if status != uc.UC_ERR_OK:
            self._pages.remove(address, size)
            _check(status, "map memory", address, size)

    def protect(self, address: int, size: int, protection: Protection) -> None:
        """Change the permissions of mapped pages. Raises AddressSpaceError if any of them is not mapped."""
        for piece, low, high in self._pages.covering(address, size, "protect of unmapped memory"):
            self._forget(piece, low, high)  # while the engine can still find them
        self._pages.protect(address, size, protection)
        status = uclib.uc_mem_protect(self._handle, address, size, _UC_PROTECTION[protection])
        _check(status, "protect memory", address, size)

    def unmap(self, address: int, size: int) -> None:
        """Unmap and forget translations. Raises AddressSpaceError if any page is not mapped."""
        for piece, low, high in self._pages.covering(address, size, "unmap of unmapped memory"):
            self._forget(piece, low, high)
        _check(uclib.uc_mem_unmap(self._handle, address, size), "unmap memory", address, size)
        self._pages.remove(address, size)

    def read(self, address: int, size: int) -> bytes:
        """Read guest memory whatever its permissions. Raises GuestAccessError if any byte is unmapped."""
        return self._pages.read(address, size)

    def load(self, address: int, size: int) -> bytes:
        """Read guest memory as the guest would. Raises GuestAccessError if any byte cannot be read."""
        return self._pages.read(address, size, Protection.R)

    def store(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Write guest memory as the guest would. Raises GuestAccessError, with nothing written."""
        for piece, low, high in self._pages.write(address, data, Protection.W):
            self._forget(piece, low, high)

    def extent(self, address: int, needed: Protection) -> int:
        """How many bytes from `address` on allow `needed`; see `Cpu.extent`."""
        return self._pages.extent(address, needed)

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Write guest memory whatever its permissions, forgetting stale translations of it.

        Raises AddressSpaceError, with nothing written, if any byte is unmapped.
        """
        for piece, low, high in self._pages.write(address, data):
            self._forget(piece, low, high)

    def _forget(self, piece: Piece, low: int, high: int) -> None:
        """Drop translations of [low, high)."""
        if self._inspector is not None:
            self._inspector.forget()
        if piece.translated:
            _control(self._handle, uc.UC_CTL_TB_REMOVE_CACHE, low, high)

    # ---------------------------------------------------------------- registers

    def read_register(self, name: str) -> int:
        identifier, buffer, reference = self._slots[name]
        _reg_read(self._handle, identifier, reference)
        value: int = buffer.value
        return value | self._thumb_bit() if name in self._interworking else value

    def write_register(self, name: str, value: int) -> None:
        identifier, buffer, reference = self._slots[name]
        buffer.value = value
        _reg_write(self._handle, identifier, reference)

    def read_registers(self, names: Sequence[str]) -> list[int]:
        """Several at once, in one crossing."""
        names = tuple(names)
        identifiers, pointers, buffers, count = self._batches.get(names) or self._batch(names)
        _reg_read_batch(self._handle, identifiers, pointers, count)
        values = [buffer.value for buffer in buffers]
        if self._interworking:
            values = [
                value | self._thumb_bit() if name in self._interworking else value
                for name, value in zip(names, values, strict=True)
            ]
        return values

    def write_registers(self, values: Mapping[str, int] | Iterable[tuple[str, int]]) -> None:
        """Several at once, in one crossing."""
        pairs = dict(values)
        names = tuple(pairs)
        identifiers, pointers, buffers, count = self._batches.get(names) or self._batch(names)
        for buffer, value in zip(buffers, pairs.values(), strict=True):
            buffer.value = value
        _reg_write_batch(self._handle, identifiers, pointers, count)

    def set_thread_pointer(self, address: int) -> None:
        """Set fs_base, tpidr_el0, tpidruro, tp; on i386 the base of the segment that %gs selects."""
        if self._isa.thread_pointer is not None:
            self.write_register(self._isa.thread_pointer, address)
        else:
            self._describe(GDT_TLS, gdt_entry(address, 3))
            self._select("GS", GDT_TLS, 3)

    def _thumb_bit(self) -> int:
        if not self._interworking:
            return 0
        identifier, buffer, reference = self._slots["cpsr"]
        _reg_read(self._handle, identifier, reference)
        return int(buffer.value) >> 5 & 1

    def _batch(self, names: tuple[str, ...]) -> _Batch:
        slots = [self._slots[name] for name in names]
        buffers = tuple(buffer for _, buffer, _ in slots)
        batch = self._batches[names] = _Batch(
            (ctypes.c_int * len(slots))(*(identifier for identifier, _, _ in slots)),
            (ctypes.c_void_p * len(slots))(*(ctypes.addressof(buffer) for buffer in buffers)),
            buffers,
            len(slots),
        )
        return batch

    def _map_gdt(self) -> None:
        """A page with a GDT: flat segments (loading %gs makes the engine look at them all) and %gs's own."""
        room = np.zeros(2 * PAGE_SIZE, np.uint8)
        page: NDArray[np.uint8] = room[-room.ctypes.data % PAGE_SIZE :][:PAGE_SIZE]
        host = ctypes.c_void_p(page.ctypes.data)
        status = uclib.uc_mem_map_ptr(self._handle, GDT_PAGE, PAGE_SIZE, uc.UC_PROT_READ, host)
        _check(status, "map the descriptor table", GDT_PAGE, PAGE_SIZE)
        self._gdt = page
        self._describe(GDT_FLAT, gdt_entry(0, 0))
        table = _DescriptorTable(0, GDT_PAGE, 8 * (GDT_TLS + 1) - 1, 0)
        uclib.uc_reg_write(self._handle, unicorn.x86_const.UC_X86_REG_GDTR, ctypes.byref(table))
        for segment in ("SS", "DS", "ES"):
            self._select(segment, GDT_FLAT, 0)

    def _describe(self, index: int, entry: bytes) -> None:
        assert self._gdt is not None
        self._gdt[8 * index : 8 * index + 8] = np.frombuffer(entry, np.uint8)

    def _select(self, segment: str, index: int, privilege: int) -> None:
        selector = ctypes.c_uint16(index << 3 | privilege)
        register = getattr(unicorn.x86_const, f"UC_X86_REG_{segment}")
        _check(uclib.uc_reg_write(self._handle, register, ctypes.byref(selector)), f"load {segment}")

    # ---------------------------------------------------------------- running

    def run(self, pc: int, *, max_instructions: int = 0, timeout: float = 0.0) -> Stop:
        """Run from `pc` until a trap, a fault or a limit; see `Cpu.run`."""
        if self._suspended is not None:
            self._leave(pc)
        watch = self._watch
        if max_instructions and not self._counting:
            # Translations made without a limit do not count; Unicorn drops the others by itself.
            _control(self._handle, uc.UC_CTL_TB_FLUSH)
        self._counting = bool(max_instructions)
        if timeout > 0:
            WATCHDOG.arm(watch, timeout)
        else:
            watch.fired = False
            watch.running = not max_instructions
            watch.runs += 1
        try:
            status, stopped_at = self._enter(pc, max_instructions)
        finally:
            watch.running = False
            if timeout > 0:
                WATCHDOG.disarm(watch)
        if self._trap_start <= stopped_at < self._trap_end:
            return Stop(StopReason.TRAP, stopped_at)
        return self._explain(status, stopped_at, bool(max_instructions))

    def _enter(self, pc: int, limit: int) -> tuple[int, int]:
        """Run, through stops that mean nothing to the guest; Unicorn's status and the pc."""
        identifier, buffer, reference = self._pc_slot
        inspector = self._inspector
        while True:
            if inspector is not None:
                inspector.begin(pc)
            self._begin.value = pc
            self._count.value = limit
            status = _emu_start(self._handle, self._begin, self._until, _NO_TIMEOUT, self._count)
            _reg_read(self._handle, identifier, reference)
            stopped_at: int = buffer.value
            if inspector is not None and (verdict := inspector.verdict(self)) is not None:
                if verdict.refused:
                    return _REFUSED, verdict.pc
                pc, limit = verdict.pc, max(limit - 1, min(limit, 1))
                if not self._watch.fired:
                    continue
                self.write_register("pc", pc)
                return uc.UC_ERR_OK, pc
            if status == uc.UC_ERR_OK and self._watch.interrupted:
                self._watch.interrupted = False
                if self._trap_start <= stopped_at < self._trap_end or self._seen.interrupt is not None:
                    return status, stopped_at
            elif status != uc.UC_ERR_INSN_INVALID or not self._paused(pc, stopped_at):
                return status, stopped_at
            # Of a limit, how much is left is not known; that at least one instruction ran is.
            pc, limit = stopped_at | self._thumb_bit(), max(limit - 1, min(limit, 1))

    def _paused(self, begin: int, pc: int) -> bool:
        """Whether the engine only left its loop for a hint (Arm's yield and wfe), which it calls invalid."""
        if begin & ~1 == pc or self._watch.fired:
            return False
        return any(self._before(pc, len(pause)) == pause for pause in self._isa.pauses)

    def _explain(self, status: int, pc: int, limited: bool) -> Stop:
        """Why the engine came back to a pc that is no trap."""
        seen = self._seen
        address, number = seen.address, seen.interrupt
        seen.address = seen.interrupt = None
        if number is not None:
            overshoot = self._isa.overshoot(number, self._before(pc, 2), bool(self._thumb_bit()))
            stop = Stop(self._isa.exceptions.get(number, StopReason.EXCEPTION), self._rewind(pc, overshoot))
        elif status == uc.UC_ERR_OK:
            stop = self._halted(pc) or Stop(self._limit(limited), pc)
        else:
            reason = (
                StopReason.INVALID_INSTRUCTION if status == _REFUSED else _FAULTS.get(status, StopReason.EXCEPTION)
            )
            if status == uc.UC_ERR_INSN_INVALID:
                reason = self._isa.refused
            elif reason in _FETCH_FAULTS:
                address = fetched = self._fetched(pc)
                if fetched != pc:
                    return self._approach(reason, pc, fetched, limited)
            stop = Stop(reason, pc, self._isa.full_address(address))
        self._suspended = stop.pc if self._interworking and stop.reason is not StopReason.SYSCALL else None
        return stop

    def _approach(self, reason: StopReason, pc: int, page: int, limited: bool) -> Stop:
        """Run up to the start of an unfetchable page, and fault there.

        The x86 front end reads on into the next page before it runs what lies in this one, and then faults at
        the start of the whole block.
        """
        until, self._until.value, self._begin.value = self._until.value, page, pc | self._thumb_bit()
        status = _emu_start(self._handle, self._begin, self._until, _NO_TIMEOUT, self._count)
        self._until.value = until
        identifier, buffer, reference = self._pc_slot
        _reg_read(self._handle, identifier, reference)
        reached: int = buffer.value
        if reached in (page, pc):  # pc: the instruction itself straddles the two pages
            return Stop(reason, reached, page)
        if self._trap_start <= reached < self._trap_end:
            return Stop(StopReason.TRAP, reached)
        return self._explain(status, reached, limited)

    def _limit(self, limited: bool) -> StopReason:
        if self._watch.fired:
            return StopReason.TIMEOUT
        return StopReason.INSTRUCTION_LIMIT if limited else StopReason.EXCEPTION

    def _halted(self, pc: int) -> Stop | None:
        """Waiting for an interrupt that cannot come (hlt, wfi) ends a run without an error."""
        for halt in self._isa.halts:
            if self._before(pc, len(halt)) == halt:
                return Stop(StopReason.EXCEPTION, self._rewind(pc, len(halt)))
        return None

    def _before(self, pc: int, size: int) -> bytes:
        try:
            return self.read(pc - size, size)
        except AddressSpaceError:
            return b""

    def _rewind(self, pc: int, distance: int) -> int:
        if distance:
            pc -= distance
            self.write_register("pc", pc | self._thumb_bit())
        return pc

    def _fetched(self, pc: int) -> int:
        """The address a fetch failed at: the next page if the instruction at `pc` straddles into it."""
        piece = self._pages.at(pc)
        fetchable = piece is not None and piece.protection & Protection.X
        return (pc | (PAGE_SIZE - 1)) + 1 if fetchable else pc

    def _leave(self, pc: int) -> None:
        """Arm: forget the IT block in which the guest was stopped, unless it goes on there.

        Otherwise the first instructions of whatever runs next would be conditional.
        """
        if pc & ~1 != self._suspended:
            self.write_register("cpsr", self.read_register("cpsr") & ~_CPSR_IT)
        self._suspended = None

    def close(self) -> None:
        """Free the engine and let go of all buffers. Using the CPU afterwards raises MachineError."""
        self._free()
        # The engine would not survive being called; every way to it leads through one of these.
        self._handle = self._begin = self._slots = self._batches = self._pages = cast(Any, _Closed())
        self._suspended = None

    def save(self) -> CpuContext:
        """A copy of all registers."""
        context = _Context(self._handle)
        uclib.uc_context_save(self._handle, context.pointer)
        return context

    def restore(self, context: CpuContext) -> None:
        """Set all registers as they were at `save`."""
        assert isinstance(context, _Context)
        uclib.uc_context_restore(self._handle, context.pointer)
        self._suspended = None


class _DescriptorTable(ctypes.Structure):
    """uc_x86_mmr, as GDTR wants it."""

    _fields_ = (
        ("selector", ctypes.c_uint16),
        ("base", ctypes.c_uint64),
        ("limit", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
    )


def _register_slots(isa: UnicornIsa) -> dict[str, tuple[int, Any, Any]]:
    """Name -> (Unicorn's number, a buffer of the register's width, a reference to the buffer)."""
    slots = {}
    for name, (constant, size) in isa.names.items():
        buffer = _BUFFERS[size]()
        identifier = getattr(_CONSTANTS[isa.constants], f"UC_{isa.constants.upper()}_REG_{constant}")
        slots[name] = (identifier, buffer, ctypes.byref(buffer))
    return slots


def _hooks(handle: ctypes.c_void_p, seen: _Seen) -> tuple[Any, Any, Any]:
    """Callbacks for bad memory accesses, exceptions, and system calls that raise none."""

    def memory(_uc: int, _kind: int, address: int, _size: int, _value: int, _data: int) -> bool:
        seen.address = address
        return False  # not handled: stop with the error

    def interrupt(_uc: int, number: int, _data: int) -> None:
        seen.interrupt = number
        _emu_stop(handle)

    def syscall(_uc: int, _data: int) -> None:
        seen.interrupt = _SYSCALL_INSTRUCTION
        _emu_stop(handle)

    return _MEMORY_HOOK(memory), _INTERRUPT_HOOK(interrupt), _INSTRUCTION_HOOK(syscall)


def _install(handle: ctypes.c_void_p, isa: UnicornIsa, hooks: tuple[Any, Any, Any]) -> None:
    memory, interrupt, syscall = hooks
    data_faults = uc.UC_HOOK_MEM_INVALID & ~uc.UC_HOOK_MEM_FETCH_INVALID
    wanted: list[tuple[int, Any, tuple[int, ...]]] = [
        (data_faults, memory, ()),
        (uc.UC_HOOK_INTR, interrupt, ()),
        *((uc.UC_HOOK_INSN, syscall, (getattr(unicorn.x86_const, f"UC_{name}"),)) for name in isa.syscalls),
    ]
    for kind, callback, extra in wanted:
        status = uclib.uc_hook_add(
            handle,
            ctypes.byref(ctypes.c_size_t()),
            kind,
            ctypes.cast(callback, ctypes.c_void_p),
            None,
            ctypes.c_uint64(1),
            ctypes.c_uint64(0),
            *(ctypes.c_int(value) for value in extra),
        )
        _check(status, "install a hook")

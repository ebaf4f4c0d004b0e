"""LoongArch64 on icicle, the only file that imports that engine.

What is particular about it, and hidden here:

* It has no callbacks. An instruction its p-code cannot do (see `loongarch64.hostops`) stops the engine at
  that instruction; `run` does it in Python and goes on. Callers never see it.
* It keeps translated code whatever happens to the memory it was translated from. So whenever code that may
  have run is written, unmapped or loses its execute permission, the engine is emptied and filled again from
  its own memory before it next runs (`_refresh`): slow, right, and rare.
* It refuses a guest's own store over code that has run; the same refreshing lets the store through.
* Memory cannot be shared: `map` copies the caller's buffer once.
"""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emu.cpu.loongarch64 import ENGINE_ARCHITECTURE, SLEIGH_ROOT
from emu.cpu.loongarch64.hostops import HostOperations
from emu.cpu.loongarch64.registers import (
    ALIASES,
    ENGINE_REGISTERS,
    INTEGER_REGISTERS,
    VECTOR_REGISTERS,
    WRITE_MASKS,
)
from emu.cpu.protocol import CpuContext, Stop, StopReason
from relink.errors import AddressSpaceError, GuestAccessError
from relink.memory.address_space import Protection

PAGE_SIZE = 4096
#: Upper bound of guest memory in pages (4 GiB); only pages that are touched cost host memory.
MEMORY_CAPACITY = 1 << 20
#: Instructions between two looks at the clock (and at Ctrl-C): some 50 ms, or 2 ms when a timeout is set.
SLICE = 1 << 21
TIMED_SLICE = 1 << 16
#: Memory is carried over a refresh in blocks of this many bytes, the all-zero ones left out.
CARRY_BLOCK = 1 << 16

_WORD = (1 << 64) - 1
#: For one instruction to be run on its own: where no program has anything, and `map` refuses to put anything.
_SCRATCH_PAGE = (1 << 63) - PAGE_SIZE
_environment_lock = threading.Lock()


class _Span(NamedTuple):
    """Mapped guest addresses [start, end) of one protection."""

    start: int
    end: int
    protection: Protection


class _PageMap:
    """What is mapped and how: the engine has no question for it."""

    def __init__(self) -> None:
        self.spans: list[_Span] = []

    def find(self, address: int) -> _Span | None:
        index = bisect_right(self.spans, address, key=lambda span: span.start) - 1
        return self.spans[index] if index >= 0 and address < self.spans[index].end else None

    def overlapping(self, start: int, end: int) -> list[_Span]:
        """The spans that share an address with [start, end), cut to it."""
        return [
            _Span(max(span.start, start), min(span.end, end), span.protection)
            for span in self.spans
            if span.start < end and start < span.end
        ]

    def require(self, address: int, size: int, needed: Protection, *, write: bool) -> None:
        """Raise GuestAccessError unless all of the range is mapped with at least `needed` permissions."""
        position, end = address, address + size
        while position < end:
            span = self.find(position)
            if span is None or span.protection & needed != needed:
                raise GuestAccessError(position, end - position, write=write, mapped=span is not None)
            position = span.end

    def covers(self, start: int, end: int) -> bool:
        return sum(span.end - span.start for span in self.overlapping(start, end)) == end - start

    def remove(self, start: int, end: int) -> None:
        kept: list[_Span] = []
        for span in self.spans:
            if span.end <= start or end <= span.start:
                kept.append(span)
                continue
            if span.start < start:
                kept.append(span._replace(end=start))
            if end < span.end:
                kept.append(span._replace(start=end))
        self.spans = kept

    def add(self, start: int, end: int, protection: Protection) -> None:
        self.spans.append(_Span(start, end, protection))
        self.spans.sort()


class _Vocabulary:
    """The engine's enumerations as this project's, resolved once, when the engine is first imported."""

    def __init__(self, icicle: Any) -> None:
        modes = icicle.MemoryProtection
        # Write permission alone does not exist in the engine, nor on the hardware: it implies reading.
        self.protections = {
            0: modes.NoAccess, 1: modes.ExecuteOnly, 2: modes.ReadWrite, 3: modes.ExecuteReadWrite,
            4: modes.ReadOnly, 5: modes.ExecuteRead, 6: modes.ReadWrite, 7: modes.ExecuteReadWrite,
        }  # fmt: skip
        codes = icicle.ExceptionCode
        self.memory_error: type[Exception] = icicle.MemoryException
        self.instruction_limit = int(icicle.RunStatus.InstructionLimit)
        self.host_operation = int(codes.UnimplementedOp)
        self.self_modifying = int(codes.SelfModifyingCode)
        self.fetch_refused = int(codes.ExecViolation)
        self.reasons: dict[int, StopReason] = {
            int(codes.Syscall): StopReason.SYSCALL,
            int(codes.DivisionException): StopReason.ARITHMETIC,
            int(codes.ReadUnmapped): StopReason.READ_UNMAPPED,
            int(codes.ReadPerm): StopReason.READ_PROTECTED,
            int(codes.ReadUnaligned): StopReason.UNALIGNED,
            int(codes.WriteUnmapped): StopReason.WRITE_UNMAPPED,
            int(codes.WritePerm): StopReason.WRITE_PROTECTED,
            int(codes.WriteUnaligned): StopReason.UNALIGNED,
            int(codes.AddressOverflow): StopReason.READ_UNMAPPED,
            int(codes.ExecViolation): StopReason.FETCH_UNMAPPED,
            int(codes.ExecUnaligned): StopReason.UNALIGNED,
            int(codes.InvalidInstruction): StopReason.INVALID_INSTRUCTION,
        }


_HAS_ADDRESS = frozenset(
    {
        StopReason.READ_UNMAPPED,
        StopReason.READ_PROTECTED,
        StopReason.WRITE_UNMAPPED,
        StopReason.WRITE_PROTECTED,
        StopReason.FETCH_UNMAPPED,
        StopReason.FETCH_PROTECTED,
        StopReason.UNALIGNED,
    }
)

_vocabulary: _Vocabulary | None = None


def _create_engine() -> tuple[Any, _Vocabulary]:
    """A new engine that speaks LoongArch64; the import is put off to here because it costs 15 ms."""
    global _vocabulary
    import icicle

    if _vocabulary is None:
        _vocabulary = _Vocabulary(icicle)
    # The engine takes the root of its instruction sets from the environment, when constructed.
    with _environment_lock:
        before = os.environ.get("GHIDRA_SRC")
        os.environ["GHIDRA_SRC"] = str(SLEIGH_ROOT)
        try:
            # The interpreter: its JIT is a hundred times slower on code that runs once.
            engine = icicle.Icicle(ENGINE_ARCHITECTURE, jit=False, optimize_instructions=False)
        finally:
            if before is None:
                del os.environ["GHIDRA_SRC"]
            else:
                os.environ["GHIDRA_SRC"] = before
    engine.mem_capacity = MEMORY_CAPACITY
    return engine, _vocabulary


@dataclass(frozen=True, slots=True)
class _Context(CpuContext):
    """Every register of the engine, in the order of ENGINE_REGISTERS."""

    values: tuple[int, ...]


class IcicleCpu:
    """A LoongArch64 hart (base integer, F, D, LSX, atomics). Implements `emu.cpu.Cpu`.

    Besides the integer registers it has `f0`-`f31` (also `fa0`…, `ft0`…, `fs0`…; raw 64-bit patterns),
    `fcc0`-`fcc7`, `fcsr` and `pc`; `r0`-`r31` are accepted for the integer registers. `v0`-`v31` (`vr0`…) are
    the vectors, 128 bits each, of which `f0`-`f31` are the lower halves.
    """

    page_size = PAGE_SIZE
    page_cost = 8448  #: measured: the engine keeps a byte of permissions beside each byte
    shares_memory = False
    registers = (*INTEGER_REGISTERS, "pc")

    def __init__(self, arch: str = "loongarch64") -> None:
        if arch != "loongarch64":
            raise ValueError(f"this CPU runs loongarch64, not {arch}")
        self.arch = arch
        self._engine, self._words = _create_engine()
        self._host = HostOperations(self._engine)
        self._pages = _PageMap()
        self._trap_start = self._trap_end = 0
        #: Pages that were executable in some run: the engine may hold translations of them.
        self._ran = _PageMap()
        self._stale = False
        self._ran_current = False

    # ---------------------------------------------------------------- memory

    def set_trap_range(self, start: int, size: int) -> None:
        """Declare [start, start + size) the trap range; nothing may be mapped there."""
        self._trap_start, self._trap_end = start, start + size

    def map(self, address: int, size: int, protection: Protection, buffer: NDArray[np.uint8]) -> None:
        """Map a copy of `buffer` (uint8, `size` bytes). Raises AddressSpaceError on overlap."""
        end = self._range(address, size)
        reserved = (self._trap_start, self._trap_end), (_SCRATCH_PAGE, _SCRATCH_PAGE + PAGE_SIZE)
        collides = any(address < stop and start < end for start, stop in reserved)
        if collides or self._pages.overlapping(address, end):
            raise AddressSpaceError("memory is already mapped", address=address, size=size)
        try:
            self._engine.mem_map(address, size, self._words.protections[int(protection)])
        except self._words.memory_error:
            raise AddressSpaceError("the engine refuses to map", address=address, size=size) from None
        self._pages.add(address, end, protection)
        self._fill(address, buffer.data.cast("B"))
        if protection & Protection.X:
            self._became_executable(address)

    def protect(self, address: int, size: int, protection: Protection) -> None:
        """Change the permissions of mapped pages. Raises AddressSpaceError if one is not mapped."""
        end = self._mapped_range(address, size)
        self._engine.mem_protect(address, size, self._words.protections[int(protection)])
        self._forget(address, end)
        self._pages.remove(address, end)
        self._pages.add(address, end, protection)
        if protection & Protection.X:
            self._became_executable(address)

    def unmap(self, address: int, size: int) -> None:
        """Unmap pages. Raises AddressSpaceError if one is not mapped."""
        end = self._mapped_range(address, size)
        for span in self._pages.overlapping(address, end):
            self._engine.mem_unmap(span.start, span.end - span.start)
        self._forget(address, end)
        self._pages.remove(address, end)

    def read(self, address: int, size: int) -> bytes:
        """Read guest memory whatever its permissions. Raises GuestAccessError if any byte is unmapped."""
        return self._read(address, size, Protection.NONE)

    def load(self, address: int, size: int) -> bytes:
        """Read guest memory as the guest would. Raises GuestAccessError if any byte cannot be read."""
        return self._read(address, size, Protection.R)

    def _read(self, address: int, size: int, needed: Protection) -> bytes:
        if not size:
            return b""
        # The engine allocates the size before it looks, and aborts the process when it cannot.
        self._pages.require(address, size, needed, write=False)
        return bytes(self._engine.mem_read(address, size))

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Write guest memory whatever its permissions. Raises GuestAccessError if any byte is unmapped."""
        self._write(address, data, Protection.NONE)

    def store(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Write guest memory as the guest would. Raises GuestAccessError, with nothing written."""
        self._write(address, data, Protection.W)

    def extent(self, address: int, needed: Protection) -> int:
        """How many bytes from `address` on allow `needed`; see `Cpu.extent`."""
        span = self._pages.find(address)
        return span.end - address if span is not None and span.protection & needed == needed else 0

    def _write(self, address: int, data: bytes | bytearray | memoryview, needed: Protection) -> None:
        size = len(data)
        if not size:
            return
        self._pages.require(address, size, needed, write=True)
        if self._ran.overlapping(address, address + size):
            self._refresh()
        self._engine.mem_write(address, bytes(data))

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
        """Write into fresh (zero) memory, sparing the blocks that are zero: they cost no host memory then."""
        for offset, block in _nonzero_blocks(data):
            self._engine.mem_write(address + offset, block)

    # ---------------------------------------------------------------- translated code

    def _forget(self, start: int, end: int) -> None:
        """Code in [start, end) is about to differ from what the engine may have translated."""
        if not self._stale and self._ran.overlapping(start, end):
            self._stale = True

    def _became_executable(self, start: int) -> None:
        """A block that ran off the end of the page before was translated with a fetch fault at its end."""
        self._ran_current = False
        if self._ran.find(start - 1):
            self._stale = True

    def _prepare(self, *, refresh: bool = False) -> None:
        """Before running: drop stale translations, and note what may be translated from now on."""
        if self._stale or refresh:
            self._refresh()
        self._ran.spans = [span for span in self._pages.spans if span.protection & Protection.X]
        self._ran_current = True

    def _refresh(self) -> None:
        """Empty the engine, translations and all, and give it its memory and registers back."""
        engine = self._engine
        contents = [(span, list(self._nonzero_memory(span))) for span in self._pages.spans]
        registers = self.save()
        engine.reset()
        for span, blocks in contents:
            engine.mem_map(span.start, span.end - span.start, self._words.protections[int(span.protection)])
            for offset, block in blocks:
                engine.mem_write(span.start + offset, block)
        self.restore(registers)
        self._stale = self._ran_current = False
        self._ran = _PageMap()

    def _nonzero_memory(self, span: _Span) -> Iterator[tuple[int, bytes]]:
        """(offset, block) of what a span holds, read in pieces of 1 MiB; most of a stack or heap is zero."""
        for start in range(span.start, span.end, 1 << 20):
            piece = memoryview(self._engine.mem_read(start, min(1 << 20, span.end - start)))
            for offset, block in _nonzero_blocks(piece):
                yield start - span.start + offset, block

    def _store_over_code(self, pc: int) -> Stop | None:
        """Do the store at `pc`, which the engine refused because it changes translated code.

        Dropping the translations is not enough: where the code to change follows the store closely, both are
        translated together, and the store is refused again. So the store runs as a copy, alone at the end of
        a page of its own. (No store is relative to pc.) Returns the Stop if it faults after all.
        """
        self._prepare(refresh=True)
        engine = self._engine
        engine.mem_map(_SCRATCH_PAGE, PAGE_SIZE, self._words.protections[int(Protection.R | Protection.X)])
        alone = _SCRATCH_PAGE + PAGE_SIZE - 4
        engine.mem_write(alone, engine.mem_read(pc, 4))
        engine.pc = alone
        engine.icount_limit = engine.icount + 1
        status = engine.run()
        engine.mem_unmap(_SCRATCH_PAGE, PAGE_SIZE)
        done = status == self._words.instruction_limit
        engine.pc = pc + 4 if done else pc
        return None if done else self._stop(int(engine.exception_code), pc)

    # ---------------------------------------------------------------- registers

    def read_register(self, name: str) -> int:
        """The register as an unsigned int. Raises KeyError for a name LoongArch64 does not have."""
        if name in VECTOR_REGISTERS:
            low, high = (int(self._engine.reg_read(half)) for half in VECTOR_REGISTERS[name])
            return low | high << 64
        name = ALIASES[name]
        if name == "zero":
            return 0
        if name == "fcsr":
            self._host.settle_cause()
        return int(self._engine.reg_read(name))

    def write_register(self, name: str, value: int) -> None:
        """Write the bits the register has; `zero` stays 0. Raises KeyError for an unknown name."""
        if name in VECTOR_REGISTERS:
            for number, half in enumerate(VECTOR_REGISTERS[name]):
                self._engine.reg_write(half, value >> 64 * number & _WORD)
            return
        name = ALIASES[name]
        if name == "zero":
            return
        if name == "fcsr":
            self._host.settle_cause()
        self._engine.reg_write(name, value & WRITE_MASKS.get(name, _WORD))

    def read_registers(self, names: Sequence[str]) -> list[int]:
        return [self.read_register(name) for name in names]

    def write_registers(self, values: Mapping[str, int] | Iterable[tuple[str, int]]) -> None:
        for name, value in values.items() if isinstance(values, Mapping) else values:
            self.write_register(name, value)

    def set_thread_pointer(self, address: int) -> None:
        """Set `tp` (r2)."""
        self._engine.reg_write("tp", address)

    def save(self) -> CpuContext:
        read = self._engine.reg_read
        return _Context(tuple(read(name) for name in ENGINE_REGISTERS))

    def restore(self, context: CpuContext) -> None:
        assert isinstance(context, _Context)
        write = self._engine.reg_write
        for name, value in zip(ENGINE_REGISTERS, context.values, strict=True):
            write(name, value)

    # ---------------------------------------------------------------- running

    def run(self, pc: int, *, max_instructions: int = 0, timeout: float = 0.0) -> Stop:
        """Run from `pc` until a trap, a fault or a limit; see `emu.cpu.Cpu.run`."""
        if self._stale or not self._ran_current:
            self._prepare()
        engine = self._engine
        engine.pc = pc
        deadline = time.monotonic() + timeout if timeout else 0.0
        slice_size = TIMED_SLICE if timeout else SLICE
        left = max_instructions or -1
        while True:
            engine.icount = 0
            engine.icount_limit = slice_size if left < 0 else min(slice_size, left)
            status = engine.run()
            pc = engine.pc
            if self._trap_start <= pc < self._trap_end:
                return Stop(StopReason.TRAP, pc)
            executed = engine.icount
            if status != self._words.instruction_limit:
                code = int(engine.exception_code)
                if code == self._words.self_modifying:
                    stop = self._store_over_code(pc)
                    if stop is not None:
                        return stop
                    pc += 4
                elif code == self._words.host_operation:
                    reason = self._host.execute(pc)
                    if reason is not None:
                        return Stop(reason, pc)
                    engine.pc = pc = pc + 4 & _WORD
                else:
                    return self._stop(code, pc)
            if left > 0:
                left -= executed
                if left <= 0:
                    return Stop(StopReason.INSTRUCTION_LIMIT, pc)
            if timeout and time.monotonic() >= deadline:
                return Stop(StopReason.TIMEOUT, pc)

    def _stop(self, code: int, pc: int) -> Stop:
        """The engine's exception as a Stop."""
        reason = self._words.reasons.get(code, StopReason.EXCEPTION)
        if reason not in _HAS_ADDRESS:
            return Stop(reason, pc)
        address = int(self._engine.exception_value)
        if code == self._words.fetch_refused:
            address = pc
            if self._pages.find(pc):
                reason = StopReason.FETCH_PROTECTED
        return Stop(reason, pc, address)

    def close(self) -> None:
        """Free the engine and its memory. Using the CPU afterwards is an error."""
        self._engine = self._host = None  # type: ignore[assignment]


_ZERO_BLOCK = bytes(CARRY_BLOCK)


def _nonzero_blocks(data: memoryview) -> Iterator[tuple[int, bytes]]:
    """(offset, block) of the blocks of `data` that hold anything but zeros."""
    for offset in range(0, len(data), CARRY_BLOCK):
        block = bytes(data[offset : offset + CARRY_BLOCK])
        if block != _ZERO_BLOCK[: len(block)]:
            yield offset, block

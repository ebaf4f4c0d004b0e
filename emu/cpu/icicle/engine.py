"""Icicle engines for LoongArch64, and their enumerations. The only file that imports icicle."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

from emu.cpu.icicle import joined
from emu.cpu.icicle.environment import for_creation, kept
from emu.cpu.icicle.fixed_order import begin_again, fix_order
from emu.cpu.icicle.zero_pages import ZeroPages
from emu.cpu.loongarch64 import ENGINE_ARCHITECTURES
from emu.cpu.loongarch64.hostops import HostOperations
from emu.cpu.protocol import Protection, StopReason

#: Limit for guest memory in pages (4 GiB); only pages that are used take host memory.
MEMORY_CAPACITY = 1 << 20
#: Memory is saved for a refresh in blocks of this many bytes, without zero blocks.
CARRY_BLOCK = 1 << 16
#: Released engines that each thread keeps, of either kind, and the address space of which one may have had more:
#: the memory it has used is the collector's, its tables are not.
_MOST_IDLE = 2
_LARGE = 1 << 28
_WORN = 0.5  #: seconds of compilation


class Vocabulary:
    """The engine's enumerations mapped to this project's, resolved once when the engine is first imported."""

    def __init__(self, icicle: Any) -> None:
        self.library: str = icicle.icicle.__file__
        modes = icicle.MemoryProtection
        # Write permission implies read permission, in the engine and in hardware.
        self.protections = {
            0: modes.NoAccess, 1: modes.ExecuteOnly, 2: modes.ReadWrite, 3: modes.ExecuteReadWrite,
            4: modes.ReadOnly, 5: modes.ExecuteRead, 6: modes.ReadWrite, 7: modes.ExecuteReadWrite,
        }  # fmt: skip
        codes = icicle.ExceptionCode
        self.memory_error: type[Exception] = icicle.MemoryException
        self.instruction_limit = int(icicle.RunStatus.InstructionLimit)
        self.breakpoint = int(icicle.RunStatus.Breakpoint)
        self.host_operation = int(codes.UnimplementedOp)
        self.self_modifying = int(codes.SelfModifyingCode)
        self.fetch_refused = int(codes.ExecViolation)
        self.write_refused = int(codes.WritePerm)
        self.refused = frozenset({int(codes.ReadPerm), self.write_refused})
        self.not_compiled = int(codes.JitError)
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


#: Exceptions for which the engine gives the address.
HAS_ADDRESS = frozenset(
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

_idle = threading.local()


@cache
def _words() -> Vocabulary:
    fix_order()
    with kept():
        import icicle

    return Vocabulary(icicle)


def _create(*, jit: bool) -> Any:
    """An icicle.Icicle for LoongArch64; icicle is imported here because that takes 15 ms."""
    words = _words()
    import icicle

    begin_again(words.library)
    create = partial(icicle.Icicle, ENGINE_ARCHITECTURES[jit], jit=jit, optimize_instructions=False)
    with for_creation(words.library):
        engine = create() if not jit else joined.prepared(create, words.protections[5], words.library)
    engine.mem_capacity = MEMORY_CAPACITY
    return engine


def _idle_engines(jit: bool) -> list[tuple[Any, float]]:
    engines: dict[bool, list[tuple[Any, float]]] | None = getattr(_idle, "engines", None)
    if engines is None:
        engines = _idle.engines = {False: [], True: []}
    return engines[jit]


def is_idle(*, jit: bool) -> bool:
    """Whether an engine can be had without creating it."""
    return bool(_idle_engines(jit))


class Engine(ZeroPages):
    """An icicle.Icicle, with protections as in the rest of the project. Only for the thread that created it.

    Creating one takes 10 ms, in which it reads its instruction set, so engines that are released are used again:
    `raw.reset` takes 0.1 ms, and brings every part of one back to how it was created, except breakpoints.
    """

    jit = False

    def __init__(self) -> None:
        self.nothing_is_mapped()
        idle = _idle_engines(self.jit)
        #: The icicle.Icicle, and the seconds it has compiled for: it frees no code before it is freed itself.
        self.raw, self.compilation = idle.pop() if idle else (_create(jit=self.jit), 0.0)
        self.words = _words()
        self.modes = self.words.protections
        self.reg_read: Callable[[str], int] = self.raw.reg_read
        self.reg_write: Callable[[str, int], None] = self.raw.reg_write
        self.host = HostOperations(self.raw)
        self._breakpoints: set[int] = set()
        self.reusable = True  #: by another CPU
        self._largest = 0  #: address space that has been mapped

    def mem_read(self, address: int, size: int) -> bytes:
        return bytes(self.raw.mem_read(address, size))

    def mem_map(self, address: int, size: int, protection: Protection) -> None:
        self.raw.mem_map(address, size, self.modes[int(protection)])
        self._largest += size

    def add_breakpoint(self, address: int) -> None:
        self._breakpoints.add(address)
        self.raw.add_breakpoint(address)

    def remove_breakpoint(self, address: int) -> None:
        self._breakpoints.discard(address)
        self.raw.remove_breakpoint(address)

    def admit(self, address: int) -> bool:
        """Whether an access at `address` that was refused would not be now."""
        return False

    def complete(self) -> None:
        """Before a run: finish what an exception of a signal handler has interrupted."""

    def take_code(self) -> None:
        """Before a run: have all code here."""

    def release(self, compilation: float = 0.0) -> None:
        """Leave the icicle.Icicle, which has compiled for so many seconds, to another CPU of this thread. This
        object cannot be used afterwards.
        """
        raw, self.raw = self.raw, None
        if raw is None:  # a signal handler has done it
            return
        self.reg_read = self.reg_write = self.host = None  # type: ignore[assignment]
        idle = _idle_engines(self.jit)
        fresh = self.reusable and self._largest < _LARGE and compilation < _WORN
        if fresh and len(idle) < _MOST_IDLE:
            for address in self._breakpoints:
                raw.remove_breakpoint(address)
            raw.reset()
            idle.append((raw, compilation))


_ZERO_BLOCK = bytes(CARRY_BLOCK)


def nonzero_blocks(data: memoryview) -> Iterator[tuple[int, bytes]]:
    """(offset, block) of the blocks of `data` that are not all zero."""
    for offset in range(0, len(data), CARRY_BLOCK):
        block = bytes(data[offset : offset + CARRY_BLOCK])
        if block != _ZERO_BLOCK[: len(block)]:
            yield offset, block

"""Creating an icicle engine for LoongArch64, and its enumerations. The only file that imports icicle."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

from emu.cpu.loongarch64 import ENGINE_ARCHITECTURE, SLEIGH_ROOT
from emu.cpu.protocol import StopReason

#: Limit for guest memory in pages (4 GiB); only pages that are used take host memory.
MEMORY_CAPACITY = 1 << 20
#: Memory is saved for a refresh in blocks of this many bytes, without zero blocks.
CARRY_BLOCK = 1 << 16

_environment_lock = threading.Lock()


class Vocabulary:
    """The engine's enumerations mapped to this project's, resolved once when the engine is first imported."""

    def __init__(self, icicle: Any) -> None:
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

_vocabulary: Vocabulary | None = None


def create_engine() -> tuple[Any, Vocabulary]:
    """Create an engine for LoongArch64; icicle is imported here because that takes 15 ms."""
    global _vocabulary
    import icicle

    if _vocabulary is None:
        _vocabulary = Vocabulary(icicle)
    # The engine reads the root folder of its instruction sets from the environment when it is created.
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


_ZERO_BLOCK = bytes(CARRY_BLOCK)


def nonzero_blocks(data: memoryview) -> Iterator[tuple[int, bytes]]:
    """(offset, block) of the blocks of `data` that are not all zero."""
    for offset in range(0, len(data), CARRY_BLOCK):
        block = bytes(data[offset : offset + CARRY_BLOCK])
        if block != _ZERO_BLOCK[: len(block)]:
            yield offset, block

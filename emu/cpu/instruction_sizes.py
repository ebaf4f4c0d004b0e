"""Instruction sizes on the ISAs that Unicorn runs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

#: (code at an instruction, in Thumb state) -> its size in bytes; 0 if unknown.
InstructionSize = Callable[[bytes, bool], int]
LONGEST = 16  #: bytes that hold any instruction whole


def _fixed(code: bytes, thumb: bool) -> int:
    return 4


def _arm(code: bytes, thumb: bool) -> int:
    """Thumb-2: 32 bits where the first five are 0b11101 or more (Arm ARM, "T32 instruction set encoding")."""
    return 4 if not thumb or code[1] >= 0xE8 else 2


def _riscv(code: bytes, thumb: bool) -> int:
    return 4 if code[0] & 3 == 3 else 2


def _x86(bits: int) -> InstructionSize:
    @functools.cache
    def disassembler() -> Any:
        import capstone

        return capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64 if bits == 64 else capstone.CS_MODE_32)

    def size(code: bytes, thumb: bool) -> int:
        rows = list(disassembler().disasm_lite(code, 0, 1))  # to its end: in finalisers an interrupt is lost
        return int(rows[0][1]) if rows else 0

    return size


SIZES: dict[str, InstructionSize] = {
    "x86_64": _x86(64),
    "i386": _x86(32),
    "aarch64": _fixed,
    "arm": _arm,
    "riscv64": _riscv,
    "riscv32": _riscv,
}

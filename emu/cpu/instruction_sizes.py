"""Instruction sizes on the ISAs that Unicorn runs."""

from __future__ import annotations

from collections.abc import Callable

from emu.cpu.x86_disassembler import disassembler

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
    def size(code: bytes, thumb: bool) -> int:
        rows = disassembler(bits).rows(code, 0, 1)
        return rows[0][1] if rows else 0

    return size


SIZES: dict[str, InstructionSize] = {
    "x86_64": _x86(64),
    "i386": _x86(32),
    "aarch64": _fixed,
    "arm": _arm,
    "riscv64": _riscv,
    "riscv32": _riscv,
}

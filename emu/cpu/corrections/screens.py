"""Tables by which new blocks of code pass without inspection (`emu.cpu.hooks.screen`), by ISA.

Whatever a finder of `emu.cpu.corrections.finders` may find is not in them. On x86 they list opcodes that are right
with any prefix and operand; an opcode that is in neither table is inspected.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

import numpy as np

from emu.cpu.hooks.screen import X86, X86_64, Tables
from emu.cpu.unicorn.isas import ISAS
from relink.arrays import U8, U16, Bools

_Halves: TypeAlias = U16
#: Of an opcode of x86: it passes; has ModRM, an immediate of 8 bits, of 32 bits (with 66: 16); not with 66.
_OK, _MODRM, _IMM8, _IMM32, _NO_66 = 1, 2, 4, 8, 0x40
#: Opcodes of one byte: test has an immediate, and others of its group none; of the operand's size; of 16 bits.
_TEST, _WHOLE, _IMM16 = 0x10, 0x20, 0x80
#: Opcodes behind 0f: with 66 and no other prefix; with 66, f2 or f3 (else it is MMX); with f2 or f3 and not 66;
#: with f3 and not 66.
_BY_66, _SSE, _BY_REPEAT, _BY_F3 = 0x10, 0x20, 0x80, 0xC0


def _opcodes(rows: Iterable[tuple[int, Iterable[int]]]) -> U8:
    table = np.zeros(256, np.uint8)
    for flags, opcodes in rows:
        table[[*opcodes]] = flags | _OK
    return table


def _x86(bits: int) -> Tables:
    alu = range(0, 0x40, 8)
    one = _opcodes(
        (
            (_MODRM, [base + n for base in alu for n in range(4)]),
            (_IMM8, [*(base + 4 for base in alu), 0x6A, *range(0x70, 0x80), 0xA8, *range(0xB0, 0xB8), 0xEB]),
            (_IMM32, [*(base + 5 for base in alu), 0x68, 0xA9]),
            (0, [*range(0x50, 0x60), *range(0x90, 0x9A), *range(0xA4, 0xA8), *range(0xAA, 0xB0), 0xC3, 0xC9]),
            (0, range(0x40, 0x50) if bits == 32 else ()),
            (_MODRM, [0x63, *range(0x84, 0x8C), 0x8D, *range(0xD0, 0xD4), 0xFE, 0xFF]),
            (_MODRM | _IMM8, [0x6B, 0x80, 0x83, 0xC0, 0xC1, 0xC6]),
            (_MODRM | _IMM32, [0x69, 0x81, 0xC7]),
            (_MODRM | _TEST, [0xF6, 0xF7]),
            (_WHOLE, range(0xB8, 0xC0)),
            (_IMM16, [0xC2]),
            (_IMM32 | _NO_66, [0xE8, 0xE9]),
        )
    )
    two = _opcodes(
        (
            (0, [0x05, 0xA2, *range(0xC8, 0xD0)]),
            (_MODRM, [0x0D, 0x10, 0x11, 0x13, 0x14, 0x15, *range(0x17, 0x20), 0x28, 0x29, 0x2E, 0x2F]),
            (_MODRM | _BY_REPEAT, [0x2A, 0x2C, 0x2D]),
            (_MODRM | _BY_F3, [0xB8, *((0xBC, 0xBD) if bits == 64 else ())]),
            (_MODRM, () if bits == 64 else (0xBC, 0xBD)),
            (_MODRM, [*range(0x40, 0x50), 0x51, *range(0x54, 0x60), *range(0x90, 0xA0)]),
            (_MODRM | _SSE, [*range(0x60, 0x70), 0x74, 0x75, 0x76, 0x7C, 0x7D, 0x7E, 0x7F]),
            (_MODRM | _SSE | _IMM8, [*range(0x70, 0x74), 0xC4, 0xC5]),
            (_IMM32 | _NO_66, range(0x80, 0x90)),
            (_MODRM, [0xA3, 0xA5, 0xAB, 0xAD, 0xAF, 0xB0, 0xB3, 0xB6, 0xB7, 0xBB, 0xBE, 0xBF, 0xC0, 0xC1]),
            (_MODRM | _IMM8, [0xA4, 0xAC, 0xBA, 0xC2, 0xC6]),
            (_MODRM | _BY_66, range(0xD1, 0xFF)),
        )
    )
    return Tables(X86_64 if bits == 64 else X86, one, two)


def _bits(chosen: Bools) -> U8:
    return np.packbits(chosen, bitorder="little")


def _aarch64(halves: _Halves) -> Tables:
    return Tables(4, _bits((halves & 0xEC00) == 0x4000), _bits((halves & 0x3F20) == 0x3820))


def _arm(halves: _Halves) -> Tables:
    """In A32 the first half of a word is the low one, in T32 the high one: either may be found in either place."""
    high = (halves & 0x0FBE) == 0x0EBA
    high |= ((halves & 0xFFB0) == 0xFD20) | ((halves & 0xF3A0) == 0xF320) | ((halves & 0xF380) == 0xF380)
    either = _bits(high | ((halves & 0x0FD0) == 0x0AC0) | ((halves & 0x0F00) == 0x0D00))
    return Tables(2, either, either)


def _riscv(bits: int, halves: _Halves) -> Tables:
    """Reserved codes of 16 bits, those of floating point, and words of floating point and of the system."""
    quadrant, function, register, top = halves & 3, halves >> 13, halves >> 7 & 31, (halves >> 12 & 1) != 0
    kind, narrow = halves >> 10 & 3, bits == 32
    floats = (quadrant != 1) & ((function == 1) | (function == 5) | (narrow & (function == 3)))
    first = (quadrant == 0) & ((function == 4) | ((halves & 0xFFE0) == 0))
    second = (function == 3) & ((halves & 0x107C) == 0)
    second |= (function == 1) & (register == 0) & (not narrow)
    second |= (function == 4) & (kind == 3) & top & (narrow | ((halves & 0x40) != 0))
    second |= (function == 4) & (kind < 2) & top & narrow
    third = ((function == 0) & top & narrow) | ((function == 2) & (register == 0)) | (halves == 0x8002)
    third |= (function == 3) & (register == 0) & (not narrow)
    opcodes = np.zeros(0x80, np.bool_)
    opcodes[[0x73, 0x07, 0x27, 0x53, 0x43, 0x47, 0x4B, 0x4F]] = True
    words = np.tile(opcodes, 1 << 9)
    short = floats | first | ((quadrant == 1) & second) | ((quadrant == 2) & third)
    return Tables(0, _bits(np.where(quadrant == 3, words, short)), np.full(8192, 0xFF, np.uint8))


#: By engine and mode of `UnicornIsa`, as finders are.
_MADE: Final[Mapping[tuple[str, str], Callable[[_Halves], Tables]]] = {
    ("X86", "64"): lambda halves: _x86(64),
    ("X86", "32"): lambda halves: _x86(32),
    ("ARM64", "ARM"): _aarch64,
    ("ARM", "ARM"): _arm,
    ("RISCV", "RISCV64"): functools.partial(_riscv, 64),
    ("RISCV", "RISCV32"): functools.partial(_riscv, 32),
}


@functools.cache
def tables_of(arch: str) -> Tables:
    """The tables of an ISA that has a finder."""
    row = ISAS[arch]
    return _MADE[row.engine, row.mode](np.arange(1 << 16, dtype=np.uint16))

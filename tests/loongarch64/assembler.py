"""Just enough of an assembler for the tests: words from fields."""

from __future__ import annotations

import struct

from tests.loongarch64.opcodes import BY_NAME

ZERO, RA, TP, SP, A0, A1, A2, A3, A4, A5, A6, A7, T0, T1, T2, T3, T4, T5, T6, T7, T8 = range(21)


def put(word: int, low: int, width: int, value: int) -> int:
    """`word` with the field at bit `low` set to `value`, cut to `width` bits."""
    mask = (1 << width) - 1
    return word & ~(mask << low) | (value & mask) << low


def insn(name: str, *values: int) -> int:
    """The instruction `name` with its operands in the order of the table in `opcodes`."""
    opcode = BY_NAME[name]
    word = opcode.word
    remaining = list(values)
    for operand in opcode.operands:
        for low, width in FIELDS[operand]:
            word = put(word, low, width, remaining.pop(0))
    assert not remaining, f"{name} takes fewer operands"
    return word


#: operand of the opcode table -> its fields (lowest bit, width)
FIELDS: dict[str, tuple[tuple[int, int], ...]] = {
    "d": ((0, 5),), "j": ((5, 5),), "k": ((10, 5),),
    "D": ((0, 5),), "J": ((5, 5),), "K": ((10, 5),), "A": ((15, 5),),
    "cd": ((0, 3),), "cj": ((5, 3),), "ca": ((15, 3),), "hint": ((0, 5),), "code": ((0, 15),),
    "u2": ((15, 2),), "u3": ((15, 3),), "u5": ((10, 5),), "u6": ((10, 6),), "u12": ((10, 12),),
    "i12": ((10, 12),), "i14": ((10, 14),), "i16": ((10, 16),), "i20": ((5, 20),),
    "bw": ((10, 5), (16, 5)), "bd": ((10, 6), (16, 6)),
    "m12": ((5, 5), (10, 12)), "m14": ((5, 5), (10, 14)), "mx": ((5, 5), (10, 5)), "m0": ((5, 5),),
}  # fmt: skip


def load_immediate(register: int, value: int) -> list[int]:
    """Any 64-bit value: four instructions."""
    return [
        insn("lu12i.w", register, value >> 12),
        insn("ori", register, register, value),
        insn("lu32i.d", register, value >> 32),
        insn("lu52i.d", register, register, value >> 52),
    ]


def movgr2fcsr(register: int, number: int = 0) -> int:
    return 0x0114C000 | register << 5 | number


def movfcsr2gr(register: int, number: int = 0) -> int:
    return 0x0114C800 | number << 5 | register


def jirl(link: int, register: int, offset: int = 0) -> int:
    """`offset` in bytes."""
    return 0x4C000000 | (offset >> 2 & 0xFFFF) << 10 | register << 5 | link


def syscall(code: int = 0) -> int:
    return 0x002B0000 | code


def code(*words: int) -> bytes:
    return struct.pack(f"<{len(words)}I", *words)

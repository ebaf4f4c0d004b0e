"""Encodings at which Unicorn's translator ends the process, to be found before it translates them.

They were found by translating random and systematic encodings in forked processes: all of AArch64's bits 10 to 31,
and millions of random instructions of each ISA. On Arm and RISC-V there are none.

- AArch64: reserved opcodes among half-precision vectors (`disas_simd_three_reg_same_fp16` and
  `disas_simd_two_reg_misc_fp16` of QEMU 5 assert that they are not).
- x86: bt, bts, btr and btc of a register with a LOCK prefix.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

#: (code, its address, aligned as instructions are) -> addresses; some may be inside of instructions.
UntranslatableFinder = Callable[[bytes, int], list[int]]

#: Masks and values: "Advanced SIMD three same (FP16)", "two-register miscellaneous (FP16)", vectors and scalars
#: (Arm ARM, C4.1.96).
_SAME, _SAME_CODE = 0x9F60_C400, 0x0E40_0400
_MISC, _MISC_CODE = 0x8F7E_0C00, 0x0E78_0800
_SCALAR = 0x5000_0000  #: bits 28 and 30: scalars; codes with bit 28 alone are refused
#: Reserved U:a:opcode of three same.
_SAME_RESERVED: Final = np.isin(np.arange(32), (5, 11, 12, 13, 17, 25, 27, 31))
#: Allocated U:a:opcode of vectors; scalars have frecpx, but no frintx and fsqrt.
_MISC_VECTORS: Final = (
    *range(0x18, 0x1E), *range(0x2C, 0x30), *range(0x38, 0x3C), 0x3D, *range(0x58, 0x5E), 0x6C, 0x6D, 0x6F,
    *range(0x79, 0x7C), 0x7D, 0x7F,
)  # fmt: skip
_VECTOR_RESERVED: Final = ~np.isin(np.arange(128), _MISC_VECTORS)
_SCALAR_RESERVED: Final = ~np.isin(np.arange(128), (*(set(_MISC_VECTORS) - {0x2F, 0x7F}), 0x3F))


def _aarch64(code: bytes, address: int) -> list[int]:
    words = np.frombuffer(code, "<u4", len(code) // 4)
    same = np.flatnonzero((words & _SAME) == _SAME_CODE)
    misc = np.flatnonzero((words & _MISC) == _MISC_CODE)
    found: list[int] = []
    if same.size:
        word = words[same]
        found += same[_SAME_RESERVED[word >> 25 & 16 | word >> 20 & 8 | word >> 11 & 7]].tolist()
    if misc.size:
        word = words[misc]
        opcode = word >> 23 & 64 | word >> 18 & 32 | word >> 12 & 31
        scalar = word & _SCALAR
        reserved = np.where(scalar == _SCALAR, _SCALAR_RESERVED[opcode], _VECTOR_RESERVED[opcode])
        found += misc[reserved & (scalar != 1 << 28)].tolist()
    return [address + 4 * at for at in found]


LONGEST: Final = 15  #: bytes of an instruction


def _x86(prefix: bytes) -> UntranslatableFinder:
    """`prefix` is a pattern of one prefix."""
    # f0, other prefixes, an opcode of a bit test, a ModRM byte that names a register
    locked_bit_test = re.compile(
        rb"\xf0" + prefix + rb"{0,13}\x0f(?:[\xa3\xab\xb3\xbb][\xc0-\xff]|\xba[\xe0-\xff])", re.DOTALL
    )
    prefixes = re.compile(prefix + rb"*\Z", re.DOTALL)

    def find(code: bytes, address: int) -> list[int]:
        found = []
        for match in locked_bit_test.finditer(code):
            # The instruction may begin with any of the prefixes before f0; behind the last one it has no LOCK.
            before = prefixes.search(code[max(match.start() - LONGEST, 0) : match.start()])
            first = match.start() - (len(before[0]) if before else 0)
            last = code.rindex(0xF0, match.start(), code.index(0x0F, match.start()))
            found += [address + at for at in range(first, last + 1)]
        return found

    return find


_LEGACY = rb"\x26\x2e\x36\x3e\x64-\x67\xf0\xf2\xf3"
UNTRANSLATABLE: Final[Mapping[str, UntranslatableFinder]] = {
    "aarch64": _aarch64,
    "x86_64": _x86(rb"[" + _LEGACY + rb"\x40-\x4f]"),
    "i386": _x86(rb"[" + _LEGACY + rb"]"),
}

"""SSE instructions whose results or exception flags Unicorn gets wrong, on the bits of registers.

- Approximate reciprocals: Unicorn raises flags, and does not take denormals as zero.
- Rounding to integers without the inexact flag: Unicorn raises it.
- Minimum and maximum while denormals are zero: Unicorn returns a denormal operand as it is.
- Integers of 64 bits in memory to floating point: Unicorn changes x87's tags.

Source: Intel SDM volume 2, RCPPS, RSQRTPS, ROUNDPS, MINPS, CVTPI2PS; volume 1, 11.5.2.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from typing import Final

from emu.cpu.misrun import DENORMALS_ARE_ZERO, INEXACT, INVALID
from relink.records import dataclass

__all__ = ["DENORMALS_ARE_ZERO", "INEXACT", "INVALID"]

#: By the two bits of a rounding mode: to the nearest integer (of two the even one), down, up, to zero.
_MODES: Final[tuple[Callable[[float], int], ...]] = (round, math.floor, math.ceil, math.trunc)


@dataclass(frozen=True)
class Format:
    """A floating-point format of `bits`, its sign bit, its infinity, and the bit that makes a NaN quiet."""

    bits: int
    code: str  #: for `struct`
    integer: str  #: the same, of an integer of this size
    sign: int
    infinity: int
    quiet: int

    def value(self, pattern: int) -> float:
        return float(struct.unpack(self.code, struct.pack(self.integer, pattern))[0])

    def pattern(self, value: float) -> int:
        return int(struct.unpack(self.integer, struct.pack(self.code, value))[0])

    def is_nan(self, pattern: int) -> bool:
        return pattern & ~self.sign > self.infinity

    def flushed(self, pattern: int) -> int:
        """A denormal as zero; others unchanged."""
        return pattern if pattern & self.infinity else pattern & self.sign


SINGLE: Final = Format(32, "<f", "<I", 1 << 31, 0xFF << 23, 1 << 22)
DOUBLE: Final = Format(64, "<d", "<Q", 1 << 63, 0x7FF << 52, 1 << 51)
#: Single-precision exponents, in place, of which the reciprocal, and its root, is normal.
_LEAST_NORMAL, _LARGEST_INVERTED = 1 << 23, 0xFD << 23


def lanes(value: int, bits: int, count: int) -> Iterator[int]:
    return (value >> bits * n & (1 << bits) - 1 for n in range(count))


def joined(values: list[int], bits: int, rest: int) -> int:
    """Lanes from the lowest up; above them the bits of `rest`."""
    low = sum(value << bits * n for n, value in enumerate(values))
    return low | rest >> bits * len(values) << bits * len(values)


def reciprocal(pattern: int) -> int:
    """1 / x of a single-precision number (both as patterns), rounded to nearest; the flags are not affected."""
    if _LEAST_NORMAL <= pattern & 0x7F80_0000 < _LARGEST_INVERTED:
        return SINGLE.pattern(1 / SINGLE.value(pattern))
    if SINGLE.is_nan(pattern):
        return pattern | SINGLE.quiet
    pattern, sign = SINGLE.flushed(pattern), pattern & SINGLE.sign
    if not pattern & ~SINGLE.sign:
        return sign | SINGLE.infinity
    if pattern & ~SINGLE.sign == SINGLE.infinity:
        return sign
    return SINGLE.flushed(SINGLE.pattern(1 / SINGLE.value(pattern)))


def reciprocal_root(pattern: int) -> int:
    """1 / sqrt(x) of a single-precision number (both as patterns), rounded to nearest. The flags are not
    affected.
    """
    if _LEAST_NORMAL <= pattern < SINGLE.infinity:
        return SINGLE.pattern(1 / math.sqrt(SINGLE.value(pattern)))
    if SINGLE.is_nan(pattern):
        return pattern | SINGLE.quiet
    pattern, sign = SINGLE.flushed(pattern), pattern & SINGLE.sign
    if not pattern & ~SINGLE.sign:
        return sign | SINGLE.infinity
    if sign:
        return 0xFFC0_0000
    return 0 if pattern == SINGLE.infinity else SINGLE.pattern(1 / math.sqrt(SINGLE.value(pattern)))


def rounded(form: Format, pattern: int, mode: int, mxcsr: int) -> tuple[int, int]:
    """(the integer in a rounding mode, flags to raise), without the inexact flag."""
    if form.is_nan(pattern):
        return pattern | form.quiet, 0 if pattern & form.quiet else INVALID
    if mxcsr & DENORMALS_ARE_ZERO:
        pattern = form.flushed(pattern)
    if pattern & ~form.sign >= form.infinity:
        return pattern, 0
    integer = _MODES[mode](form.value(pattern))
    return form.pattern(float(abs(integer))) | pattern & form.sign, 0


def extreme(form: Format, first: int, second: int, *, maximum: bool) -> tuple[int, int]:
    """(the minimum or maximum, flags to raise) while denormals are zero."""
    first, second = form.flushed(first), form.flushed(second)
    if form.is_nan(first) or form.is_nan(second):
        return second, INVALID
    one, other = form.value(first), form.value(second)
    return (first if (one > other if maximum else one < other) else second), 0


def single_of(value: int, mode: int) -> tuple[int, int]:
    """(a signed integer of 32 bits in single precision, flags to raise)."""
    size = abs(value)
    shift = max(size.bit_length() - 24, 0)
    if not size & (1 << shift) - 1:
        return SINGLE.pattern(float(value)), 0
    result = _MODES[mode](value / (1 << shift)) << shift  # exact: of 32 bits
    assert SINGLE.value(SINGLE.pattern(float(result))) == result
    return SINGLE.pattern(float(result)), INEXACT

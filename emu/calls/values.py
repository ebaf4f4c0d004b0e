"""Bit patterns of C values: floats in every format, integers truncated and extended.

Python's float is binary64. Wider formats represent all its values exactly. A wider value is converted to the
nearest float, ties to even (IEEE 754-2019, 4.3.1), infinity on overflow, and keeps its bits (`WideFloat`).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

from emu.isa.convention import BINARY16, BINARY32, BINARY64, FloatFormat

_HALF = struct.Struct("<e")
_SINGLE = struct.Struct("<f")
_DOUBLE = struct.Struct("<d")


class WideFloat(float):
    """A value of a format wider than binary64: the nearest float, and the bits.

    When it is passed in the same format, the bits are used, so that no precision is lost.
    """

    __slots__ = ("bits", "fmt")
    bits: int
    fmt: FloatFormat

    @classmethod
    def of(cls, bits: int, fmt: FloatFormat) -> WideFloat:
        """The value of `bits` in `fmt`."""
        value = cls(_narrow(bits, fmt))
        value.bits, value.fmt = bits, fmt
        return value


def encode_float(value: float, fmt: FloatFormat) -> int:
    """The bits of `value` in `fmt`, as an unsigned int."""
    if isinstance(value, WideFloat) and value.fmt == fmt:
        return value.bits
    if fmt is BINARY64:
        return int.from_bytes(_DOUBLE.pack(value), "little")
    if fmt is BINARY32:
        try:
            return int.from_bytes(_SINGLE.pack(value), "little")
        except OverflowError:  # C rounds to infinity
            return 0xFF80_0000 if value < 0 else 0x7F80_0000
    if fmt is BINARY16:
        try:
            return int.from_bytes(_HALF.pack(value), "little")
        except OverflowError:
            return 0xFC00 if value < 0 else 0x7C00
    return _widen(int.from_bytes(_DOUBLE.pack(value), "little"), fmt)


def decode_float(bits: int, fmt: FloatFormat) -> float:
    """The value of `bits` (an unsigned int; anything above the format's width is ignored)."""
    if fmt is BINARY64:
        return float(_DOUBLE.unpack((bits & 0xFFFF_FFFF_FFFF_FFFF).to_bytes(8, "little"))[0])
    if fmt is BINARY32:
        return float(_SINGLE.unpack((bits & 0xFFFF_FFFF).to_bytes(4, "little"))[0])
    if fmt is BINARY16:
        return float(_HALF.unpack((bits & 0xFFFF).to_bytes(2, "little"))[0])
    return WideFloat.of(bits & (1 << fmt.exponent + fmt.fraction + fmt.explicit_one + 1) - 1, fmt)


def _widen(bits: int, fmt: FloatFormat) -> int:
    sign, exponent, fraction = bits >> 63, bits >> 52 & 0x7FF, bits & (1 << 52) - 1
    top = (1 << fmt.exponent) - 1
    bias = top >> 1
    one = 1
    if exponent == 0x7FF:
        exponent = top
    elif exponent == 0 and fraction == 0:
        one = 0
    elif exponent == 0:  # subnormal in `fmt`, normal in binary64
        shift = 53 - fraction.bit_length()
        fraction = fraction << shift & (1 << 52) - 1
        exponent = bias - 1022 - shift
    else:
        exponent += bias - 1023
    mantissa = fraction << fmt.fraction - 52
    if fmt.explicit_one:
        mantissa |= one << fmt.fraction
    return (sign << fmt.exponent | exponent) << fmt.fraction + fmt.explicit_one | mantissa


def _narrow(bits: int, fmt: FloatFormat) -> float:
    width = fmt.fraction + fmt.explicit_one
    mantissa = bits & (1 << width) - 1
    top = (1 << fmt.exponent) - 1
    exponent = bits >> width & top
    sign = -1.0 if bits >> width + fmt.exponent & 1 else 1.0
    if exponent == top:
        return math.copysign(math.nan if mantissa & (1 << fmt.fraction) - 1 else math.inf, sign)
    if not fmt.explicit_one and exponent:
        mantissa |= 1 << fmt.fraction
    scale = max(exponent, 1) - (top >> 1) - fmt.fraction
    # Integer true division rounds once, correctly, subnormal results included; ldexp would round twice.
    try:
        value = float(mantissa << scale) if scale >= 0 else mantissa / (1 << -scale)
    except OverflowError:
        value = math.inf
    return math.copysign(value, sign)


def extender(size: int, word: int, *, signed: bool) -> Callable[[int], int]:
    """A function from any int to the pattern of its low `size` bytes, extended to `word` bytes."""
    mask = (1 << 8 * size) - 1
    if not signed or size >= word:
        return lambda value: value & mask
    sign, full = 1 << 8 * size - 1, (1 << 8 * word) - 1
    return lambda value: ((value & mask ^ sign) - sign) & full


def truncator(size: int, *, signed: bool) -> Callable[[int], int]:
    """A function from a register's pattern to the value of its low `size` bytes."""
    mask = (1 << 8 * size) - 1
    if not signed:
        return lambda bits: bits & mask
    sign = 1 << 8 * size - 1
    return lambda bits: (bits & mask ^ sign) - sign

"""Floating-point formats: conversion between bits and exact values, correctly rounded, for every width in C.

Arithmetic helpers compute with `Fraction` and round once, so binary16 to binary128 use the same code. NaNs are
quiet and positive; infinities and signed zeros are preserved. Rounding is by IEEE 754-2019, 4.3; the default is
ties to even.
"""

from __future__ import annotations

import enum
import math
import struct
from fractions import Fraction

from emu.calls.values import WideFloat
from emu.isa.convention import BINARY64, BINARY128, DataModel, FloatFormat
from emu.isa.convention import X87 as EXTENDED
from relink.records import dataclass


class Rounding(enum.IntEnum):
    """IEEE 754's rounding directions of binary arithmetic, in the order of `FloatEnvironment.modes`."""

    NEAREST = 0
    ZERO = 1
    UP = 2
    DOWN = 3

    def of(self, value: Fraction) -> int:
        """Round `value` to an integer in this direction."""
        if self is Rounding.NEAREST:
            return round(value)
        return (
            math.trunc(value)
            if self is Rounding.ZERO
            else math.ceil(value)
            if self is Rounding.UP
            else math.floor(value)
        )

    def reversed(self, negative: bool) -> Rounding:
        """The direction for the magnitude of a value with that sign."""
        return _MIRRORED.get(self, self) if negative else self


_MIRRORED = {Rounding.UP: Rounding.DOWN, Rounding.DOWN: Rounding.UP}


@dataclass(frozen=True, slots=True)
class Format:
    """A binary interchange format (or, with `explicit`, x87's with its leading bit stored)."""

    name: str
    size: int  #: bytes of the value without padding
    exponent_bits: int
    fraction_bits: int  #: stored bits below the leading one
    explicit: bool = False

    @property
    def bias(self) -> int:
        return (1 << (self.exponent_bits - 1)) - 1

    @property
    def infinity(self) -> int:
        top = ((1 << self.exponent_bits) - 1) << self._exponent_shift
        return top | (1 << self.fraction_bits if self.explicit else 0)

    @property
    def largest(self) -> int:
        """The bits of the largest finite value."""
        return ((1 << self.exponent_bits) - 2) << self._exponent_shift | (1 << self._exponent_shift) - 1

    @property
    def nan(self) -> int:
        return self.infinity | 1 << (self.fraction_bits - 1)

    @property
    def sign_bit(self) -> int:
        return 1 << (self.exponent_bits + self._exponent_shift)

    @property
    def _exponent_shift(self) -> int:
        return self.fraction_bits + self.explicit

    @property
    def smallest_normal(self) -> Fraction:
        """The smallest normal value."""
        return Fraction(1, 1 << (self.bias - 1))

    def step(self, bits: int, *, up: bool) -> int:
        """The bits of the next value away from zero (`up`) or towards it, for a finite value other than 0."""
        if not self.explicit:
            return bits + 1 if up else bits - 1
        # x87 stores the leading bit: it is removed for counting and added again from the exponent.
        low = bits & ((1 << self.fraction_bits) - 1)
        plain = bits >> (self.fraction_bits + 1) << self.fraction_bits | low
        plain += 1 if up else -1
        exponent = plain >> self.fraction_bits
        leading = exponent & ((1 << self.exponent_bits) - 1) != 0
        return (exponent << 1 | leading) << self.fraction_bits | plain & ((1 << self.fraction_bits) - 1)

    def exact(self, bits: int) -> Fraction | float:
        """The value: a Fraction when finite and not zero, else a float infinity, NaN or zero."""
        negative = bits & self.sign_bit
        exponent = (bits & ~self.sign_bit) >> self._exponent_shift
        fraction = bits & ((1 << self.fraction_bits) - 1)
        leading = (bits >> self.fraction_bits) & 1 if self.explicit else int(exponent > 0)
        if exponent and not leading:  # x87's unnormals, pseudo-infinities and pseudo-NaNs are invalid
            return math.nan
        if exponent == (1 << self.exponent_bits) - 1:
            special = math.nan if fraction else math.inf
            return math.copysign(special, -1 if negative else 1)
        significand = leading << self.fraction_bits | fraction
        if not significand:
            return -0.0 if negative else 0.0
        scale = max(exponent, 1) - self.bias - self.fraction_bits
        value = Fraction(significand << scale) if scale >= 0 else Fraction(significand, 1 << -scale)
        return -value if negative else value

    def round(self, value: Fraction | float, rounding: Rounding = Rounding.NEAREST) -> int:
        """The bits of `value`, rounded."""
        if isinstance(value, float):
            sign = self.sign_bit if math.copysign(1, value) < 0 else 0
            if math.isnan(value):
                return self.nan
            if math.isinf(value):
                return sign | self.infinity
            if value == 0:
                return sign
            value = Fraction(value)
        sign = self.sign_bit if value < 0 else 0
        rounding = rounding.reversed(value < 0)
        value = abs(value)
        if not value:
            return 0
        exponent = value.numerator.bit_length() - value.denominator.bit_length()
        if (value.denominator << exponent if exponent >= 0 else value.denominator) > (
            value.numerator if exponent >= 0 else value.numerator << -exponent
        ):
            exponent -= 1
        exponent = max(exponent, 1 - self.bias)
        shift = self.fraction_bits - exponent
        significand = rounding.of(value * (1 << shift) if shift >= 0 else value / (1 << -shift))
        if significand >> (self.fraction_bits + 1):
            significand >>= 1
            exponent += 1
        if exponent > self.bias:
            return sign | (self.infinity if rounding in (Rounding.NEAREST, Rounding.UP) else self.largest)
        stored = exponent + self.bias if significand >> self.fraction_bits else 0
        if not self.explicit:
            significand &= (1 << self.fraction_bits) - 1
        return sign | stored << self._exponent_shift | significand


HALF = Format("half", 2, 5, 10)
SINGLE = Format("float", 4, 8, 23)
DOUBLE = Format("double", 8, 11, 52)
QUAD = Format("binary128", 16, 15, 112)
X87 = Format("x87 extended", 10, 15, 63, explicit=True)

_LONG_DOUBLE = {BINARY64: DOUBLE, EXTENDED: X87, BINARY128: QUAD}


def long_double(data: DataModel) -> tuple[Format, int]:
    """The format of `long double` and its sizeof."""
    return _LONG_DOUBLE[data.long_double], data.long_double_size


_WIDE: dict[FloatFormat, Format] = {EXTENDED: X87, BINARY128: QUAD}


_FLOAT_FORMATS = {form: fmt for fmt, form in _WIDE.items()}


def exact(value: float) -> Fraction | float:
    """The value in the form of `Format.exact`; for a `WideFloat` with full precision."""
    if isinstance(value, WideFloat):
        return _WIDE[value.fmt].exact(value.bits)
    return Fraction(value) if value and math.isfinite(value) else value


def format_bits(value: float) -> tuple[int, Format]:
    """The bits of a double, or of a `WideFloat`, and their format."""
    return (value.bits, _WIDE[value.fmt]) if isinstance(value, WideFloat) else (double_bits(value), DOUBLE)


def float_of(bits: int, form: Format) -> float:
    """A Python float; for a wider format a `WideFloat` with the bits."""
    if form is DOUBLE:
        return bits_double(bits)
    if form is SINGLE:
        return bits_single(bits)
    return WideFloat.of(bits, _FLOAT_FORMATS[form])


def as_long_double(value: Fraction | float, data: DataModel, rounding: Rounding = Rounding.NEAREST) -> float:
    """`value` rounded to `long double`: the nearest float, with the bits if the format is wider."""
    form, _ = long_double(data)
    bits = form.round(value, rounding)
    return bits_double(bits) if data.long_double == BINARY64 else WideFloat.of(bits, data.long_double)


def to_float(value: Fraction | float) -> float:
    """The nearest double; infinite beyond its range."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf  # copysign would convert it to a double too


def double_bits(value: float) -> int:
    return int.from_bytes(struct.pack("<d", value), "little")


def bits_double(bits: int) -> float:
    return float(struct.unpack("<d", bits.to_bytes(8, "little"))[0])


def single_bits(value: float) -> int:
    """`value` rounded to single precision, as bits."""
    try:
        return int.from_bytes(struct.pack("<f", value), "little")
    except OverflowError:
        return SINGLE.infinity | (SINGLE.sign_bit if value < 0 else 0)


def bits_single(bits: int) -> float:
    return float(struct.unpack("<f", bits.to_bytes(4, "little"))[0])


def single(value: float) -> float:
    """`value` rounded to single precision."""
    return bits_single(single_bits(value))

"""IEEE 754 binary32 and binary64 in integer arithmetic, with rounding modes and exception flags.

For the operations that the SLEIGH specification leaves to the host. Numbers are raw bit patterns. A finite number
is (-1)^sign * mantissa * 2^exponent with an integer mantissa of any length, so sums, products and fused operations
are exact until `Format.round`; quotients and square roots have a last bit that is set when they are inexact.
Sources: IEEE 754-2008; LoongArch Reference Manual volume 1, 3.1.1 (NaN rules, as QEMU also implements them: a
result that is NaN is the first signaling operand made quiet, else the first quiet one, else the default).
"""

from __future__ import annotations

import enum
from math import isqrt
from typing import NamedTuple

from relink.records import dataclass, field

# Exceptions, with the bit positions of fcsr's Enables, Flags and Cause. Plain integers, because combining members
# of an enum.IntFlag takes longer than the arithmetic.
INEXACT, UNDERFLOW, OVERFLOW, DIVISION_BY_ZERO, INVALID = 1, 2, 4, 8, 16


class Rounding(enum.IntEnum):
    """The values of fcsr's RM field."""

    NEAREST_EVEN = 0
    TO_ZERO = 1
    UP = 2
    DOWN = 3


#: A result: bit pattern (or integer) and the exceptions raised.
Result = tuple[int, int]


class Number(NamedTuple):
    """An unpacked operand that is not NaN; an infinity has mantissa 0 and `infinite` set."""

    sign: int
    mantissa: int
    exponent: int
    infinite: bool = False

    def negated(self) -> Number:
        return Number(self.sign ^ 1, self.mantissa, self.exponent, self.infinite)

    def shifted(self, exponent: int) -> int:
        """The signed mantissa for a lower or equal exponent."""
        mantissa = self.mantissa << self.exponent - exponent
        return -mantissa if self.sign else mantissa


def round_mantissa(sign: int, mantissa: int, shift: int, rounding: Rounding) -> tuple[int, bool]:
    """mantissa / 2^shift as an integer, and whether it is inexact."""
    if shift <= 0:
        return mantissa << -shift, False
    kept = mantissa >> shift
    lost = mantissa - (kept << shift)
    if not lost:
        return kept, False
    half = 1 << shift - 1
    if rounding is Rounding.NEAREST_EVEN:
        up = lost > half or (lost == half and kept & 1 == 1)
    else:
        up = rounding is (Rounding.DOWN if sign else Rounding.UP)
    return kept + up, True


@dataclass(frozen=True, slots=True)
class Format:
    """An interchange format of `width` bits with `precision` significant bits (the hidden one counted)."""

    width: int
    precision: int

    sign_bit: int = field(init=False)
    infinity: int = field(init=False)
    quiet_bit: int = field(init=False)
    default_nan: int = field(init=False)
    one: int = field(init=False)
    #: The exponent of a subnormal's mantissa.
    least_exponent: int = field(init=False)

    def __post_init__(self) -> None:
        exponent_bits = self.width - self.precision
        infinity = ((1 << exponent_bits) - 1) << self.precision - 1
        for name, value in (
            ("sign_bit", 1 << self.width - 1),
            ("infinity", infinity),
            ("quiet_bit", 1 << self.precision - 2),
            ("default_nan", infinity | 1 << self.precision - 2),
            ("one", ((1 << exponent_bits - 1) - 1) << self.precision - 1),
            ("least_exponent", 3 - (1 << exponent_bits - 1) - self.precision),
        ):
            object.__setattr__(self, name, value)

    # ---- looking at patterns

    def is_nan(self, bits: int) -> bool:
        return bits & ~self.sign_bit > self.infinity

    def is_signaling(self, bits: int) -> bool:
        return self.is_nan(bits) and not bits & self.quiet_bit

    def propagate(self, *operands: int) -> Result:
        """The NaN that results from operands of which at least one is NaN."""
        signaling = [bits for bits in operands if self.is_signaling(bits)]
        chosen = (signaling or [bits for bits in operands if self.is_nan(bits)])[0]
        return chosen | self.quiet_bit, INVALID if signaling else 0

    def unpack(self, bits: int) -> Number:
        """Unpack a pattern that is not NaN."""
        sign = bits >> self.width - 1
        fraction = bits & (1 << self.precision - 1) - 1
        biased = (bits & ~self.sign_bit) >> self.precision - 1
        if bits & self.infinity == self.infinity:
            return Number(sign, 0, 0, infinite=True)
        if biased == 0:
            return Number(sign, fraction, self.least_exponent)
        return Number(sign, fraction | 1 << self.precision - 1, biased - 1 + self.least_exponent)

    # ---- making patterns

    def zero(self, sign: int) -> Result:
        return sign << self.width - 1, 0

    def infinite(self, sign: int) -> Result:
        return sign << self.width - 1 | self.infinity, 0

    def invalid(self) -> Result:
        return self.default_nan, INVALID

    def round(self, sign: int, mantissa: int, exponent: int, rounding: Rounding) -> Result:
        """The nearest representable number; tininess is detected after rounding."""
        if not mantissa:
            return self.zero(sign)
        top = mantissa.bit_length() - self.precision + exponent
        kept, inexact = round_mantissa(sign, mantissa, max(top, self.least_exponent) - exponent, rounding)
        at = max(top, self.least_exponent)
        flags = INEXACT if inexact else 0
        if inexact and top < self.least_exponent:
            # Tiny, unless rounding with the exponent unbounded reaches the least normal number.
            full, _ = round_mantissa(sign, mantissa, top - exponent, rounding)
            if full.bit_length() + top < self.precision + self.least_exponent:
                flags |= UNDERFLOW
        if kept >> self.precision:
            kept >>= 1
            at += 1
        biased = at - self.least_exponent + 1 if kept >> self.precision - 1 else 0
        pattern = (biased << self.precision - 1) + (kept & (1 << self.precision - 1) - 1)
        if pattern >= self.infinity:
            away = rounding is Rounding.NEAREST_EVEN or rounding is (Rounding.DOWN if sign else Rounding.UP)
            pattern = self.infinity if away else self.infinity - 1
            flags = OVERFLOW | INEXACT
        return sign << self.width - 1 | pattern, flags

    # ---- arithmetic

    def add(self, x: int, y: int, rounding: Rounding) -> Result:
        if self.is_nan(x) or self.is_nan(y):
            return self.propagate(x, y)
        return self._sum(self.unpack(x), self.unpack(y), rounding)

    def subtract(self, x: int, y: int, rounding: Rounding) -> Result:
        if self.is_nan(x) or self.is_nan(y):
            return self.propagate(x, y)
        return self._sum(self.unpack(x), self.unpack(y).negated(), rounding)

    def _sum(self, x: Number, y: Number, rounding: Rounding, *, negate: bool = False) -> Result:
        """x + y, or its negation, rounded once. The sign of a sum that cancels is that of x + y, negated."""
        if x.infinite or y.infinite:
            if x.infinite and y.infinite and x.sign != y.sign:
                return self.invalid()
            return self.infinite((x.sign if x.infinite else y.sign) ^ negate)
        exponent = min(x.exponent, y.exponent)
        total = x.shifted(exponent) + y.shifted(exponent)
        if total == 0:
            return self.zero((x.sign if x.sign == y.sign else int(rounding is Rounding.DOWN)) ^ negate)
        return self.round(int(total < 0) ^ negate, abs(total), exponent, rounding)

    def multiply(self, x: int, y: int, rounding: Rounding) -> Result:
        if self.is_nan(x) or self.is_nan(y):
            return self.propagate(x, y)
        product = self._product(self.unpack(x), self.unpack(y))
        if product is None:
            return self.invalid()
        if product.infinite:
            return self.infinite(product.sign)
        return self.round(product.sign, product.mantissa, product.exponent, rounding)

    @staticmethod
    def _product(x: Number, y: Number) -> Number | None:
        """The exact product; None for infinity times zero."""
        sign = x.sign ^ y.sign
        if x.infinite or y.infinite:
            if not (x.infinite or x.mantissa) or not (y.infinite or y.mantissa):
                return None
            return Number(sign, 0, 0, infinite=True)
        return Number(sign, x.mantissa * y.mantissa, x.exponent + y.exponent)

    def multiply_add(self, x: int, y: int, z: int, rounding: Rounding, *, negate_z: bool, negate: bool) -> Result:
        """±(x * y ± z) with one rounding, of the negated sum (so QEMU; the manual says nothing)."""
        if self.is_nan(x) or self.is_nan(y) or self.is_nan(z):
            bits, flags = self.propagate(z, x, y)
            factors_are_numbers = not (self.is_nan(x) or self.is_nan(y))
            if factors_are_numbers and self._product(self.unpack(x), self.unpack(y)) is None:
                flags |= INVALID
            return bits, flags
        product = self._product(self.unpack(x), self.unpack(y))
        if product is None:
            return self.invalid()
        addend = self.unpack(z)
        return self._sum(product, addend.negated() if negate_z else addend, rounding, negate=negate)

    def divide(self, x: int, y: int, rounding: Rounding) -> Result:
        if self.is_nan(x) or self.is_nan(y):
            return self.propagate(x, y)
        a, b = self.unpack(x), self.unpack(y)
        sign = a.sign ^ b.sign
        if a.infinite or b.infinite:
            if a.infinite and b.infinite:
                return self.invalid()
            return self.infinite(sign) if a.infinite else self.zero(sign)
        if not b.mantissa:
            return (self.infinite(sign)[0], DIVISION_BY_ZERO) if a.mantissa else self.invalid()
        # Two bits more than the precision, whatever the operands' lengths; the last says "not exact".
        scale = self.precision + 2 + max(0, b.mantissa.bit_length() - a.mantissa.bit_length())
        quotient, rest = divmod(a.mantissa << scale, b.mantissa)
        return self.round(sign, quotient << 1 | bool(rest), a.exponent - b.exponent - scale - 1, rounding)

    def square_root(self, x: int, rounding: Rounding) -> Result:
        if self.is_nan(x):
            return self.propagate(x)
        a = self.unpack(x)
        if not a.infinite and not a.mantissa:
            return x, 0
        if a.sign:
            return self.invalid()
        if a.infinite:
            return x, 0
        scale = 2 * self.precision + (a.exponent & 1)
        root = isqrt(a.mantissa << scale)
        rest = root * root != a.mantissa << scale
        return self.round(0, root << 1 | rest, (a.exponent - scale) // 2 - 1, rounding)

    def scale(self, x: int, power: int, rounding: Rounding) -> Result:
        """x * 2^power."""
        if self.is_nan(x):
            return self.propagate(x)
        a = self.unpack(x)
        return (x, 0) if a.infinite else self.round(a.sign, a.mantissa, a.exponent + power, rounding)

    def log_b(self, x: int) -> Result:
        """floor(log2(x)) as a floating-point number; invalid for x < 0."""
        if self.is_nan(x):
            return self.propagate(x)
        a = self.unpack(x)
        if not a.infinite and not a.mantissa:
            return self.infinite(1)[0], DIVISION_BY_ZERO
        if a.sign:
            return self.invalid()
        if a.infinite:
            return x, 0
        power = a.mantissa.bit_length() - 1 + a.exponent
        return self.round(int(power < 0), abs(power), 0, Rounding.NEAREST_EVEN)

    # ---- choosing and comparing

    def _order(self, bits: int) -> int:
        """An integer that orders non-NaN patterns as their values, -0 just below +0."""
        return ~(bits & ~self.sign_bit) if bits & self.sign_bit else bits

    def choose(self, x: int, y: int, *, greatest: bool, by_magnitude: bool) -> Result:
        """maxNum, minNum, maxNumMag, minNumMag: a quiet NaN loses against a number."""
        if self.is_nan(x) or self.is_nan(y):
            if self.is_signaling(x) or self.is_signaling(y) or (self.is_nan(x) and self.is_nan(y)):
                return self.propagate(x, y)
            return (y if self.is_nan(x) else x), 0
        magnitude = (x & ~self.sign_bit, y & ~self.sign_bit) if by_magnitude else (0, 0)
        if (magnitude[0], self._order(x)) < (magnitude[1], self._order(y)):
            x, y = y, x
        return (x if greatest else y), 0

    def compare(self, x: int, y: int, condition: int, *, signaling: bool) -> Result:
        """fcmp: `condition` is a set of 1 less, 2 equal, 4 unordered, 8 less or greater; gives 0 or 1."""
        if self.is_nan(x) or self.is_nan(y):
            raises = signaling or self.is_signaling(x) or self.is_signaling(y)
            return condition >> 2 & 1, INVALID if raises else 0
        equal = x == y or not (x | y) & ~self.sign_bit
        less = not equal and self._order(x) < self._order(y)
        return int(bool(condition & (2 if equal else 9 if less else 8))), 0

    # ---- converting

    def convert(self, x: int, source: Format, rounding: Rounding) -> Result:
        """A number of the format `source` in this one."""
        if source.is_nan(x):
            payload = x & (source.quiet_bit << 1) - 1
            distance = self.precision - source.precision
            payload = payload << distance if distance >= 0 else payload >> -distance
            sign = x >> source.width - 1
            pattern = sign << self.width - 1 | self.infinity | self.quiet_bit | payload
            return pattern, INVALID if source.is_signaling(x) else 0
        a = source.unpack(x)
        return self.infinite(a.sign) if a.infinite else self.round(a.sign, a.mantissa, a.exponent, rounding)

    def from_integer(self, value: int, rounding: Rounding) -> Result:
        return self.round(int(value < 0), abs(value), 0, rounding)

    def to_integer(self, x: int, bits: int, rounding: Rounding) -> Result:
        """A signed integer of `bits` bits, as an unsigned pattern: saturated, and 0 for NaN, both invalid."""
        if self.is_nan(x):
            return 0, INVALID
        a = self.unpack(x)
        least, greatest = -1 << bits - 1, (1 << bits - 1) - 1
        kept, inexact = round_mantissa(a.sign, a.mantissa, -a.exponent, rounding)
        value = -kept if a.sign else kept
        if a.infinite or not least <= value <= greatest:
            return (least if a.sign else greatest) & (1 << bits) - 1, INVALID
        return value & (1 << bits) - 1, INEXACT if inexact else 0

    def to_integral(self, x: int, rounding: Rounding) -> Result:
        """x rounded to an integer, as a floating-point number of the same sign."""
        if self.is_nan(x):
            return self.propagate(x)
        a = self.unpack(x)
        if a.infinite or a.exponent >= 0:
            return x, 0
        kept, inexact = round_mantissa(a.sign, a.mantissa, -a.exponent, rounding)
        return self.round(a.sign, kept, 0, rounding)[0], INEXACT if inexact else 0


SINGLE = Format(width=32, precision=24)
DOUBLE = Format(width=64, precision=53)

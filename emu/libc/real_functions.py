"""Functions of a real variable to any precision with `decimal`, for long double and functions that Python's math
lacks.

Each takes and returns `Decimal` numbers at the precision of the current context. `evaluate` calls one with
increasing precision until two results agree to `DIGITS`, which is more than binary128 has; so cancellation need
not be considered here. Formulas are those of the NIST Digital Library of Mathematical Functions, by section.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextvars import ContextVar
from decimal import Context, Decimal, localcontext
from decimal import getcontext as context
from fractions import Fraction
from functools import lru_cache
from typing import TypeAlias

DIGITS = 42  #: number of digits to which two evaluations must agree
_FIRST, _MOST = 55, 60_000  # precisions in digits


def decimal_context(digits: int) -> Context:
    return Context(prec=digits, Emax=10**9, Emin=-(10**9), traps=[])


_ANY = decimal_context(_FIRST)

Real: TypeAlias = Callable[..., Decimal]
#: Called regularly by long computations; raises when the time limit has passed.
CHECK: ContextVar[Callable[[], object]] = ContextVar("check", default=lambda: None)


def evaluate(function: Real, *arguments: Fraction) -> Decimal:
    """The value of `function`, correct to `DIGITS` significant digits."""
    digits, last = _FIRST, None
    while True:
        CHECK.get()()
        with localcontext(decimal_context(digits)):
            value = function(*map(_decimal, arguments))
        if last is not None:
            settled = not value.is_finite() or _ANY.subtract(value, last).copy_abs() <= value.copy_abs().scaleb(
                -DIGITS, _ANY
            )
            if settled or digits > _MOST:
                return value
        digits, last = digits + 30 if last is None else digits * 2, value


def _decimal(value: Fraction) -> Decimal:
    """An integer as an exact Decimal of any size: the result of argument reduction depends on every digit."""
    return Decimal(value.numerator) if value.denominator == 1 else Decimal(value.numerator) / value.denominator


# ---------------------------------------------------------------- constants


@lru_cache(maxsize=8)
def _pi_digits(digits: int) -> int:
    """pi * 10**digits (Machin's formula)."""
    unit: int = 10 ** (digits + 10)

    def arctan_of_inverse(n: int) -> int:
        term = total = unit // n
        divisor, sign = 1, 1
        while term:
            term //= n * n
            divisor, sign = divisor + 2, -sign
            total += sign * (term // divisor)
        return total

    return 4 * (4 * arctan_of_inverse(5) - arctan_of_inverse(239)) // 10**10


def pi(more: int = 0) -> Decimal:
    """pi to the context's precision, and `more` digits."""
    digits = context().prec + more
    rounded = -(-digits // 50) * 50
    return Decimal(_pi_digits(rounded)).scaleb(-rounded, decimal_context(rounded + 10))


def _small(x: Decimal) -> bool:
    """Whether two terms of a power series are sufficient."""
    return x == 0 or x.adjusted() < -context().prec // 2


# ---------------------------------------------------------------- exponentials (4.2, 4.6, 4.28, 4.37)


def expm1(x: Decimal) -> Decimal:
    return x + x * x / 2 if _small(x) else x.exp() - 1


def log1p(x: Decimal) -> Decimal:
    return x - x * x / 2 if _small(x) else (1 + x).ln()


def exp2(x: Decimal) -> Decimal:
    return (x * Decimal(2).ln()).exp()


def exp10(x: Decimal) -> Decimal:
    return (x * Decimal(10).ln()).exp()


def log2(x: Decimal) -> Decimal:
    return x.ln() / Decimal(2).ln()


def cbrt(x: Decimal) -> Decimal:
    root = (abs(x).ln() / 3).exp()
    return root.copy_sign(x)


def power(x: Decimal, y: Decimal) -> Decimal:
    """|x|**y; the caller handles the sign."""
    return (abs(x).ln() * y).exp()


def hypot(x: Decimal, y: Decimal) -> Decimal:
    return (x * x + y * y).sqrt()


def sinh(x: Decimal) -> Decimal:
    e = expm1(abs(x))
    return (e if e.is_infinite() else (e + e / (e + 1)) / 2).copy_sign(x)


def cosh(x: Decimal) -> Decimal:
    e = x.exp()
    return (e + 1 / e) / 2


def tanh(x: Decimal) -> Decimal:
    if abs(x) > 10 * context().prec:
        return Decimal(1).copy_sign(x) * (1 - Decimal(10) ** -context().prec)
    e = expm1(2 * abs(x))
    return (e / (e + 2)).copy_sign(x)


def asinh(x: Decimal) -> Decimal:
    a = abs(x)
    return log1p(a + a * a / (1 + (a * a + 1).sqrt())).copy_sign(x)


def acosh(x: Decimal) -> Decimal:
    a = x - 1
    return log1p(a + (a * (x + 1)).sqrt())


def atanh(x: Decimal) -> Decimal:
    a = abs(x)
    return (log1p(2 * a / (1 - a)) / 2).copy_sign(x)


# ---------------------------------------------------------------- circular functions (4.19, 4.24)


def reduced(x: Decimal) -> tuple[Decimal, int]:
    """x minus a multiple of pi/2, and the multiple (modulo 4)."""
    more = max(x.adjusted(), 0) + 5
    with localcontext() as wide:
        wide.prec += more
        half = pi() / 2
        count = (x / half).to_integral_value()
        rest = x - count * half
    return +rest, int(count) % 4


def _sine_and_cosine(x: Decimal) -> tuple[Decimal, Decimal]:
    """By their power series, for |x| < 1."""
    square, term, n = x * x, x, 1
    sine, end = x, Decimal(10) ** (x.adjusted() - context().prec - 3) if x else Decimal(0)
    while abs(term) > end:
        term *= -square / ((n + 1) * (n + 2))
        n += 2
        sine += term
    return sine, (1 - sine * sine).sqrt()


def _sine(x: Decimal, shift: int) -> Decimal:
    rest, quarter = reduced(x)
    sine, cosine = _sine_and_cosine(rest)
    quarter = (quarter + shift) % 4
    value = cosine if quarter % 2 else sine
    return -value if quarter > 1 else value


def sin(x: Decimal) -> Decimal:
    return _sine(x, 0)


def cos(x: Decimal) -> Decimal:
    return _sine(x, 1)


def tan(x: Decimal) -> Decimal:
    return sin(x) / cos(x)


def atan(x: Decimal) -> Decimal:
    a, inverted = abs(x), abs(x) > 1
    if inverted:
        a = 1 / a
    halvings = 0
    while a > Decimal("0.05"):
        a = a / (1 + (1 + a * a).sqrt())
        halvings += 1
    square, term, n, total = -a * a, a, 1, a
    end = Decimal(10) ** (a.adjusted() - context().prec - 3) if a else Decimal(0)
    while abs(term) > end:
        term *= square
        n += 2
        total += term / n
    total *= 1 << halvings
    return (pi() / 2 - total if inverted else total).copy_sign(x)


def asin(x: Decimal) -> Decimal:
    rest = (1 - x) * (1 + x)
    return atan(x / rest.sqrt()) if rest else (pi() / 2).copy_sign(x)


def acos(x: Decimal) -> Decimal:
    return 2 * atan(((1 - x) / (1 + x)).sqrt()) if x > -1 else pi()


def atan2(y: Decimal, x: Decimal) -> Decimal:
    """atan2 for arguments other than 0."""
    angle = atan(abs(y / x))
    return (angle if x > 0 else pi() - angle).copy_sign(y)


# ---------------------------------------------------------------- error functions (7.6, 7.9)


def erf(x: Decimal) -> Decimal:
    if abs(x) > 3:
        return (1 - _erfc_fraction(abs(x))).copy_sign(x)
    term = total = x
    n, end = 0, Decimal(10) ** (x.adjusted() - context().prec - 3) if x else Decimal(0)
    while abs(term) > end:
        n += 1
        term *= 2 * x * x / (2 * n + 1)
        total += term
    return 2 * total * (-x * x).exp() / pi().sqrt()


def erfc(x: Decimal) -> Decimal:
    if x > 3:
        return _erfc_fraction(x)
    return 2 - _erfc_fraction(-x) if x < -3 else 1 - erf(x)


def _erfc_fraction(x: Decimal) -> Decimal:
    """The continued fraction of 7.9.4, evaluated backwards."""
    steps = int((context().prec * 2.4) ** 2 / (8 * min(float(x), 1e4) ** 2)) + 20
    value = x
    for n in range(steps, 0, -1):
        value = x + Decimal(n) / 2 / value
    return (-x * x).exp() / (value * pi().sqrt())


def nearest_fraction(value: Decimal) -> Fraction | float:
    """The value in the form of `emu.libc.ieee`."""
    if not value.is_finite() or value.adjusted() > 20_000:
        return math.copysign(math.inf, -1 if value.is_signed() else 1)
    if value.adjusted() < -20_000:
        return Fraction(-1 if value < 0 else 1, 10**20_000)
    return Fraction(value) if value else 0.0

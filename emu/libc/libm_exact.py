"""libm on exact values, for `long double` functions and for directed rounding.

A value is `Exact`: a Fraction, or a float zero, infinity or NaN (as from `emu.libc.ieee.Format.exact`). The caller
rounds the result once. Special cases are those of ISO C23, annex F.10.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import TypeAlias

from emu.libc import real_functions as real
from emu.libc import special_functions as special
from emu.libc.ieee import Rounding
from emu.libc.real_functions import evaluate, nearest_fraction
from emu.libc.softfloat import Exact, add, multiply

_INF, _NAN = math.inf, math.nan
Function: TypeAlias = Callable[..., Exact]

#: The domain of each function for finite arguments other than 0; outside it the result is NaN.
_DOMAINS: dict[str, Callable[[Fraction], bool]] = {
    **dict.fromkeys(("acos", "asin"), lambda x: abs(x) <= 1),
    "acosh": lambda x: x >= 1,
    "atanh": lambda x: abs(x) < 1,
    **dict.fromkeys(("log", "log2", "log10", "y0", "y1"), lambda x: x > 0),
    "log1p": lambda x: x > -1,
    "tgamma": lambda x: x > 0 or x.denominator > 1,
}


def nan_to(value: Exact) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _finite(value: Exact) -> bool:
    return not isinstance(value, float) or value == 0


def _negative(value: Exact) -> bool:
    return math.copysign(1.0, value) < 0 if isinstance(value, float) else value < 0


def _with_sign(value: Exact, negative: bool) -> Exact:
    if isinstance(value, float) or not value:
        return math.copysign(value, -1.0 if negative else 1.0)
    magnitude = abs(value)
    return -magnitude if negative else magnitude


def _multiple_of_pi(value: float) -> Exact:
    """The exact value for a double near a multiple of pi/4; other values unchanged."""
    if not value or not math.isfinite(value):
        return value
    if value == int(value):
        return Fraction(value)
    return Fraction(round(value / math.pi * 4), 4) * Fraction(evaluate(lambda: real.pi()))


def _unary(name: str, function: real.Real, otherwise: Callable[[float], float]) -> Function:
    """`function` in its domain; `otherwise` handles infinities, NaNs and zeros."""

    def call(x: Exact) -> Exact:
        if isinstance(x, float):
            try:
                return _multiple_of_pi(otherwise(x))
            except ValueError:
                return _NAN
        if abs(x) == 1 and name in ("atanh", "log1p") and (x == -1 or name == "atanh"):
            return _with_sign(_INF, x < 0)
        if name == "acosh" and x == 1:
            return 0.0
        if not _DOMAINS.get(name, _anywhere)(x):
            return _NAN
        return nearest_fraction(evaluate(function, x))

    return call


def _anywhere(x: Fraction) -> bool:
    return True


# ---------------------------------------------------------------- roots, products, remainders


def sqrt(x: Exact) -> Exact:
    """The root to 300 bits, with the last bit set when it is inexact, which is enough for every rounding."""
    if isinstance(x, float):
        return _NAN if x < 0 else x
    if x < 0:
        return _NAN
    shift = max(600 + x.denominator.bit_length() - x.numerator.bit_length(), 0) // 2 * 2
    scaled, rest = divmod(x.numerator << shift, x.denominator)
    root = math.isqrt(scaled)
    inexact = rest != 0 or root * root != scaled
    return Fraction(2 * root + inexact, 2) / (1 << shift // 2)


def fma(x: Exact, y: Exact, z: Exact) -> Exact:
    return add(multiply(x, y), z)


def cancelled_down(x: Exact, y: Exact, z: Exact) -> float:
    """fma's zero when rounding down: negative, unless both addends are positive zeros (IEEE 754, 6.3)."""
    product = multiply(x, y)
    positive = product == 0 and z == 0 and not _negative(product) and not _negative(z)
    return 0.0 if positive else -0.0


def hypot(x: Exact, y: Exact) -> Exact:
    if any(isinstance(v, float) and math.isinf(v) for v in (x, y)):
        return _INF
    if nan_to(x) or nan_to(y):
        return _NAN
    return sqrt(Fraction(x) ** 2 + Fraction(y) ** 2 or 0.0)


def fmod(x: Exact, y: Exact) -> Exact:
    if nan_to(x) or nan_to(y) or not _finite(x) or not y:
        return _NAN
    if not _finite(y) or not x:
        return x
    return _with_sign(abs(Fraction(x)) % abs(Fraction(y)), x < 0)


def remainder(x: Exact, y: Exact) -> Exact:
    return remainder_and_quotient(x, y)[0]


def remainder_and_quotient(x: Exact, y: Exact) -> tuple[Exact, int]:
    """x minus the nearest multiple of y, and the multiple; ties to even."""
    if nan_to(x) or nan_to(y) or not _finite(x) or not y:
        return _NAN, 0
    if not _finite(y) or not x:
        return x, 0
    quotient = round(Fraction(x) / Fraction(y))
    rest = Fraction(x) - quotient * Fraction(y)
    return (rest if rest else _with_sign(0.0, x < 0)), quotient


def fdim(x: Exact, y: Exact) -> Exact:
    if nan_to(x) or nan_to(y):
        return _NAN
    return add(x, -y) if x > y else 0.0


def fmax(x: Exact, y: Exact) -> Exact:
    return y if nan_to(x) else x if nan_to(y) else max(x, y)


def fmin(x: Exact, y: Exact) -> Exact:
    return y if nan_to(x) else x if nan_to(y) else min(x, y)


def copysign(x: Exact, y: Exact) -> Exact:
    if isinstance(x, float):
        return math.copysign(x, -1.0 if _negative(y) else 1.0)
    return _with_sign(x, _negative(y))


def pow_(x: Exact, y: Exact) -> Exact:
    if y == 0 or x == 1:
        return Fraction(1)
    if isinstance(x, float) or isinstance(y, float):
        near = x if isinstance(x, float) else _side(x)
        exponent = y if isinstance(y, float) else math.copysign(3.0 if _odd(y) else 2.0, -1 if y < 0 else 1)
        if near == 0 and exponent < 0:
            return _with_sign(_INF, _odd(y) and _negative(x))
        return math.pow(near, exponent) if near != 1 else 1.0
    if x < 0 and y.denominator > 1:
        return _NAN
    if y.denominator == 1 and abs(y) <= 64:
        return x**y.numerator
    magnitude = Fraction(1) if x == -1 else nearest_fraction(evaluate(real.power, x, y))
    return _with_sign(magnitude, x < 0 and _odd(y))


def _odd(y: Exact) -> bool:
    return not isinstance(y, float) and y.denominator == 1 and y.numerator % 2 == 1


def _side(x: Fraction) -> float:
    """A small number on the same side of -1, 0 and 1."""
    size = 2.0 if abs(x) > 1 else 1.0 if abs(x) == 1 else 0.5
    return math.copysign(size, -1.0 if x < 0 else 1.0)


def atan2(y: Exact, x: Exact) -> Exact:
    if nan_to(x) or nan_to(y):
        return _NAN
    if isinstance(x, float) or isinstance(y, float):
        return _multiple_of_pi(
            math.atan2(*(v if isinstance(v, float) else math.copysign(1.0, -1 if v < 0 else 1) for v in (y, x)))
        )
    return nearest_fraction(evaluate(real.atan2, y, x))


# ---------------------------------------------------------------- exponents and integers


def exponent_of(x: Fraction) -> int:
    """The binary exponent, as logb has it."""
    size = abs(x)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    return exponent if size >= Fraction(2) ** exponent else exponent - 1


def scale(x: Exact, exponent: int) -> Exact:
    """x * 2**exponent, with the exponent limited to the range of all formats."""
    return x if isinstance(x, float) else x * Fraction(2) ** min(max(int(exponent), -40_000), 40_000)


def rounded(x: Exact, rounding: Rounding) -> Exact:
    if isinstance(x, float):
        return x
    return _with_sign(Fraction(rounding.of(x)) or 0.0, x < 0)


def round_away(x: Exact) -> Exact:
    if isinstance(x, float):
        return x
    return _with_sign(Fraction(math.floor(abs(x) + Fraction(1, 2))) or 0.0, x < 0)


# ---------------------------------------------------------------- gamma and Bessel functions


#: Closer to 0 than this, the gamma function is 1 / x in every format. The reflection formula for x < 0 would need
#: the sine of an angle with thousands of leading zeros.
_TINY = Fraction(1, 2**300)


def tgamma(x: Exact) -> Exact:
    if isinstance(x, float):
        return math.copysign(_INF, x) if x == 0 else _NAN if x < 0 else x
    if not _DOMAINS["tgamma"](x):
        return _NAN
    if -_TINY < x < 0:
        return _with_sign(tgamma(-x), True)
    if x.denominator == 1 and x < 40:
        return Fraction(math.factorial(x.numerator - 1))
    return _with_sign(nearest_fraction(evaluate(special.gamma, x)), x < 0 and math.floor(x) % 2 == 1)


def lgamma(x: Exact) -> Exact:
    if isinstance(x, float):
        return x if math.isnan(x) else _INF
    if x.denominator == 1 and x <= 2:
        return 0.0 if x > 0 else _INF
    return nearest_fraction(evaluate(special.log_gamma, -x if -_TINY < x < 0 else x))


def jn(order: int, x: Exact) -> Exact:
    if isinstance(x, float):
        if x == 0 and order:
            return -x if order < 0 and order % 2 else x if order % 2 else 0.0
        if math.isinf(x):
            return math.copysign(0.0, x) if order % 2 else 0.0
        return x if math.isnan(x) else Fraction(1)
    negative = order % 2 == 1 and (order < 0) != (x < 0)
    return _signed(nearest_fraction(evaluate(partial(special.bessel_j, abs(order)), abs(x))), negative)


def _signed(value: Exact, negative: bool) -> Exact:
    return -value if negative else value


def yn(order: int, x: Exact) -> Exact:
    negative = order < 0 and order % 2 == 1
    if isinstance(x, float):
        if math.isnan(x):
            return x
        return _signed(-_INF, negative) if x == 0 else 0.0 if x > 0 else _NAN
    if x < 0:
        return _NAN
    return _signed(nearest_fraction(evaluate(partial(special.bessel_y, abs(order)), x)), negative)


# ---------------------------------------------------------------- the table

_ELEMENTARY: dict[str, tuple[real.Real, Callable[[float], float]]] = {
    **{
        name: (getattr(real, name), getattr(math, name))
        for name in (
            "acos", "asin", "atan", "acosh", "asinh", "cos", "sin", "tan", "cosh", "sinh", "tanh", "exp2", "expm1",
            "cbrt", "erf", "erfc", "log1p", "atanh",
        )
    },
    "exp": (lambda x: x.exp(), math.exp),
    "exp10": (real.exp10, lambda x: math.pow(10.0, x)),
    "pow10": (real.exp10, lambda x: math.pow(10.0, x)),
    "log": (lambda x: x.ln(), lambda x: -_INF if x == 0 else math.log(x)),
    "log2": (real.log2, lambda x: -_INF if x == 0 else math.log2(x)),
    "log10": (lambda x: x.log10(), lambda x: -_INF if x == 0 else math.log10(x)),
}  # fmt: skip

#: By the name of the double function.
EXACT: dict[str, Function] = {
    **{name: _unary(name, function, otherwise) for name, (function, otherwise) in _ELEMENTARY.items()},
    "sqrt": sqrt,
    "fabs": lambda x: _with_sign(x, False), "pow": pow_, "atan2": atan2, "hypot": hypot,
    "fmod": fmod, "remainder": remainder, "drem": remainder, "copysign": copysign, "fmax": fmax, "fmin": fmin,
    "fdim": fdim, "fma": fma,
    "ldexp": scale, "scalbn": scale, "scalbln": scale, "tgamma": tgamma, "lgamma": lgamma, "gamma": lgamma,
    "round": round_away,
    "ceil": lambda x: rounded(x, Rounding.UP), "floor": lambda x: rounded(x, Rounding.DOWN),
    "trunc": lambda x: rounded(x, Rounding.ZERO), "roundeven": lambda x: rounded(x, Rounding.NEAREST),
    "j0": partial(jn, 0), "j1": partial(jn, 1), "y0": partial(yn, 0), "y1": partial(yn, 1), "jn": jn, "yn": yn,
}  # fmt: skip

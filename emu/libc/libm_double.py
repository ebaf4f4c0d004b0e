"""libm on doubles, with Python's math: as accurate as the host's C library."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

from emu.libc.ieee import to_float

_INF = math.inf


def rint(x: float) -> float:
    return math.copysign(float(round(x)), x) if math.isfinite(x) and abs(x) < 2**52 else x


def _round_away(x: float) -> float:
    if not math.isfinite(x) or abs(x) >= 2**52:
        return x
    whole = float(math.trunc(x))
    return math.copysign(whole + math.copysign(1.0, x) if abs(x - whole) >= 0.5 else whole, x)


def _directed(function: Callable[[float], int]) -> Callable[[float], float]:
    return lambda x: math.copysign(float(function(x)), x) if math.isfinite(x) and x else x


def _ceil_or_floor(function: Callable[[float], int]) -> Callable[[float], float]:
    def rounded(x: float) -> float:
        if not math.isfinite(x) or x == 0:
            return x
        result = float(function(x))
        return math.copysign(result, x) if result == 0 else result

    return rounded


def _logb(x: float) -> float:
    if x == 0:
        return -_INF
    return abs(x) if not math.isfinite(x) else float(math.frexp(x)[1] - 1)


def _log_with_pole(function: Callable[[float], float], pole: float) -> Callable[[float], float]:
    return lambda x: -_INF if x == pole else function(x)


def _atanh(x: float) -> float:
    return math.copysign(_INF, x) if abs(x) == 1 else math.atanh(x)


def _odd_power(x: float, y: float) -> bool:
    return x < 0 and math.isfinite(y) and y == math.floor(y) and y % 2 == 1


def _pow(x: float, y: float) -> float:
    if x == 0 and y < 0:
        odd = math.isfinite(y) and y == math.floor(y) and y % 2 == 1
        return math.copysign(_INF, x) if odd else _INF
    try:
        return math.pow(x, y)
    except OverflowError:
        return -_INF if _odd_power(x, y) else _INF


def _fmax(x: float, y: float) -> float:
    return y if math.isnan(x) else x if math.isnan(y) else max(x, y)


def _fmin(x: float, y: float) -> float:
    return y if math.isnan(x) else x if math.isnan(y) else min(x, y)


def _fdim(x: float, y: float) -> float:
    return x + y if math.isnan(x) or math.isnan(y) else x - y if x > y else 0.0


def fma(x: float, y: float, z: float) -> float:
    if not (math.isfinite(x) and math.isfinite(y) and math.isfinite(z)) or not (x and y):
        return x * y + z
    exact = Fraction(x) * Fraction(y) + Fraction(z)
    return to_float(exact) if exact else x * y + z


def scale(x: float, exponent: float) -> float:
    try:
        return math.ldexp(x, int(exponent))
    except OverflowError:
        return math.copysign(_INF, x)


def _cbrt(x: float) -> float:
    """The host's root, which can be 2 ulp off, corrected by what its cube lacks."""
    root = math.cbrt(x)
    if not root or not math.isfinite(root):
        return root
    rest = Fraction(x) - Fraction(root) ** 3
    return root + float(rest / (3 * Fraction(root) ** 2))


UNARY: dict[str, Callable[[float], float]] = {
    **{name: getattr(math, name) for name in (
        "acos", "asin", "atan", "acosh", "asinh", "cos", "sin", "tan", "cosh", "sinh", "tanh", "exp", "exp2",
        "expm1", "sqrt", "fabs", "erf", "erfc",
    )},
    "cbrt": _cbrt,
    "log": _log_with_pole(math.log, 0), "log2": _log_with_pole(math.log2, 0),
    "log10": _log_with_pole(math.log10, 0), "log1p": _log_with_pole(math.log1p, -1), "atanh": _atanh,
    "exp10": lambda x: _pow(10.0, x), "pow10": lambda x: _pow(10.0, x),
    "ceil": _ceil_or_floor(math.ceil), "floor": _ceil_or_floor(math.floor), "trunc": _directed(math.trunc),
    "round": _round_away, "rint": rint, "nearbyint": rint, "roundeven": rint, "logb": _logb,
    "significand": lambda x: math.frexp(x)[0] * 2 if x else x,
}  # fmt: skip
BINARY: dict[str, Callable[[float, float], float]] = {
    "pow": _pow, "atan2": math.atan2, "fmod": math.fmod, "remainder": math.remainder, "drem": math.remainder,
    "hypot": math.hypot, "copysign": math.copysign, "fmax": _fmax, "fmin": _fmin, "fdim": _fdim,
}  # fmt: skip

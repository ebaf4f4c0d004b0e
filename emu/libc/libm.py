"""libm, for when no guest libm is loaded: double by Python's math, float by rounding the double's result.

Poles and domain errors give the values of ISO C23 annex F (and errno, as glibc sets it); `long double`
functions compute in double. Correctly rounded where Python's are; otherwise within the host C library's ulp.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING

from emu.libc.errno import Errno
from emu.libc.ieee import bits_single, double_bits, long_double, single, single_bits, to_float
from emu.libc.table import long_double_by_value, register

if TYPE_CHECKING:
    from emu.libc.library import Libc

_INF, _NAN = math.inf, math.nan


# ---------------------------------------------------------------- pieces Python lacks


def _rint(x: float) -> float:
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


def _gamma(x: float) -> float:
    if x == 0:
        return math.copysign(_INF, x)
    return math.gamma(x)


def _lgamma(x: float) -> float:
    return _INF if x <= 0 and x == math.floor(x) else math.lgamma(x)


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


def _fma(x: float, y: float, z: float) -> float:
    if not (math.isfinite(x) and math.isfinite(y) and math.isfinite(z)) or not (x and y):
        return x * y + z
    exact = Fraction(x) * Fraction(y) + Fraction(z)
    return to_float(exact) if exact else x * y + z


def _scale(x: float, exponent: float) -> float:
    try:
        return math.ldexp(x, int(exponent))
    except OverflowError:
        return math.copysign(_INF, x)


_UNARY: dict[str, Callable[[float], float]] = {
    **{name: getattr(math, name) for name in (
        "acos", "asin", "atan", "acosh", "asinh", "cos", "sin", "tan", "cosh", "sinh", "tanh", "exp", "exp2",
        "expm1", "sqrt", "cbrt", "fabs", "erf", "erfc",
    )},
    "log": _log_with_pole(math.log, 0), "log2": _log_with_pole(math.log2, 0),
    "log10": _log_with_pole(math.log10, 0), "log1p": _log_with_pole(math.log1p, -1), "atanh": _atanh,
    "exp10": lambda x: _pow(10.0, x), "pow10": lambda x: _pow(10.0, x),
    "ceil": _ceil_or_floor(math.ceil), "floor": _ceil_or_floor(math.floor), "trunc": _directed(math.trunc),
    "round": _round_away, "rint": _rint, "nearbyint": _rint, "roundeven": _rint, "logb": _logb,
    "tgamma": _gamma, "lgamma": _lgamma, "significand": lambda x: math.frexp(x)[0] * 2 if x else x,
}  # fmt: skip
_BINARY: dict[str, Callable[[float, float], float]] = {
    "pow": _pow, "atan2": math.atan2, "fmod": math.fmod, "remainder": math.remainder, "drem": math.remainder,
    "hypot": math.hypot, "copysign": math.copysign, "fmax": _fmax, "fmin": _fmin, "fdim": _fdim,
}  # fmt: skip
#: Overflowing functions whose infinity takes the argument's sign.
_ODD = frozenset({"sinh", "tgamma"})


def _ieee(name: str, function: Callable[..., float]) -> Callable[..., float]:
    """The function with annex F's results (and errno) where Python raises."""

    def call(libc: Libc, *args: float) -> float:
        try:
            result = function(*args)
        except ValueError:
            result = _NAN
        except OverflowError:
            result = math.copysign(_INF, args[0]) if name in _ODD else _INF
        if not math.isfinite(result) and all(map(math.isfinite, args)):
            libc.errno = Errno.EDOM if math.isnan(result) else Errno.ERANGE
        return result

    return call


# ---------------------------------------------------------------- the three widths

_WIDTHS = (("double", ""), ("float", "f"), ("long double", "l"))


def _rounded(call: Callable[..., float], ctype: str) -> Callable[..., float]:
    if ctype != "float":
        return call
    return lambda libc, *args: single(call(libc, *args))


def _export(
    name: str, parameters: str, call: Callable[..., float], *, result: str = "T", aliases: str = ""
) -> None:
    """Export for each width; T stands for the type. `aliases` holds patterns such as "__{}" of the name."""
    for ctype, suffix in _WIDTHS:
        body = _rounded(call, ctype) if result == "T" else call
        for pattern in ("{}", *aliases.split()):
            full = pattern.format(name + suffix)
            prototype = f"{result} {full}({parameters})".replace("T", ctype)
            # A long double passed by reference is more than a prototype here can say.
            on = None if ctype != "long double" else long_double_by_value
            register(full, prototype, body, on)


for _name, _function in _UNARY.items():
    _finite = "__{}_finite" if _name in ("exp", "log", "log2", "log10", "acos", "asin", "sqrt") else ""
    _export(_name, "T x", _ieee(_name, _function), aliases=_finite)
for _name, _binary in _BINARY.items():
    _finite = "__{}_finite" if _name in ("pow", "atan2", "fmod", "hypot") else ""
    _export(_name, "T x, T y", _ieee(_name, _binary), aliases=_finite)
_export("fma", "T x, T y, T z", lambda libc, x, y, z: _fma(x, y, z))
_export("ldexp", "T x, int exponent", lambda libc, x, e: _scale(x, e))
_export("scalbn", "T x, int exponent", lambda libc, x, e: _scale(x, e))
_export("scalbln", "T x, long exponent", lambda libc, x, e: _scale(x, e))
_export("nan", "const char *tag", lambda libc, tag: _NAN)


def _next_after(ctype: str) -> Callable[..., float]:
    def call(libc: Libc, x: float, y: float) -> float:
        if ctype != "float" or math.isnan(x) or math.isnan(y):
            return math.nextafter(x, y)
        if x == y:
            return y
        if x == 0:
            return math.copysign(2.0**-149, y)
        # Neighbouring floats have neighbouring bit patterns; away from zero counts up.
        return bits_single(single_bits(x) + (1 if (y > x) == (x > 0) else -1))

    return call


for _ctype, _suffix in _WIDTHS:
    for _stem, _other in (("nextafter", _ctype), ("nexttoward", "long double")):
        register(
            f"{_stem}{_suffix}",
            f"{_ctype} {_stem}{_suffix}({_ctype} x, {_other} y)",
            _next_after(_ctype),
            None if "long double" not in (_ctype, _other) else long_double_by_value,
        )

# ---------------------------------------------------------------- integer results, classification


def _to_integer(function: Callable[[float], float], bits: int) -> Callable[..., int]:
    def call(libc: Libc, x: float) -> int:
        size = bits or libc.arch.bits
        lowest = -(1 << (size - 1))
        if not math.isfinite(x) or not lowest <= function(x) <= -lowest - 1:
            return libc.fail(Errno.EDOM, lowest)
        return int(function(x))

    return call


for _stem, _function in (("rint", _rint), ("round", _round_away)):
    _export(f"l{_stem}", "T x", _to_integer(_function, 0), result="long")
    _export(f"ll{_stem}", "T x", _to_integer(_function, 64), result="long long")


def _ilogb(libc: Libc, x: float) -> int:
    """For 0 and NaN FP_ILOGB0 and FP_ILOGBNAN: INT_MIN, or -INT_MAX and INT_MAX."""
    minimum = libc.isa.libc.ilogb_minimum
    if x == 0:
        return -(1 << 31) if minimum else -((1 << 31) - 1)
    if math.isnan(x):
        return -(1 << 31) if minimum else (1 << 31) - 1
    return (1 << 31) - 1 if math.isinf(x) else math.frexp(x)[1] - 1


def _classify(ctype: str) -> Callable[..., int]:
    smallest = 2.0**-126 if ctype == "float" else 2.0**-1022

    def call(libc: Libc, x: float) -> int:
        if math.isnan(x):
            return 0
        if math.isinf(x):
            return 1
        return 2 if x == 0 else 3 if abs(x) < smallest else 4

    return call


_export("ilogb", "T x", _ilogb, result="int")
_export("isnan", "T x", lambda libc, x: int(math.isnan(x)), result="int", aliases="__{}")
_export("isinf", "T x", lambda libc, x: (x > 0) - (x < 0) if math.isinf(x) else 0, result="int", aliases="__{}")
_export("finite", "T x", lambda libc, x: int(math.isfinite(x)), result="int", aliases="__{}")
_export("__signbit", "T x", lambda libc, x: int(math.copysign(1, x) < 0), result="int")
for _ctype, _suffix in _WIDTHS:
    register(
        f"__fpclassify{_suffix}",
        f"int __fpclassify{_suffix}({_ctype} x)",
        _classify(_ctype),
        None if _ctype != "long double" else long_double_by_value,
    )

# ---------------------------------------------------------------- results through pointers


def store_real(libc: Libc, address: int, value: float, ctype: str) -> None:
    """Store `value` as a C floating type."""
    if ctype == "long double":
        form, _ = long_double(libc.isa.data)
        libc.memory.write(address, form.round(value).to_bytes(form.size, "little"))
    elif ctype == "float":
        libc.memory.write_uint(address, 4, single_bits(value))
    else:
        libc.memory.write_uint(address, 8, double_bits(value))


def _frexp(libc: Libc, ctype: str, x: float, exponent: int) -> float:
    fraction, power = math.frexp(x)
    libc.memory.write_uint(exponent, 4, power & 0xFFFF_FFFF)
    return fraction


def _modf(libc: Libc, ctype: str, x: float, whole: int) -> float:
    integral = math.copysign(float(math.trunc(x)), x) if math.isfinite(x) else x
    store_real(libc, whole, integral, ctype)
    return math.copysign(0.0 if math.isinf(x) else x - integral, x)


def _sincos(libc: Libc, ctype: str, x: float, sine: int, cosine: int) -> None:
    for address, function in ((sine, math.sin), (cosine, math.cos)):
        store_real(libc, address, function(x) if math.isfinite(x) else _NAN, ctype)


def _lgamma_r(libc: Libc, ctype: str, x: float, sign: int) -> float:
    negative = x < 0 and x != math.floor(x) and math.floor(x) % 2 == 1
    libc.memory.write_uint(sign, 4, 0xFFFF_FFFF if negative else 1)
    try:
        return _lgamma(x)
    except OverflowError:
        return _INF


def _remquo(libc: Libc, ctype: str, x: float, y: float, quotient: int) -> float:
    if not math.isfinite(x) or math.isnan(y) or y == 0:
        return _NAN
    result = math.remainder(x, y)
    whole = 0 if math.isinf(y) else int((Fraction(x) - Fraction(result)) / Fraction(y))
    low = abs(whole) & 7
    libc.memory.write_uint(quotient, 4, (low if whole >= 0 else -low) & 0xFFFF_FFFF)
    return result


for _name, _result, _parameters, _implementation in (
    ("frexp", "T", "T x, int *exponent", _frexp),
    ("modf", "T", "T x, T *whole", _modf),
    ("sincos", "void", "T x, T *sine, T *cosine", _sincos),
    ("lgamma_r", "T", "T x, int *sign", _lgamma_r),
    ("remquo", "T", "T x, T y, int *quotient", _remquo),
):
    for _ctype, _suffix in _WIDTHS:

        def _through_pointer(
            libc: Libc, *args: float, ctype: str = _ctype, run: Callable[..., float | None] = _implementation
        ) -> float | None:
            result = run(libc, ctype, *args)
            return single(result) if result is not None and ctype == "float" else result

        _stem = _name.removesuffix("_r")
        _full = f"{_stem}{_suffix}{'_r' if _name != _stem else ''}"
        register(
            _full,
            f"{_result} {_full}({_parameters})".replace("T", _ctype),
            _through_pointer,
            None if _ctype != "long double" else long_double_by_value,
        )

"""libm, used when no guest libm is loaded: each function for float, double and long double.

- double: Python's math (`libm_double`); a float result is the rounded double.
- long double, functions that Python lacks or has with errors above two ulp, and directed rounding: exact values,
  rounded once (`libm_exact`).

Poles and domain errors give the values of ISO C23 annex F; errno and exceptions are as in glibc.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from emu.calls.values import WideFloat
from emu.isa.convention import BINARY64
from emu.libc.errno import Errno
from emu.libc.fenv import Raised, raise_flags, rounding
from emu.libc.ieee import DOUBLE, SINGLE, Format, Rounding, exact, float_of, long_double, single
from emu.libc.libm_double import BINARY, UNARY, fma, scale
from emu.libc.libm_exact import EXACT, cancelled_down, exponent_of, rounded
from emu.libc.libm_exact import scale as scale_exactly
from emu.libc.libm_widths import export_widths
from emu.libc.real_functions import CHECK
from emu.libc.softfloat import Exact, magnitude

if TYPE_CHECKING:
    from emu.libc.library import Libc

_INF, _NAN = math.inf, math.nan
_LARGE = 2**53

#: Functions whose infinity on overflow has the argument's sign.
_ODD = frozenset({"sinh", "tgamma"})
#: Functions whose infinity for a finite argument is a pole, not an overflow.
_POLES = frozenset("log log2 log10 log1p atanh logb y0 y1 yn".split())
_SCALING = frozenset({"ldexp", "scalbn", "scalbln"})
#: Functions whose result can underflow to zero.
_UNDERFLOWING = _SCALING | frozenset("exp exp2 exp10 pow10 pow erfc tgamma atan2".split())
#: Functions that give a NaN a sign.
_SIGNED = frozenset({"fabs", "copysign"})
#: Functions whose NaN is positive on every ISA (glibc 2.36).
_POSITIVE_NAN = frozenset("acos asin log10 tgamma y0 y1 yn".split())
#: Functions that are exact, or do not raise the inexact exception.
_QUIET = frozenset(
    {"fabs", "copysign", "fmax", "fmin", "ceil", "floor", "trunc", "round", "roundeven", "nearbyint", "logb",
     "fmod", "remainder", "drem", "significand"}
)  # fmt: skip
#: Functions that IEEE 754 requires to round in the current direction.
_DIRECTED = _SCALING | {"sqrt", "fma", "rint", "nearbyint", "fdim"}
#: Those of them for which doubles are right when rounding to nearest, including exceptions.
_NEAREST_AT_ONCE = _SCALING | {"sqrt", "nearbyint"}
#: Functions that Python lacks, or has with more than a few ulp.
_BETTER_EXACT = frozenset({"lgamma", "gamma", "tgamma", "j0", "j1", "y0", "y1", "jn", "yn"})


def _plain(value: float) -> Exact:
    """A value for comparison: a wide value may be finite when its nearest float is infinite."""
    return exact(value) if isinstance(value, WideFloat) else value


def _is_finite(value: Exact) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _is_rounded(name: str, value: Exact, given: Sequence[Exact]) -> bool:
    """Whether a result is inexact; a function that is rarely exact has an integer result when it is."""
    if name == "sqrt":
        return Fraction(value) ** 2 != given[0]
    if name in _SCALING:
        return scale_exactly(Fraction(given[0]), int(given[1])) != value
    if name == "hypot":
        return Fraction(given[0]) ** 2 + Fraction(given[1]) ** 2 != Fraction(value) ** 2
    if name in _QUIET or name in _DIRECTED:
        return False
    if value == 0:
        return given[0] != 0 and name in _UNDERFLOWING
    return value != int(value) or magnitude(value) >= _LARGE


def with_nan_sign(libc: Libc, name: str, args: Sequence[float], result: float) -> float:
    """A NaN with the sign that the ISA's arithmetic gives it: that of a NaN among the operands, or its own."""
    if result == result or name in _SIGNED:
        return result
    given = next((float(arg) for arg in args if arg != arg), None)
    own = libc.isa.libc.nan_is_negative and name not in _POSITIVE_NAN
    negative = own if given is None else math.copysign(1, given) < 0
    return math.copysign(_NAN, -1 if negative else 1)


def _inexact(value: Exact, form: Format) -> Raised:
    """The exceptions of a rounded result."""
    return Raised.INEXACT | (Raised.UNDERFLOW if magnitude(value) < form.smallest_normal else Raised(0))


def _is_pole(name: str, given: Sequence[Exact]) -> bool:
    """Whether an infinity for finite arguments is exact, not an overflow."""
    if name in ("lgamma", "gamma"):
        return given[0] <= 0 and given[0] == int(given[0])
    return name in _POLES or (name in ("pow", "tgamma") and given[0] == 0)


def _report(libc: Libc, name: str, args: Sequence[float], result: float, form: Format) -> None:
    """Set errno and raise exceptions for a result as glibc does (ISO C23, F.10 and 7.12.2)."""
    given, value = [_plain(arg) for arg in args], _plain(result)
    if any(arg != arg for arg in given):
        return
    raised = Raised(0)
    if value != value:
        libc.errno, raised = Errno.EDOM, Raised.INVALID
    elif not all(map(_is_finite, given)):
        return
    elif not _is_finite(value):
        libc.errno = Errno.ERANGE
        raised = Raised.DIVISION_BY_ZERO if _is_pole(name, given) else Raised.OVERFLOW | Raised.INEXACT
    elif _is_rounded(name, value, given):
        raised = _inexact(value, form)
        if value == 0 and name in _UNDERFLOWING:
            libc.errno = Errno.ERANGE
    if raised:
        raise_flags(libc, raised)


def _by_double(name: str, function: Callable[..., float], form: Format) -> Callable[..., float]:
    """Compute with Python's function on doubles, with annex F's results when that raises."""

    def call(libc: Libc, *args: float) -> float:
        try:
            result = function(*args)
        except ValueError:
            result = _NAN
        except OverflowError:
            result = math.copysign(_INF, args[0]) if name in _ODD else _INF
        if form is SINGLE:
            result = single(result)
        _report(libc, name, args, result, form)
        return with_nan_sign(libc, name, args, result)

    return call


def _exactly(name: str) -> Callable[..., Fraction | float]:
    """The function on exact values, for the current rounding direction."""
    if name in ("rint", "nearbyint"):
        return lambda libc, x: rounded(x, rounding(libc))
    if name == "logb":
        return lambda libc, x: _special_exponent(x) if isinstance(x, float) else Fraction(exponent_of(x)) or 0.0
    if name == "significand":
        return lambda libc, x: x if isinstance(x, float) else x / Fraction(2) ** exponent_of(x)
    function = EXACT[name]
    return lambda libc, *values: function(*values)


def _special_exponent(x: float) -> float:
    return -_INF if x == 0 else abs(x)


def _by_exact(name: str, form: Format | None) -> Callable[..., float]:
    """Compute with exact values, rounded once to `form`, or to long double."""
    function = _exactly(name)

    def call(libc: Libc, *args: float) -> float:
        to = form or long_double(libc.isa.data)[0]
        direction = rounding(libc) if name in _DIRECTED else Rounding.NEAREST
        values = args[:1] + tuple(map(exact, args[1:])) if name in ("jn", "yn") else tuple(map(exact, args))
        token = CHECK.set(libc.check_budget)
        try:
            value = function(libc, *values)
        finally:
            CHECK.reset(token)
        if name == "fma" and value == 0 and direction is Rounding.DOWN:
            value = cancelled_down(*values)
        bits = to.round(value, direction)
        result = float_of(bits, to)
        _report(libc, name, args, result, to)
        unrounded = values[0] if name == "rint" else value
        if name in _DIRECTED - {"nearbyint"} and _is_finite(unrounded) and exact(result) != unrounded:
            overflow = Raised.OVERFLOW if magnitude(unrounded) >= 1 << to.bias + 1 else Raised(0)
            raise_flags(libc, overflow | (Raised.INEXACT if name == "rint" else _inexact(exact(result), to)))
        if name in ("lgamma", "gamma"):
            _set_sign(libc, args[0])
        return with_nan_sign(libc, name, args, result)

    return call


def _set_sign(libc: Libc, x: float) -> None:
    """Set signgam, if the program refers to it."""
    address = libc.data_symbol("signgam")
    if address is not None:
        libc.memory.write_uint(address, 4, 0xFFFF_FFFF if gamma_is_negative(x) else 1)


def gamma_is_negative(x: float) -> bool:
    value = exact(x)
    if isinstance(value, float):
        return value == 0 and math.copysign(1, value) < 0
    return value < 0 and value.denominator > 1 and math.floor(value) % 2 == 1


def _of_width(name: str, function: Callable[..., float] | None, ctype: str) -> Callable[..., float]:
    """The function for one of C's types: with doubles if these are accurate enough."""
    form = {"double": DOUBLE, "float": SINGLE}.get(ctype)
    exactly = _by_exact(name, form)
    if function is None or name in _BETTER_EXACT or (name == "fma" and ctype == "float"):
        return exactly
    quickly = _by_double(name, function, form or DOUBLE)

    def call(libc: Libc, *args: float) -> float:
        if form is None and libc.isa.data.long_double != BINARY64:
            return exactly(libc, *args)
        if name in _DIRECTED and (name not in _NEAREST_AT_ONCE or rounding(libc) is not Rounding.NEAREST):
            return exactly(libc, *args)
        return quickly(libc, *args)

    return call


_computed: dict[tuple[str, str], Callable[..., float]] = {}


def compute(libc: Libc, name: str, ctype: str, *args: float) -> float:
    """The function for one of C's types, by the name of the double function."""
    if (name, ctype) not in _computed:
        _computed[name, ctype] = _of_width(name, UNARY.get(name), ctype)
    return _computed[name, ctype](libc, *args)


def _export(name: str, parameters: str, function: Callable[..., float] | None, aliases: str = "") -> None:
    export_widths(name, "T", parameters, lambda ctype: _of_width(name, function, ctype), aliases)


_FINITE = frozenset(
    """acos acosh asin atan2 atanh cosh exp exp10 exp2 fmod hypot j0 j1 jn log log10 log2 pow remainder sinh sqrt
    y0 y1 yn""".split()
)
for _name in (*UNARY, "tgamma", "lgamma", "gamma", "j0", "j1", "y0", "y1"):
    _export(_name, "T x", UNARY.get(_name), "__{}_finite" if _name in _FINITE else "")
for _name, _binary in BINARY.items():
    _export(_name, "T x, T y", _binary, "__{}_finite" if _name in _FINITE else "")
for _name in ("jn", "yn"):
    _export(_name, "int order, T x", None, "__{}_finite")
_export("fma", "T x, T y, T z", fma)
for _name, _exponent in (("ldexp", "int"), ("scalbn", "int"), ("scalbln", "long")):
    _export(_name, f"T x, {_exponent} exponent", scale)

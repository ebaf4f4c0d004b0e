"""libm's functions on the representation of a number: neighbours, exponents, classes, and results through
pointers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING

from emu.libc.errno import Errno
from emu.libc.fenv import Raised, raise_flags, rounding
from emu.libc.ieee import DOUBLE, SINGLE, Format, Rounding, exact, float_of, format_bits, long_double, single_bits
from emu.libc.libm import compute, gamma_is_negative, with_nan_sign
from emu.libc.libm_exact import exponent_of, remainder_and_quotient, round_away, rounded
from emu.libc.libm_widths import WIDTHS, export_widths, register_real
from emu.libc.softfloat import Exact, magnitude

if TYPE_CHECKING:
    from emu.libc.library import Libc

_INF, _NAN = math.inf, math.nan


def _format(libc: Libc, ctype: str) -> Format:
    return {"double": DOUBLE, "float": SINGLE}.get(ctype) or long_double(libc.isa.data)[0]


def _simple(function: Callable[..., object]) -> Callable[[str], Callable[..., object]]:
    """Make a function that is the same for every type."""
    return lambda ctype: function


# ---------------------------------------------------------------- neighbours


def _bits(value: float, form: Format) -> int:
    return form.round(exact(value))


def _step(value: float, form: Format, *, up: bool) -> float:
    """The next value: the bit patterns of neighbouring values differ by 1, ascending away from zero."""
    known = exact(value)
    if isinstance(known, float) and (known != known or known == (_INF if up else -_INF)):
        return value
    bits = _bits(value, form)
    magnitude = bits & ~form.sign_bit
    if not magnitude:
        return float_of(1 | (0 if up else form.sign_bit), form)
    return float_of(form.step(bits, up=up == (bits == magnitude)), form)


def _next_after(ctype: str) -> Callable[..., float]:
    def call(libc: Libc, x: float, y: float) -> float:
        form = _format(libc, ctype)
        if math.isnan(x) or math.isnan(y):
            return _NAN
        a, b = exact(x), exact(y)
        if a == b:
            return float_of(_bits(y, form), form)
        result = _step(x, form, up=a < b)
        if isinstance(exact(result), float) and result != 0 and not isinstance(a, float):
            libc.errno = Errno.ERANGE
            raise_flags(libc, Raised.OVERFLOW | Raised.INEXACT)
        elif magnitude(exact(result)) < form.smallest_normal:
            libc.errno = Errno.ERANGE
            raise_flags(libc, Raised.UNDERFLOW | Raised.INEXACT)
        return result

    return call


export_widths("nextafter", "T", "T x, T y", _next_after)
for _ctype, _suffix in WIDTHS:
    if _ctype == "long double":
        register_real(f"nexttoward{_suffix}", "T", "T x, T y", _ctype, _next_after(_ctype))
    else:
        register_real(f"nexttoward{_suffix}", _ctype, f"{_ctype} x, T y", "long double", _next_after(_ctype))
for _name, _up in (("nextup", True), ("nextdown", False)):
    export_widths(
        _name,
        "T",
        "T x",
        lambda ctype, up=_up: lambda libc, x: _step(x, _format(libc, ctype), up=up),  # type: ignore[misc]
    )
export_widths("nan", "T", "const char *tag", _simple(lambda libc, tag: _NAN))

# ---------------------------------------------------------------- integer results


def _to_integer(stem: str, bits: int) -> Callable[..., int]:
    def call(libc: Libc, x: float) -> int:
        size = bits or libc.arch.bits
        lowest = -(1 << (size - 1))
        value = exact(x)
        whole = round_away(value) if stem == "round" else rounded(value, rounding(libc))
        if not math.isfinite(x) or not lowest <= whole <= -lowest - 1:
            raise_flags(libc, Raised.INVALID)  # glibc does not set errno
            return lowest
        if whole != value and stem == "rint":
            raise_flags(libc, Raised.INEXACT)
        return int(whole)

    return call


for _stem in ("rint", "round"):
    export_widths(f"l{_stem}", "long", "T x", _simple(_to_integer(_stem, 0)))
    export_widths(f"ll{_stem}", "long long", "T x", _simple(_to_integer(_stem, 64)))


def _ilogb(libc: Libc, x: float) -> int:
    """For 0 and NaN FP_ILOGB0 and FP_ILOGBNAN: INT_MIN, or -INT_MAX and INT_MAX."""
    minimum = libc.isa.libc.ilogb_minimum
    value = exact(x)
    if not isinstance(value, float):
        return exponent_of(value)
    raise_flags(libc, Raised.INVALID)
    libc.errno = Errno.EDOM
    if value == 0:
        return -(1 << 31) if minimum else -((1 << 31) - 1)
    if math.isnan(value):
        return -(1 << 31) if minimum else (1 << 31) - 1
    return (1 << 31) - 1


def _llogb(libc: Libc, x: float) -> int:
    """For 0 and NaN LONG_MIN, or -LONG_MAX and LONG_MAX, as ilogb has them."""
    value = exact(x)
    if not isinstance(value, float):
        return exponent_of(value)
    top = (1 << (libc.arch.bits - 1)) - 1
    small = _ilogb(libc, x)
    return {(1 << 31) - 1: top, -(1 << 31): -top - 1}.get(small, -top)


# ---------------------------------------------------------------- classes


def _classify(ctype: str) -> Callable[..., int]:
    def call(libc: Libc, x: float) -> int:
        if not math.isfinite(x) and not isinstance(exact(x), Fraction):
            return 0 if math.isnan(x) else 1
        value = magnitude(exact(x))
        return 2 if value == 0 else 3 if value < _format(libc, ctype).smallest_normal else 4

    return call


def _is_infinite(libc: Libc, x: float) -> int:
    value = exact(x)
    return (value > 0) - (value < 0) if isinstance(value, float) and math.isinf(value) else 0


def _is_finite(libc: Libc, x: float) -> int:
    value = exact(x)
    return int(not isinstance(value, float) or math.isfinite(value))


def _is_signalling(ctype: str) -> Callable[..., int]:
    def call(libc: Libc, x: float) -> int:
        if not math.isnan(x):
            return 0
        bits, form = (single_bits(x), SINGLE) if ctype == "float" else format_bits(x)
        return int(not bits >> (form.fraction_bits - 1) & 1)

    return call


export_widths("ilogb", "int", "T x", _simple(_ilogb))
export_widths("llogb", "long", "T x", _simple(_llogb))
export_widths("isnan", "int", "T x", _simple(lambda libc, x: int(math.isnan(x))), "__{}")
export_widths("isinf", "int", "T x", _simple(_is_infinite), "__{}")
export_widths("finite", "int", "T x", _simple(_is_finite), "__{}")
export_widths("__signbit", "int", "T x", _simple(lambda libc, x: int(math.copysign(1, x) < 0)))
export_widths("__fpclassify", "int", "T x", _classify)
export_widths("__issignaling", "int", "T x", _is_signalling)
export_widths("__iseqsig", "int", "T x, T y", _simple(lambda libc, x, y: int(exact(x) == exact(y))))

# ---------------------------------------------------------------- results through pointers


def store_real(libc: Libc, address: int, value: Exact, ctype: str) -> None:
    """Store `value` as a C floating type."""
    form = _format(libc, ctype)
    libc.memory.write(address, form.round(value).to_bytes(form.size, "little"))


def _frexp(libc: Libc, ctype: str, x: float, exponent: int) -> Exact:
    value = exact(x)
    power = 0 if isinstance(value, float) else exponent_of(value) + 1
    libc.memory.write_uint(exponent, 4, power & 0xFFFF_FFFF)
    return value if isinstance(value, float) else value / Fraction(2) ** power


def _modf(libc: Libc, ctype: str, x: float, whole: int) -> Exact:
    value = exact(x)
    integral = rounded(value, Rounding.ZERO)
    store_real(libc, whole, integral, ctype)
    if isinstance(value, float):
        return value if math.isnan(value) else math.copysign(0.0, value)
    return value - Fraction(integral) or math.copysign(0.0, x)


def _sincos(libc: Libc, ctype: str, x: float, sine: int, cosine: int) -> None:
    for address, name in ((sine, "sin"), (cosine, "cos")):
        store_real(libc, address, exact(compute(libc, name, ctype, x)), ctype)


def _lgamma_r(libc: Libc, ctype: str, x: float, sign: int) -> Exact:
    libc.memory.write_uint(sign, 4, 0xFFFF_FFFF if gamma_is_negative(x) else 1)
    return exact(compute(libc, "lgamma", ctype, x))


def _remquo(libc: Libc, ctype: str, x: float, y: float, quotient: int) -> Exact:
    result, whole = remainder_and_quotient(exact(x), exact(y))
    if isinstance(result, float) and math.isnan(result) and not (math.isnan(x) or math.isnan(y)):
        libc.errno = Errno.EDOM
        raise_flags(libc, Raised.INVALID)
    low = abs(whole) & 7
    libc.memory.write_uint(quotient, 4, (low if whole >= 0 else -low) & 0xFFFF_FFFF)
    return result


def _through_pointer(run: Callable[..., Exact | None]) -> Callable[[str], Callable[..., float | None]]:
    def make(ctype: str) -> Callable[..., float | None]:
        def call(libc: Libc, *args: float) -> float | None:
            value = run(libc, ctype, *args)
            form = _format(libc, ctype)
            if value is None:
                return None
            return with_nan_sign(libc, run.__name__, args, float_of(form.round(value), form))

        return call

    return make


for _name, _result, _parameters, _implementation, _aliases in (
    ("frexp", "T", "T x, int *exponent", _frexp, ""),
    ("modf", "T", "T x, T *whole", _modf, ""),
    ("sincos", "void", "T x, T *sine, T *cosine", _sincos, ""),
    ("lgamma_r", "T", "T x, int *sign", _lgamma_r, "__{}_finite"),
    ("remquo", "T", "T x, T y, int *quotient", _remquo, ""),
):
    export_widths(_name, _result, _parameters, _through_pointer(_implementation), _aliases)

"""The digits of floating-point numbers for printf: exact, rounded once in the current rounding direction (ISO C23
7.23.6.1; annex F.5).

Values are not negative: printf handles the sign. `float` values are doubles; a `Fraction` is a value of any
format.
"""

from __future__ import annotations

import math
from fractions import Fraction

from emu.libc.ieee import Format, Rounding

_LONGEST = 17_000  #: maximum number of decimal digits after the point of all formats; further digits are zeros
_PIECE = 4000  #: digits converted at a time; Python refuses more than 4300


def decimal(value: float, conversion: str, precision: int, *, alternate: bool) -> str:
    """%e, %f or %g of a double, to nearest."""
    return f"%{'#' if alternate else ''}.{precision}{conversion}" % value


def exact_decimal(value: Fraction, conversion: str, precision: int, rounding: Rounding, *, alternate: bool) -> str:
    """%e, %f or %g of any value, in any rounding direction."""
    lower = conversion.lower()
    if lower == "f":
        text = _fixed(value, precision, rounding)
    elif lower == "e":
        text = _scientific(*_scaled(value, precision, rounding), precision)
    else:
        text = _general(value, precision or 1, rounding, keep_zeros=alternate)
    if alternate and "." not in text:
        mantissa, marker, exponent = text.partition("e")
        text = mantissa + "." + marker + exponent
    return text.upper() if conversion.isupper() else text


def _fixed(value: Fraction, precision: int, rounding: Rounding) -> str:
    kept = min(precision, _LONGEST)
    digits = _digits(rounding.of(value * 10**kept)).rjust(kept + 1, "0")
    whole, fraction = digits[: len(digits) - kept], digits[len(digits) - kept :]
    return whole + ("." + fraction.ljust(precision, "0") if precision else "")


def _scaled(value: Fraction, precision: int, rounding: Rounding) -> tuple[str, int]:
    """(`precision` + 1 significant digits, decimal exponent)"""
    kept = min(precision, _LONGEST)
    if not value:
        return "0" * (precision + 1), 0
    exponent = math.floor((value.numerator.bit_length() - value.denominator.bit_length()) * math.log10(2))
    while value >= _power(exponent + 1):
        exponent += 1
    while value < _power(exponent):
        exponent -= 1
    number = rounding.of(value * _power(kept - exponent))
    if number == 10 ** (kept + 1):
        number, exponent = number // 10, exponent + 1
    return _digits(number).ljust(precision + 1, "0"), exponent


def _power(exponent: int) -> Fraction:
    return Fraction(10**exponent) if exponent >= 0 else Fraction(1, 10**-exponent)


def _scientific(digits: str, exponent: int, precision: int) -> str:
    fraction = "." + digits[1:] if precision else ""
    return f"{digits[0]}{fraction}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def _general(value: Fraction, precision: int, rounding: Rounding, *, keep_zeros: bool) -> str:
    digits, exponent = _scaled(value, precision - 1, rounding)
    if not keep_zeros:
        digits = digits.rstrip("0") or "0"
    if exponent < -4 or exponent >= precision:
        return _scientific(digits, exponent, len(digits) - 1)
    if exponent < 0:
        return "0." + "0" * (-exponent - 1) + digits if digits != "0" else "0"
    digits = digits.ljust(exponent + 1, "0")
    whole, fraction = digits[: exponent + 1], digits[exponent + 1 :]
    return whole + ("." + fraction if fraction else "")


def _digits(number: int) -> str:
    """`str` for integers of any length."""
    if number.bit_length() < 3 * _PIECE:
        return str(number)
    half = int(number.bit_length() * math.log10(2)) // 2
    high, low = divmod(number, 10**half)
    return _digits(high) + _digits(low).rjust(half, "0")


def hexadecimal(bits: int, form: Format, precision: int | None, rounding: Rounding, *, point: bool) -> str:
    """%a for a finite value's bits (without its sign), in glibc's form.

    The digit before the point is the leading bit; in x87's format the upper four bits of the significand.
    """
    stored = form.fraction_bits + form.explicit
    exponent, significand = bits >> stored, bits & (1 << stored) - 1
    if exponent and not form.explicit:
        significand |= 1 << stored
    width = form.fraction_bits - 3 if form.explicit else form.fraction_bits  # number of bits after the point
    power = 0 if not significand else max(exponent, 1) - form.bias - (form.fraction_bits - width)
    padding = -width % 4  # binary32's fraction is not a multiple of 4 bits
    significand, width = significand << padding, width + padding
    if precision is not None and 4 * precision < width:
        unit = 1 << (width - 4 * precision)
        significand = rounding.of(Fraction(significand, unit)) * unit
        if significand >> width > 15:
            significand, power = significand >> 4, power + 4
    whole, fraction = significand >> width, f"{significand & ((1 << width) - 1):0{width // 4}x}"
    fraction = fraction.rstrip("0") if precision is None else fraction.ljust(precision, "0")[:precision]
    return f"0x{whole:x}{'.' if fraction or point else ''}{fraction}p{power:+d}"

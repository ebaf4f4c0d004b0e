"""Reading numbers as strtol, strtod and scanf do: pure functions on bytes."""

from __future__ import annotations

import math
import re
from fractions import Fraction

from relink.records import dataclass

SPACE = b" \t\n\v\f\r"
_SIGN = re.compile(rb"[ \t\n\v\f\r]*([+-]?)")
_DECIMAL = re.compile(rb"(\d+(?:\.\d*)?|\.\d+)(?:[eE]([+-]?\d+))?")
_HEX = re.compile(rb"0[xX](?:([0-9a-fA-F]+)(?:\.([0-9a-fA-F]*))?|\.([0-9a-fA-F]+))(?:[pP]([+-]?\d+))?")
_WORD = re.compile(rb"(inf(?:inity)?|nan(?:\(\w*\))?)", re.IGNORECASE)
_DIGITS = b"0123456789abcdefghijklmnopqrstuvwxyz"
#: Beyond this decimal or binary exponent the result is infinity or zero in every format.
_EXPONENT_LIMIT = 20_000


@dataclass(frozen=True, slots=True)
class Integer:
    """An integer read from the start of a text; `consumed` is 0 if there was none."""

    value: int
    consumed: int


@dataclass(frozen=True, slots=True)
class Real:
    """A floating-point number read from the start of a text; `consumed` is 0 if there was none.

    `value` is exact: a Fraction, or the float infinity, NaN or zero meant.
    """

    value: Fraction | float
    consumed: int


def parse_integer(text: bytes, base: int, *, binary: bool = False) -> Integer:
    """Read an integer as strtol does (base 0: C's prefixes). The base must be 0 or 2..36. `binary`: with C23's
    prefix 0b for bases 0 and 2.
    """
    match = _SIGN.match(text)
    assert match is not None
    start = match.end()
    prefix = text[start : start + 2].lower()
    digits_start = start
    for marker, radix in ((b"0x", 16), *([(b"0b", 2)] if binary else [])):
        after = text[start + 2 : start + 3].lower()
        if prefix == marker and base in (0, radix) and after and after in _DIGITS[:radix]:
            digits_start, base = start + 2, radix
    if base == 0:
        base = 8 if prefix[:1] == b"0" else 10
    allowed = _DIGITS[:base] + _DIGITS[:base].upper()
    rest = text[digits_start:]
    digits = rest[: len(rest) - len(rest.lstrip(allowed))]
    if not digits:
        return Integer(0, 0)
    value = _to_int(digits, base)
    return Integer(-value if match[1] == b"-" else value, digits_start + len(digits))


def _to_int(digits: bytes, base: int) -> int:
    # Python refuses to convert very long decimal texts; beyond 128 bits the result is "too large" anyway.
    digits = digits.lstrip(b"0") or b"0"
    return int(digits, base) if len(digits) <= 130 else 1 << 130


def parse_real(text: bytes) -> Real:
    """Read a number as strtod does: decimal, hexadecimal, inf, infinity, nan, nan(chars)."""
    match = _SIGN.match(text)
    assert match is not None
    sign = -1 if match[1] == b"-" else 1
    start = match.end()
    word = _WORD.match(text, start)
    if word:
        special = math.nan if word[1][:1] in b"nN" else math.inf
        return Real(math.copysign(special, sign), word.end())
    number = _HEX.match(text, start)
    if number:
        whole, fraction = number[1] or b"", number[2] or number[3] or b""
        digits, dropped = _significant(whole + fraction)
        value = _scaled(int(digits, 16), 2, _exponent(number[4]) + 4 * (dropped - len(fraction)))
        return Real(_signed(value, sign), number.end())
    number = _DECIMAL.match(text, start)
    if not number:
        return Real(0.0, 0)
    whole, _, fraction = number[1].partition(b".")
    fraction = fraction.rstrip(b"0")
    digits, dropped = _significant(whole + fraction)
    exponent = _exponent(number[2]) + dropped - len(fraction)
    return Real(_signed(_scaled(int(digits), 10, exponent), sign), number.end())


_SIGNIFICANT = 1200  # number of digits; further digits only make the value inexact


def _significant(digits: bytes) -> tuple[bytes, int]:
    """The significant digits, and the number of digits dropped after them."""
    digits = digits.lstrip(b"0") or b"0"
    dropped = max(len(digits) - _SIGNIFICANT, 0)
    if dropped:
        rest = b"1" if digits[_SIGNIFICANT - 1 :].strip(b"0") else b"0"
        digits = digits[: _SIGNIFICANT - 1] + rest
    return digits, dropped


def _exponent(text: bytes | None) -> int:
    if not text:
        return 0
    digits = text.lstrip(b"+-").lstrip(b"0") or b"0"
    value = int(digits) if len(digits) < 12 else 10**12
    return -value if text[:1] == b"-" else value


def _scaled(significand: int, base: int, exponent: int) -> Fraction:
    """significand * base**exponent, or another value that is out of range in every format."""
    if not significand:
        return Fraction(0)
    magnitude = exponent + int(significand.bit_length() * (1 if base == 2 else 0.30103))
    if abs(magnitude) > _EXPONENT_LIMIT:
        return Fraction(base) ** (_EXPONENT_LIMIT if magnitude > 0 else -_EXPONENT_LIMIT)
    return Fraction(significand) * Fraction(base) ** exponent


def _signed(value: Fraction, sign: int) -> Fraction | float:
    return value * sign if value else math.copysign(0.0, sign)

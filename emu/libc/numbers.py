"""strto*, ato*, abs and div."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from emu.errors import GuestAbort
from emu.libc.errno import Errno
from emu.libc.ieee import DOUBLE, SINGLE, Format, long_double, to_float
from emu.libc.parse import parse_integer, parse_real
from emu.libc.table import WIDE, export, register

if TYPE_CHECKING:
    from emu.libc.core import Libc


def _strto_integer(libc: Libc, text: int, end: int, base: int, bits: int, *, signed: bool) -> int:
    if base and not 2 <= base <= 36:
        return libc.fail(Errno.EINVAL, 0)
    number = parse_integer(libc.string(text), base)
    if end:
        libc.set_pointer(end, text + number.consumed)
    if signed:
        low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        clamped = min(max(number.value, low), high)
        return clamped if clamped == number.value else libc.fail(Errno.ERANGE, clamped)
    top = (1 << bits) - 1
    # A minus sign negates the unsigned result; only the magnitude can overflow.
    return number.value & top if abs(number.value) <= top else libc.fail(Errno.ERANGE, top)


#: name -> (result type, bits; 0: a word's)
_INTEGERS = {
    "strtol": ("long", 0), "strtoul": ("unsigned long", 0),
    "strtoll": ("long long", 64), "strtoull": ("unsigned long long", 64),
    "strtoimax": ("int64_t", 64), "strtoumax": ("uint64_t", 64),
    "strtoq": ("long long", 64), "strtouq": ("unsigned long long", 64),
}  # fmt: skip

for _name, (_type, _bits) in _INTEGERS.items():
    def _convert(
        libc: Libc, text: int, end: int, base: int, *_: int, bits: int = _bits, signed: bool = _type[0] != "u"
    ) -> int:
        return _strto_integer(libc, text, end, base, bits or libc.arch.bits, signed=signed)

    for _spelled in (_name, f"__isoc23_{_name}", f"__{_name}"):
        register(_spelled, f"{_type} {_spelled}(const char *text, char **end, int base)", _convert)
    register(f"{_name}_l", f"{_type} {_name}_l(const char *text, char **end, int base, void *locale)", _convert)
    register(
        f"__{_name}_internal",
        f"{_type} __{_name}_internal(const char *text, char **end, int base, int grouping)", _convert,
    )  # fmt: skip


def _strto_real(libc: Libc, text: int, end: int, form: Format) -> float:
    number = parse_real(libc.string(text))
    if end:
        libc.set_pointer(end, text + number.consumed)
    if not isinstance(number.value, Fraction):
        return number.value
    rounded = form.exact(form.round(number.value))
    smallest_normal = Fraction(1, 1 << (form.bias - 1))
    overflowed = isinstance(rounded, float) and rounded != 0
    if overflowed or (abs(rounded) < smallest_normal and rounded != number.value):
        libc.errno = Errno.ERANGE
    return to_float(rounded)


for _name, _type, _form in (("strtod", "double", DOUBLE), ("strtof", "float", SINGLE), ("strtold", "long double", None)):
    def _convert_real(libc: Libc, text: int, end: int, *_: int, form: Format | None = _form) -> float:
        return _strto_real(libc, text, end, form or long_double(libc.arch)[0])

    for _spelled in (_name, f"__isoc23_{_name}"):
        register(_spelled, f"{_type} {_spelled}(const char *text, char **end)", _convert_real)
    register(f"{_name}_l", f"{_type} {_name}_l(const char *text, char **end, void *locale)", _convert_real)
    register(
        f"__{_name}_internal", f"{_type} __{_name}_internal(const char *text, char **end, int grouping)",
        _convert_real,
    )  # fmt: skip


@export("int atoi(const char *text)")
def atoi(libc: Libc, text: int) -> int:
    # glibc's atoi is (int)strtol: clamped to a long, then cut to 32 bits.
    value = atol(libc, text) & 0xFFFF_FFFF
    return value - (1 << 32) if value >> 31 else value


@export("long atol(const char *text)")
def atol(libc: Libc, text: int) -> int:
    return _strto_integer(libc, text, 0, 10, libc.arch.bits, signed=True)


@export("long long atoll(const char *text)")
def atoll(libc: Libc, text: int) -> int:
    return _strto_integer(libc, text, 0, 10, 64, signed=True)


@export("double atof(const char *text)")
def atof(libc: Libc, text: int) -> float:
    return _strto_real(libc, text, 0, DOUBLE)


def _absolute(libc: Libc, value: int) -> int:
    return abs(value)


for _name, _type in (("abs", "int"), ("labs", "long"), ("llabs", "long long"), ("imaxabs", "int64_t")):
    register(_name, f"{_type} {_name}({_type} value)", _absolute)


def truncated_division(numerator: int, denominator: int, what: str) -> tuple[int, int]:
    """C's quotient and remainder. Raises GuestAbort naming `what` for a zero denominator."""
    if not denominator:
        raise GuestAbort(f"division by zero in {what}")
    quotient = abs(numerator) // abs(denominator)
    if (numerator < 0) != (denominator < 0):
        quotient = -quotient
    return quotient, numerator - quotient * denominator


@export("long long div(int numerator, int denominator)", arches=WIDE)
def div(libc: Libc, numerator: int, denominator: int) -> int:
    """div_t is two ints, which the 64-bit ABIs return in one register."""
    quotient, remainder = truncated_division(numerator, denominator, "div")
    return (remainder & 0xFFFF_FFFF) << 32 | quotient & 0xFFFF_FFFF


@export("__int128 ldiv(long numerator, long denominator)", alias=("lldiv", "imaxdiv"), arches=WIDE)
def ldiv(libc: Libc, numerator: int, denominator: int) -> int:
    """ldiv_t is two words, which the 64-bit ABIs return in two registers, as they do an __int128."""
    quotient, remainder = truncated_division(numerator, denominator, "ldiv")
    mask = (1 << 64) - 1
    return (remainder & mask) << 64 | quotient & mask

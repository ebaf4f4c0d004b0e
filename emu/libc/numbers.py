"""strto*, ato*, abs and div."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, TypeVar

from emu.errors import GuestAbort
from emu.isa.spec import Helpers, Isa
from emu.libc.errno import Errno
from emu.libc.fenv import Raised, raise_flags, rounding
from emu.libc.ieee import DOUBLE, QUAD, SINGLE, Format, as_long_double, exact, long_double, to_float
from emu.libc.parse import SPACE, Integer, Real, parse_integer, parse_real
from emu.libc.table import Condition, export, long_double_by_value, register, wide

if TYPE_CHECKING:
    from emu.libc.library import Libc


_NUMBER = TypeVar("_NUMBER", Integer, Real)
_MARGIN = 32  # bytes; more than the number of bytes after the last consumed one that can affect the result


def _parse(libc: Libc, address: int, parse: Callable[[bytes], _NUMBER]) -> _NUMBER:
    """Parse the number at the start of a text; only as much of the text is read as the number needs."""
    start, whole = libc.beginning(address)
    number = parse(start)
    seen = number.consumed or len(start) - len(start.lstrip(SPACE))
    return number if whole or seen < len(start) - _MARGIN else parse(libc.string(address))


def _strto_integer(libc: Libc, text: int, end: int, base: int, bits: int, *, signed: bool, binary: bool) -> int:
    if base and not 2 <= base <= 36:
        return libc.fail(Errno.EINVAL, 0)
    number = _parse(libc, text, lambda start: parse_integer(start, base, binary=binary))
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


def _integer_converter(bits: int, *, signed: bool, binary: bool) -> Callable[..., int]:
    def convert(libc: Libc, text: int, end: int, base: int, *_: int) -> int:
        return _strto_integer(libc, text, end, base, bits or libc.arch.bits, signed=signed, binary=binary)

    return convert


for _name, (_type, _bits) in _INTEGERS.items():
    for _spelled, _extra in (
        (_name, ""),
        (f"__isoc23_{_name}", ""),
        (f"__{_name}", ""),
        (f"{_name}_l", ", void *locale"),
        (f"__isoc23_{_name}_l", ", void *locale"),
        (f"__{_name}_internal", ", int grouping"),
    ):
        _convert = _integer_converter(
            _bits, signed=not _type.startswith("u"), binary=_spelled.startswith("__isoc23")
        )
        register(_spelled, f"{_type} {_spelled}(const char *text, char **end, int base{_extra})", _convert)


def _strto_real(libc: Libc, text: int, end: int, form: Format) -> float:
    number = _parse(libc, text, parse_real)
    if end:
        libc.set_pointer(end, text + number.consumed)
    if not isinstance(number.value, Fraction):
        return number.value
    bits = form.round(number.value, rounding(libc))
    rounded: Fraction | float = form.exact(bits)
    if rounded != number.value:
        _inexact(libc, number.value, rounded, form)
    return as_long_double(rounded, libc.isa.data) if form is long_double(libc.isa.data)[0] else to_float(rounded)


def _inexact(libc: Libc, value: Fraction, rounded: Fraction | float, form: Format) -> None:
    """Set errno and raise the exceptions of a conversion that rounds."""
    raised = Raised.INEXACT
    if (isinstance(rounded, float) and rounded) or abs(value) >= 1 << (form.bias + 1):
        raised |= Raised.OVERFLOW
    if -form.smallest_normal < rounded < form.smallest_normal:
        raised |= Raised.UNDERFLOW
    if raised != Raised.INEXACT:
        libc.errno = Errno.ERANGE
    raise_flags(libc, raised)


def _real_converter(form: Format | None) -> Callable[..., float]:
    return lambda libc, text, end, *_: _strto_real(libc, text, end, form or long_double(libc.isa.data)[0])


def _strtold_by_reference(libc: Libc, result: int, text: int, end: int, *_: int) -> int:
    value = _strto_real(libc, text, end, QUAD)
    libc.memory.write(result, QUAD.round(exact(value)).to_bytes(QUAD.size, "little"))
    return result


def _export_real(name: str, ctype: str, form: Format | None) -> None:
    parameters = "const char *text, char **end"
    for spelled, extra in (
        (name, ""),
        (f"__isoc23_{name}", ""),
        (f"{name}_l", ", void *locale"),
        (f"__{name}_l", ", void *locale"),
        (f"__{name}_internal", ", int grouping"),
    ):
        convert = _real_converter(form)
        if form is not None:
            register(spelled, f"{ctype} {spelled}({parameters}{extra})", convert)
            continue
        register(spelled, f"{ctype} {spelled}({parameters}{extra})", convert, long_double_by_value)
        # A result larger than two registers is stored at the address in a hidden first argument (RISC-V psABI).
        hidden = f"void *{spelled}(void *result, {parameters}{extra})"
        register(spelled, hidden, _strtold_by_reference, lambda isa: not isa.long_double_by_value)


_export_real("strtod", "double", DOUBLE)
_export_real("strtof", "float", SINGLE)
_export_real("strtold", "long double", None)


_NANS: tuple[tuple[str, str, Condition | None], ...] = (
    ("strtod", "double", None),
    ("strtof", "float", None),
    ("strtold", "long double", long_double_by_value),
)
for _name, _type, _on in _NANS:
    # glibc's libm calls these for nan("tag"); the payload is not preserved.
    register(
        f"__{_name}_nan",
        f"{_type} __{_name}_nan(const char *text, char **end, int stop)",
        lambda libc, text, end, stop: math.nan,
        _on,
    )


def _has_float128(isa: Isa) -> bool:
    return Helpers.FLOAT128 in isa.libc.helpers


@export("void __strtof128_nan(const char *text, char **end, int stop)", on=_has_float128)
def strtof128_nan(libc: Libc, text: int, end: int, stop: int) -> None:
    """Only libm's nanf128 calls it. A __float128 is returned like a double; on i386 that is not in a register."""
    register = next(iter(libc.isa.convention.float_results.get(8, ())), None)
    if register is None:
        raise GuestAbort(f"__strtof128_nan: a __float128 result is not supported on {libc.isa.name}")
    libc.registers.write_register(register, QUAD.nan)


@export("void strtof128(const char *text, char **end)", alias=("strfromf128",), on=_has_float128)
def strtof128(libc: Libc, text: int, end: int) -> None:
    """__float128 is not supported; libstdc++ refers to these functions for std::float128_t."""
    raise GuestAbort("strtof128, strfromf128: __float128 values are not supported")


@export("int atoi(const char *text)")
def atoi(libc: Libc, text: int) -> int:
    # glibc's atoi is (int)strtol: clamped to a long, then truncated to 32 bits.
    value = atol(libc, text) & 0xFFFF_FFFF
    return value - (1 << 32) if value >> 31 else value


@export("long atol(const char *text)")
def atol(libc: Libc, text: int) -> int:
    return _strto_integer(libc, text, 0, 10, libc.arch.bits, signed=True, binary=False)


@export("long long atoll(const char *text)")
def atoll(libc: Libc, text: int) -> int:
    return _strto_integer(libc, text, 0, 10, 64, signed=True, binary=False)


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


@export("long long div(int numerator, int denominator)", on=wide)
def div(libc: Libc, numerator: int, denominator: int) -> int:
    """div_t is two ints, which the 64-bit ABIs return in one register."""
    quotient, remainder = truncated_division(numerator, denominator, "div")
    return (remainder & 0xFFFF_FFFF) << 32 | quotient & 0xFFFF_FFFF


@export("__int128 ldiv(long numerator, long denominator)", alias=("lldiv", "imaxdiv"), on=wide)
def ldiv(libc: Libc, numerator: int, denominator: int) -> int:
    """ldiv_t is two words, which the 64-bit ABIs return in two registers, as they do an __int128."""
    quotient, remainder = truncated_division(numerator, denominator, "ldiv")
    mask = (1 << 64) - 1
    return (remainder & mask) << 64 | quotient & mask

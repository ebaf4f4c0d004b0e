"""Older functions on text: digits of numbers, radix 64, and the parts of a path."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from emu.libc.errno import Errno
from emu.libc.table import export

if TYPE_CHECKING:
    from emu.libc.library import Libc

_MOST_DIGITS = 17  #: more would be those of the number's neighbours (glibc's NDIGIT)
_SMALLEST, _SMALLEST_EXPONENT = 1e-307, -307  #: the smallest power of ten that is not a denormal number
_ROOM = 400
_RADIX_64 = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class _Buffers:
    """The static buffers."""

    def __init__(self, libc: Libc) -> None:
        self.digits, self.radix, self.dot = libc.allocate(_ROOM), libc.allocate(8), libc.allocate(2)


def _put(libc: Libc, value: float, text: bytes, point: int, place: int, sign: int) -> int:
    buffer = libc.state(_Buffers).digits
    libc.put_string(buffer, text)
    libc.memory.write_uint(place, 4, point & 0xFFFF_FFFF)
    libc.memory.write_uint(sign, 4, int(math.isfinite(value) and math.copysign(1, value) < 0))
    return buffer


@export("char *ecvt(double value, int count, int *point, int *sign)")
def ecvt(libc: Libc, value: float, count: int, place: int, sign: int) -> int:
    """`count` digits, at most 17; the point is before the digit of that number. As glibc: the value is first
    scaled to one digit before the point, which may change its last ones.
    """
    exponent = 0
    if math.isfinite(value) and value:
        value, exponent = _scaled(value)
    if count <= 0:
        return _put(libc, value, b"", 1 + exponent, place, sign)
    text, point = _fixed(value, min(count, _MOST_DIGITS) - 1)
    return _put(libc, value, text, point + exponent if point else 0, place, sign)


def _scaled(value: float) -> tuple[float, int]:
    """A value between 1 and 10, and the power of ten."""
    size, factor, exponent = abs(value), 1.0, 0
    if size < _SMALLEST:
        value, exponent = value / _SMALLEST, _SMALLEST_EXPONENT
        size = abs(value)
    if size < 1:
        while size * factor < 1:
            factor, exponent = factor * 10, exponent - 1
        return value * factor, exponent
    while size >= factor * 10:
        factor, exponent = factor * 10, exponent + 1
    return value / factor, exponent


@export("char *fcvt(double value, int count, int *point, int *sign)")
def fcvt(libc: Libc, value: float, count: int, place: int, sign: int) -> int:
    """`count` digits behind the point, and those before it; those before the first that is not 0 are left out."""
    size, left = abs(value) if math.isfinite(value) else value, 0
    while count < 0 and math.isfinite(value) and size * 0.1 >= 1:
        size, left, count = size * 0.1, left + 1, count + 1
    text, point = _fixed(size, min(max(count, 0), _MOST_DIGITS))
    return _put(libc, value, text + b"0" * left, point + left, place, sign)


def _fixed(value: float, count: int) -> tuple[bytes, int]:
    """The digits, and how many of them are before the point; 0 for what is not a number."""
    if not math.isfinite(value):
        return ("-" * (value < 0) + ("nan" if math.isnan(value) else "inf")).encode(), 0
    whole, _, rest = f"{abs(value):.{count}f}".partition(".")
    if whole == "0" and value and rest:
        stripped = rest.lstrip("0")
        return stripped.encode(), len(stripped) - len(rest)
    return (whole + rest).encode(), len(whole)


def _room(value: float, count: int) -> int:
    """The size of a number with `count` digits behind the point, in bytes: glibc writes it to the buffer first."""
    return len(f"{abs(value):.{min(max(count, 0), _MOST_DIGITS)}f}")


_INTO_BUFFER = "double value, int count, int *point, int *sign, char *buffer, size_t size"


@export(f"int ecvt_r({_INTO_BUFFER})")
def ecvt_r(libc: Libc, value: float, count: int, place: int, sign: int, buffer: int, size: int) -> int:
    return _copied(libc, ecvt(libc, value, count, place, sign), _room(1, count - 1), buffer, size)


@export(f"int fcvt_r({_INTO_BUFFER})")
def fcvt_r(libc: Libc, value: float, count: int, place: int, sign: int, buffer: int, size: int) -> int:
    return _copied(libc, fcvt(libc, value, count, place, sign), _room(value, count), buffer, size)


def _copied(libc: Libc, digits: int, room: int, buffer: int, size: int) -> int:
    """-1 for a buffer that is too small, and with EINVAL for none."""
    if not buffer:
        return libc.fail(Errno.EINVAL)
    if room >= size:
        return -1
    libc.put_string(buffer, libc.string(digits))
    return 0


@export("char *gcvt(double value, int count, char *text)")
def gcvt(libc: Libc, value: float, count: int, text: int) -> int:
    """As printf's %.*g."""
    libc.put_string(text, f"{value:.{max(min(count, _MOST_DIGITS), 0)}g}".encode())
    return text


@export("long a64l(const char *text)")
def a64l(libc: Libc, text: int) -> int:
    value = 0
    for position, digit in enumerate(libc.bounded_string(text, 6)):
        if digit not in _RADIX_64:
            break
        value |= _RADIX_64.index(digit) << 6 * position
    value &= 0xFFFF_FFFF
    return value if libc.word == 8 else value - (value >> 31 << 32)


@export("char *l64a(long value)")
def l64a(libc: Libc, value: int) -> int:
    value &= 0xFFFF_FFFF
    buffer, text = libc.state(_Buffers).radix, bytearray()
    while value:
        text.append(_RADIX_64[value & 63])
        value >>= 6
    libc.put_string(buffer, bytes(text))
    return buffer


@export("char *dirname(char *path)")
def dirname(libc: Libc, path: int) -> int:
    """Cuts the path; "." where it has no folder. Two slashes at its beginning, not more, are kept."""
    text = libc.string(path) if path else b""
    last, named = text.rfind(b"/"), len(text.rstrip(b"/"))
    if 0 < last == len(text) - 1 and named:
        last = text.rfind(b"/", 0, named)
    if last < 0:
        return _dot(libc)
    end = len(text[: last + 1].rstrip(b"/")) or (2 if last == 1 else 1)
    libc.memory.write(path + end, b"\0")
    return path


def _dot(libc: Libc) -> int:
    dot = libc.state(_Buffers).dot
    libc.put_string(dot, b".")
    return dot


@export("char *__xpg_basename(char *path)")
def xpg_basename(libc: Libc, path: int) -> int:
    """The last part, without slashes behind it, which are cut."""
    text = libc.string(path) if path else b""
    if not text:
        return _dot(libc)
    kept = text.rstrip(b"/")
    if not kept:
        libc.memory.write(path + 1, b"\0")
        return path
    libc.memory.write(path + len(kept), b"\0")
    return path + kept.rfind(b"/") + 1


@export("void *memfrob(void *block, size_t size)")
def memfrob(libc: Libc, block: int, size: int) -> int:
    libc.memory.write(block, bytes(byte ^ 42 for byte in libc.memory.read(block, size)))
    return block

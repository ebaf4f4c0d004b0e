"""Wide characters: wchar_t is 32 bits on all seven ISAs; the multibyte encoding is the locale's."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from typing import TYPE_CHECKING

import numpy as np

from emu.cpu.protocol import Protection
from emu.errors import GuestAbort
from emu.libc.encoding import codec, encoded
from emu.libc.errno import Errno
from emu.libc.table import export
from relink.arrays import U32

if TYPE_CHECKING:
    from emu.libc.library import Libc

WCHAR = 4  #: bytes


_MOST = 1 << 20  #: limit in characters for conversion and printing, which copy to host memory
_WHOLE = 1 << 62  #: a limit in characters that no string reaches


def wide_ahead(libc: Libc, address: int, most: int) -> Iterator[U32]:
    """The code units from `address` on, up to `most`, in pieces; no page is read before it is needed."""
    rest = b""
    for piece in libc.memory.ahead(address, WCHAR * most):
        data = rest + piece
        whole = len(data) & -WCHAR
        rest = data[whole:]
        yield np.frombuffer(data[:whole], "<u4")


def _first(units: U32, wanted: int) -> int:
    """The index of the first occurrence of a unit, or the number of units."""
    found = np.flatnonzero(units == wanted)
    return int(found[0]) if len(found) else len(units)


def _find(libc: Libc, address: int, wanted: int, most: int, *, string: bool) -> tuple[int, bool]:
    """The number of units before the first `wanted` among `most` (in a string also before its NUL), and whether
    `wanted` was found.
    """
    seen = 0
    for units in wide_ahead(libc, address, most):
        place = _first(units, wanted)
        end = _first(units, 0) if string else len(units)
        if min(place, end) < len(units):
            return seen + min(place, end), place <= end
        seen += len(units)
    return seen, False


def read_wide(libc: Libc, address: int, limit: int = _WHOLE) -> list[int]:
    """The code units at `address` up to the NUL, or `limit` of them. Raises GuestAbort beyond the limit of the
    host.
    """
    pieces: list[int] = []
    for units in wide_ahead(libc, address, limit):
        end = _first(units, 0)
        pieces += units[:end].tolist()
        if end < len(units):
            break
        if len(pieces) > _MOST:
            raise GuestAbort(f"a wide string of more than {_MOST} characters, to be held at once")
    return pieces


def encode_wide(units: list[int]) -> bytes | None:
    """UTF-8 of the code units, or None if one is not a character."""
    try:
        return "".join(map(chr, units)).encode()
    except (ValueError, OverflowError, UnicodeEncodeError):
        return None


def write_wide(libc: Libc, address: int, units: list[int]) -> None:
    """Store code units."""
    libc.memory.write(address, b"".join(unit.to_bytes(WCHAR, "little") for unit in units))


def _order(libc: Libc, a: list[int], b: list[int]) -> int:
    if libc.isa.data.wchar_signed:
        a, b = ([(u ^ 1 << 31) - (1 << 31) for u in units] for units in (a, b))
        return (a > b) - (a < b)
    return (a > b) - (a < b)


@export("size_t wcslen(const wchar_t *s)")
def wcslen(libc: Libc, s: int) -> int:
    return wcsnlen(libc, s, _WHOLE)


@export("size_t wcsnlen(const wchar_t *s, size_t limit)")
def wcsnlen(libc: Libc, s: int, limit: int) -> int:
    return _find(libc, s, 0, limit, string=True)[0]


@export("wchar_t *wcscpy(wchar_t *dest, const wchar_t *src)")
def wcscpy(libc: Libc, dest: int, src: int) -> int:
    libc.memory.copy(dest, src, WCHAR * (wcslen(libc, src) + 1))
    return dest


@export("wchar_t *wcsncpy(wchar_t *dest, const wchar_t *src, size_t n)")
def wcsncpy(libc: Libc, dest: int, src: int, n: int) -> int:
    length = wcsnlen(libc, src, n)
    libc.memory.require(dest, WCHAR * n, Protection.W)
    libc.memory.copy(dest, src, WCHAR * length)
    libc.memory.fill(dest + WCHAR * length, b"\0", WCHAR * (n - length))
    return dest


@export("wchar_t *wcscat(wchar_t *dest, const wchar_t *src)")
def wcscat(libc: Libc, dest: int, src: int) -> int:
    wcscpy(libc, dest + WCHAR * wcslen(libc, dest), src)
    return dest


def _compare(libc: Libc, a: int, b: int, n: int, *, string: bool) -> int:
    for one, other in libc.memory.pairs(a, b, WCHAR * n) if not (a | b) % WCHAR else _slow_pairs(libc, a, b, n):
        units_a, units_b = np.frombuffer(one, "<u4"), np.frombuffer(other, "<u4")
        differing = np.flatnonzero(units_a != units_b)
        place = int(differing[0]) if len(differing) else len(units_a)
        if string and _first(units_a[:place], 0) < place:
            return 0
        if place < len(units_a):
            return _order(libc, [int(units_a[place])], [int(units_b[place])])
    return 0


def _slow_pairs(libc: Libc, a: int, b: int, n: int) -> Iterator[tuple[bytes, bytes]]:
    """The pairs unit by unit, for unaligned addresses."""
    for place in range(0, WCHAR * min(n, _WHOLE), WCHAR):
        libc.check_budget()
        yield libc.memory.read(a + place, WCHAR), libc.memory.read(b + place, WCHAR)


@export("int wcscmp(const wchar_t *a, const wchar_t *b)", alias=("wcscoll",))
def wcscmp(libc: Libc, a: int, b: int) -> int:
    return _compare(libc, a, b, _WHOLE, string=True)


@export("int wcsncmp(const wchar_t *a, const wchar_t *b, size_t n)")
def wcsncmp(libc: Libc, a: int, b: int, n: int) -> int:
    return _compare(libc, a, b, n, string=True)


@export("wchar_t *wcschr(const wchar_t *s, int c)")
def wcschr(libc: Libc, s: int, c: int) -> int:
    place, found = _find(libc, s, c & 0xFFFF_FFFF, _WHOLE, string=True)
    return s + WCHAR * place if found else 0


@export("wchar_t *wcsrchr(const wchar_t *s, int c)")
def wcsrchr(libc: Libc, s: int, c: int) -> int:
    wanted, last, place = c & 0xFFFF_FFFF, 0, s
    for units in wide_ahead(libc, s, _WHOLE):
        end = _first(units, 0)
        found = np.flatnonzero(units[: end + 1] == wanted)
        if len(found):
            last = place + WCHAR * int(found[-1])
        if end < len(units):
            break
        place += WCHAR * len(units)
    return last


@export("wchar_t *wmemcpy(wchar_t *dest, const wchar_t *src, size_t n)", alias=("wmemmove",))
def wmemcpy(libc: Libc, dest: int, src: int, n: int) -> int:
    libc.memory.copy(dest, src, n * WCHAR)
    return dest


@export("wchar_t *wmemset(wchar_t *dest, int value, size_t n)")
def wmemset(libc: Libc, dest: int, value: int, n: int) -> int:
    libc.memory.fill(dest, (value & 0xFFFF_FFFF).to_bytes(WCHAR, "little"), n * WCHAR)
    return dest


@export("int wmemcmp(const wchar_t *a, const wchar_t *b, size_t n)")
def wmemcmp(libc: Libc, a: int, b: int, n: int) -> int:
    return _compare(libc, a, b, n, string=False)


@export("wchar_t *wmemchr(const wchar_t *s, int c, size_t n)")
def wmemchr(libc: Libc, s: int, c: int, n: int) -> int:
    place, found = _find(libc, s, c & 0xFFFF_FFFF, n, string=False)
    return s + WCHAR * place if found else 0


# ---------------------------------------------------------------- multibyte


def multibyte(libc: Libc, address: int, limit: int = _WHOLE) -> bytes:
    """The string at `address`, for conversion. Raises GuestAbort for a very long one."""
    text = libc.bounded_string(address, min(limit, 4 * _MOST + 1))
    if len(text) > 4 * _MOST:
        raise GuestAbort(f"a string of more than {4 * _MOST} bytes, to be converted at once")
    return text


@export("size_t mbstowcs(wchar_t *dest, const char *src, size_t n)")
def mbstowcs(libc: Libc, dest: int, src: int, n: int) -> int:
    """What is behind the last character that fits is not looked at."""
    text, invalid = multibyte(libc, src, 4 * n if dest else _WHOLE), False
    try:
        characters = text.decode(codec(libc))
    except UnicodeDecodeError as error:
        characters, invalid = text[: error.start].decode(), True
    fitting = n if dest else _WHOLE
    units = [ord(c) for c in characters[:fitting]]
    if dest:
        write_wide(libc, dest, units if invalid else [*units, 0][:n])
    return libc.fail(Errno.EILSEQ, libc.arch.address_mask) if invalid and len(units) < fitting else len(units)


@export("size_t wcstombs(char *dest, const wchar_t *src, size_t n)")
def wcstombs(libc: Libc, dest: int, src: int, n: int) -> int:
    """A character is written completely or not at all; what is behind the last that fits is not looked at."""
    units = read_wide(libc, src, n if dest else _WHOLE)
    text = encoded(libc, units)
    if text is None:
        text = encoded(libc, list(takewhile(lambda unit: encoded(libc, [unit]) is not None, units))) or b""
        if not dest or len(text) < n:
            return libc.fail(Errno.EILSEQ, libc.arch.address_mask)
    if not dest:
        return len(text)
    fitting = text[:n].decode(errors="ignore").encode()
    libc.memory.write(dest, fitting + b"\0" if len(fitting) == len(text) < n else fitting)
    return len(fitting)


class Partial:
    """The bytes so far of a character that was cut off, in a guest's mbstate_t (8 bytes in glibc), or in the state
    that a function has of its own where it is given none: a count, then at most three bytes.
    """

    def __init__(self, libc: Libc) -> None:
        self._own: dict[str, int] = {}

    @staticmethod
    def at(libc: Libc, state: int, function: str) -> int:
        """The address of the state."""
        own = libc.state(Partial)._own
        if not state and function not in own:
            own[function] = libc.allocate(8)
        return state or own[function]

    @staticmethod
    def get(libc: Libc, state: int) -> bytes:
        count = libc.memory.read_uint(state, 4)
        return libc.memory.read(state + 4, min(count, 3))

    @staticmethod
    def put(libc: Libc, state: int, data: bytes) -> None:
        libc.memory.write(state, len(data).to_bytes(4, "little") + data.ljust(4, b"\0"))


def _one_character(libc: Libc, src: int, n: int, before: bytes) -> tuple[int | None, bytes]:
    """A character that begins with the bytes `before`, and all its bytes; None if it is cut off after `n` more.

    Raises UnicodeDecodeError.
    """
    data = before
    while len(data) - len(before) < n and len(data) < 4:
        data += libc.memory.read(src + len(data) - len(before), 1)
        try:
            text = data.decode(codec(libc))
            if len(text) > 1:  # the guest's state is no character's beginning
                raise UnicodeDecodeError("utf-8", data, 0, len(data), "invalid state")
            return ord(text), data
        except UnicodeDecodeError as error:
            if "unexpected end" not in error.reason:
                raise
    return None, data


def convert(libc: Libc, dest: int, src: int, n: int, state: int, function: str) -> int:
    """mbrtowc, with the state of `function` if `state` is 0."""
    place = Partial.at(libc, state, function)
    before = Partial.get(libc, place)
    try:
        if not src and before:
            return libc.fail(Errno.EILSEQ, libc.arch.address_mask)
        character, data = _one_character(libc, src, n, before) if src else (0, b"")
    except UnicodeDecodeError:
        return libc.fail(Errno.EILSEQ, libc.arch.address_mask)
    Partial.put(libc, place, data if character is None else b"")
    if character is None:
        return libc.arch.address_mask - 1
    if dest and src:
        write_wide(libc, dest, [character])
    return len(data) - len(before) if character else 0


@export("size_t mbrtowc(wchar_t *dest, const char *src, size_t n, void *state)")
def mbrtowc(libc: Libc, dest: int, src: int, n: int, state: int) -> int:
    return convert(libc, dest, src, n, state, "mbrtowc")


@export("int mbtowc(wchar_t *dest, const char *src, size_t n)")
def mbtowc(libc: Libc, dest: int, src: int, n: int) -> int:
    """No encoding has a shift state, which NULL asks for; a character that is cut off is an error."""
    if not src:
        return 0
    try:
        character, data = _one_character(libc, src, n, b"")
    except UnicodeDecodeError:
        character = None
    if character is None:
        return libc.fail(Errno.EILSEQ)
    if dest:
        write_wide(libc, dest, [character])
    return len(data) if character else 0


@export("int mblen(const char *src, size_t n)")
def mblen(libc: Libc, src: int, n: int) -> int:
    return mbtowc(libc, 0, src, n)


@export("int wctomb(char *dest, int c)")
def wctomb(libc: Libc, dest: int, c: int) -> int:
    """No encoding has a state, which NULL asks for."""
    if not dest:
        return 0
    count = wcrtomb(libc, dest, c, 0)
    return -1 if count == libc.arch.address_mask else count


@export("size_t wcrtomb(char *dest, int c, void *state)")
def wcrtomb(libc: Libc, dest: int, c: int, state: int) -> int:
    if not dest:
        return 1
    text = encoded(libc, [c & 0xFFFF_FFFF])
    if text is None:
        return libc.fail(Errno.EILSEQ, libc.arch.address_mask)
    libc.memory.write(dest, text)
    return len(text)


@export("int mbsinit(const void *state)")
def mbsinit(libc: Libc, state: int) -> int:
    return int(not state or not libc.memory.read_uint(state, 4))


@export("size_t mbrlen(const char *src, size_t n, void *state)", alias=("__mbrlen",))
def mbrlen(libc: Libc, src: int, n: int, state: int) -> int:
    return convert(libc, 0, src, n, state, "mbrlen")

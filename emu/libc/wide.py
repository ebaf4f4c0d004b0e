"""Wide characters: wchar_t is 32 bits on all seven ISAs; the multibyte encoding is UTF-8."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.libc.errno import Errno
from emu.libc.table import export

if TYPE_CHECKING:
    from emu.libc.library import Libc

WCHAR = 4  #: bytes


def read_wide(libc: Libc, address: int, limit: int | None = None) -> list[int]:
    """The code units at `address` up to the NUL, or `limit` of them."""
    units: list[int] = []
    while limit is None or len(units) < limit:
        unit = libc.memory.read_uint(address + WCHAR * len(units), WCHAR)
        if not unit:
            break
        units.append(unit)
    return units


def encode_wide(units: list[int]) -> bytes | None:
    """UTF-8 of the code units, or None if one is no character."""
    try:
        return "".join(map(chr, units)).encode()
    except (ValueError, OverflowError, UnicodeEncodeError):
        return None


def _write(libc: Libc, address: int, units: list[int]) -> None:
    libc.memory.write(address, b"".join(unit.to_bytes(WCHAR, "little") for unit in units))


def _order(libc: Libc, a: list[int], b: list[int]) -> int:
    if libc.isa.data.wchar_signed:
        a, b = ([(u ^ 1 << 31) - (1 << 31) for u in units] for units in (a, b))
        return (a > b) - (a < b)
    return (a > b) - (a < b)


@export("size_t wcslen(const wchar_t *s)")
def wcslen(libc: Libc, s: int) -> int:
    return len(read_wide(libc, s))


@export("size_t wcsnlen(const wchar_t *s, size_t limit)")
def wcsnlen(libc: Libc, s: int, limit: int) -> int:
    return len(read_wide(libc, s, limit))


@export("wchar_t *wcscpy(wchar_t *dest, const wchar_t *src)")
def wcscpy(libc: Libc, dest: int, src: int) -> int:
    _write(libc, dest, [*read_wide(libc, src), 0])
    return dest


@export("wchar_t *wcsncpy(wchar_t *dest, const wchar_t *src, size_t n)")
def wcsncpy(libc: Libc, dest: int, src: int, n: int) -> int:
    units = read_wide(libc, src, n)
    _write(libc, dest, units + [0] * (n - len(units)))
    return dest


@export("wchar_t *wcscat(wchar_t *dest, const wchar_t *src)")
def wcscat(libc: Libc, dest: int, src: int) -> int:
    wcscpy(libc, dest + WCHAR * wcslen(libc, dest), src)
    return dest


@export("int wcscmp(const wchar_t *a, const wchar_t *b)", alias=("wcscoll",))
def wcscmp(libc: Libc, a: int, b: int) -> int:
    return _order(libc, read_wide(libc, a), read_wide(libc, b))


@export("int wcsncmp(const wchar_t *a, const wchar_t *b, size_t n)")
def wcsncmp(libc: Libc, a: int, b: int, n: int) -> int:
    return _order(libc, read_wide(libc, a, n), read_wide(libc, b, n))


@export("wchar_t *wcschr(const wchar_t *s, int c)")
def wcschr(libc: Libc, s: int, c: int) -> int:
    units = [*read_wide(libc, s), 0]
    wanted = c & 0xFFFF_FFFF
    return s + WCHAR * units.index(wanted) if wanted in units else 0


@export("wchar_t *wcsrchr(const wchar_t *s, int c)")
def wcsrchr(libc: Libc, s: int, c: int) -> int:
    units = [*read_wide(libc, s), 0]
    wanted = c & 0xFFFF_FFFF
    return s + WCHAR * (len(units) - 1 - units[::-1].index(wanted)) if wanted in units else 0


@export("wchar_t *wmemcpy(wchar_t *dest, const wchar_t *src, size_t n)", alias=("wmemmove",))
def wmemcpy(libc: Libc, dest: int, src: int, n: int) -> int:
    if n:
        libc.memory.write(dest, libc.memory.read(src, n * WCHAR))
    return dest


@export("wchar_t *wmemset(wchar_t *dest, int value, size_t n)")
def wmemset(libc: Libc, dest: int, value: int, n: int) -> int:
    if n:
        libc.memory.write(dest, (value & 0xFFFF_FFFF).to_bytes(WCHAR, "little") * n)
    return dest


def _units(libc: Libc, s: int, n: int) -> list[int]:
    return [libc.memory.read_uint(s + WCHAR * i, WCHAR) for i in range(n)]


@export("int wmemcmp(const wchar_t *a, const wchar_t *b, size_t n)")
def wmemcmp(libc: Libc, a: int, b: int, n: int) -> int:
    return _order(libc, _units(libc, a, n), _units(libc, b, n))


@export("wchar_t *wmemchr(const wchar_t *s, int c, size_t n)")
def wmemchr(libc: Libc, s: int, c: int, n: int) -> int:
    units, wanted = _units(libc, s, n), c & 0xFFFF_FFFF
    return s + WCHAR * units.index(wanted) if wanted in units else 0


# ---------------------------------------------------------------- multibyte


@export("size_t mbstowcs(wchar_t *dest, const char *src, size_t n)")
def mbstowcs(libc: Libc, dest: int, src: int, n: int) -> int:
    try:
        units = [ord(c) for c in libc.string(src).decode()]
    except UnicodeDecodeError:
        return libc.fail(Errno.EILSEQ, libc.arch.address_mask)
    if dest:
        _write(libc, dest, [*units, 0][:n])
        return min(len(units), n)
    return len(units)


@export("size_t wcstombs(char *dest, const wchar_t *src, size_t n)")
def wcstombs(libc: Libc, dest: int, src: int, n: int) -> int:
    text = encode_wide(read_wide(libc, src))
    if text is None:
        return libc.fail(Errno.EILSEQ, libc.arch.address_mask)
    if not dest:
        return len(text)
    fitting = text[:n].decode(errors="ignore").encode()  # a character is written whole or not at all
    libc.memory.write(dest, fitting + b"\0" if len(fitting) == len(text) < n else fitting)
    return len(fitting)


@export("size_t mbrtowc(wchar_t *dest, const char *src, size_t n, void *state)")
def mbrtowc(libc: Libc, dest: int, src: int, n: int, state: int) -> int:
    """Stateless: a character cut off by `n` is told by (size_t)-2 and must be offered again whole."""
    if not src:
        return 0
    data = b""
    while len(data) < min(n, 4):
        data += libc.memory.read(src + len(data), 1)
        try:
            character = data.decode()
        except UnicodeDecodeError as error:
            if "unexpected end" in error.reason:
                continue
            return libc.fail(Errno.EILSEQ, libc.arch.address_mask)
        if dest:
            _write(libc, dest, [ord(character)])
        return len(data) if ord(character) else 0
    return libc.arch.address_mask - 1


@export("int mbtowc(wchar_t *dest, const char *src, size_t n)")
def mbtowc(libc: Libc, dest: int, src: int, n: int) -> int:
    count = mbrtowc(libc, dest, src, n, 0)
    return -1 if count >= libc.arch.address_mask - 1 else count


@export("size_t wcrtomb(char *dest, int c, void *state)")
def wcrtomb(libc: Libc, dest: int, c: int, state: int) -> int:
    if not dest:
        return 1
    text = encode_wide([c & 0xFFFF_FFFF])
    if text is None:
        return libc.fail(Errno.EILSEQ, libc.arch.address_mask)
    libc.memory.write(dest, text)
    return len(text)


@export("int mbsinit(const void *state)")
def mbsinit(libc: Libc, state: int) -> int:
    """No conversion keeps a state between calls."""
    return 1


@export("size_t mbrtoc32(unsigned *dest, const char *src, size_t n, void *state)")
def mbrtoc32(libc: Libc, dest: int, src: int, n: int, state: int) -> int:
    return mbrtowc(libc, dest, src, n, state)


@export("size_t c32rtomb(char *dest, unsigned c, void *state)")
def c32rtomb(libc: Libc, dest: int, c: int, state: int) -> int:
    return wcrtomb(libc, dest, c, state)


@export("size_t mbrlen(const char *src, size_t n, void *state)", alias=("__mbrlen",))
def mbrlen(libc: Libc, src: int, n: int, state: int) -> int:
    return mbrtowc(libc, 0, src, n, state)

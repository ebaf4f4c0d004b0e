"""What a locale holds, its functions (`_l`), and conversions of strings: all but the encoding is that of "C".

Classes of characters beyond ASCII are those of "C" too. The numbers of nl_langinfo's items and the texts: glibc,
langinfo.h, locale/C-time.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.libc.clock import MONTHS, WEEKDAYS, read_tm
from emu.libc.ctype import CLASSES, tolower, toupper
from emu.libc.encoding import codec, encoded
from emu.libc.errno import Errno
from emu.libc.locale_names import encoding_of
from emu.libc.open_streams import illegal_in, standard_stream, write_characters
from emu.libc.stdio import EOF, fgetc, ungetc
from emu.libc.strftime import place_of, strftime, strftime_text
from emu.libc.strings import strcasecmp, strcmp, strncasecmp, strxfrm
from emu.libc.table import export, register
from emu.libc.wide import WCHAR, Partial, encode_wide, multibyte, read_wide, wcscmp, wcslen

if TYPE_CHECKING:
    from emu.libc.library import Libc

WEOF = 0xFFFF_FFFF

# ---------------------------------------------------------------- what the locale holds

_FORMATS = ("%a %b %e %H:%M:%S %Y", "%m/%d/%y", "%H:%M:%S", "%I:%M:%S %p")
_TIME = (
    *(day[:3] for day in WEEKDAYS),
    *WEEKDAYS,
    *(month[:3] for month in MONTHS),
    *MONTHS,
    "AM",
    "PM",
    *_FORMATS,
)
_WIDE_TIME = 0x20034  #: _NL_WABDAY_1
_CODESET = 14
_ITEMS = {
    0x1_0000: ".",
    0x4_000F: "-",
    0x5_0000: "^[yY]",
    0x5_0001: "^[nN]",
    **{0x2_0000 + number: text for number, text in enumerate(_TIME)},
}


class Texts:
    """Texts that are already in guest memory."""

    def __init__(self, libc: Libc) -> None:
        self.addresses: dict[bytes, int] = {}

    def address(self, libc: Libc, text: bytes) -> int:
        if text not in self.addresses:
            self.addresses[text] = libc.allocate(len(text))
            libc.memory.write(self.addresses[text], text)
        return self.addresses[text]


@export("char *nl_langinfo(int item)")
def nl_langinfo(libc: Libc, item: int) -> int:
    """An item's text; the empty string for an item that is unknown or has none."""
    return _item(libc, item, codec(libc))


def _item(libc: Libc, item: int, encoding: str) -> int:
    if item == _CODESET:
        text = b"UTF-8\0" if encoding == "utf-8" else b"ANSI_X3.4-1968\0"
    elif _WIDE_TIME <= item < _WIDE_TIME + len(_TIME):
        text = f"{_TIME[item - _WIDE_TIME]}\0".encode("utf-32-le")
    else:
        text = f"{_ITEMS.get(item, '')}\0".encode()
    return libc.state(Texts).address(libc, text)


@export("char *nl_langinfo_l(int item, void *locale)", alias=("__nl_langinfo_l",))
def nl_langinfo_l(libc: Libc, item: int, locale: int) -> int:
    return _item(libc, item, encoding_of(libc, locale) or codec(libc))


@export("char *ngettext(const char *one, const char *many, unsigned long count)")
def ngettext(libc: Libc, one: int, many: int, count: int) -> int:
    return one if count == 1 else many


@export("char *dngettext(const char *domain, const char *one, const char *many, unsigned long count)")
def dngettext(libc: Libc, domain: int, one: int, many: int, count: int) -> int:
    return ngettext(libc, one, many, count)


@export(
    "char *dcngettext(const char *domain, const char *one, const char *many, unsigned long count, int category)"
)
def dcngettext(libc: Libc, domain: int, one: int, many: int, count: int, category: int) -> int:
    return ngettext(libc, one, many, count)


@export("char *bind_textdomain_codeset(const char *domain, const char *codeset)")
def bind_textdomain_codeset(libc: Libc, domain: int, codeset: int) -> int:
    return codeset


# ---------------------------------------------------------------- comparing, converting


@export("int strcoll_l(const char *a, const char *b, void *locale)", alias=("__strcoll_l",))
def strcoll_l(libc: Libc, a: int, b: int, locale: int) -> int:
    return strcmp(libc, a, b)


@export("size_t strxfrm_l(char *dest, const char *src, size_t n, void *locale)", alias=("__strxfrm_l",))
def strxfrm_l(libc: Libc, dest: int, src: int, n: int, locale: int) -> int:
    return strxfrm(libc, dest, src, n)


@export("int wcscoll_l(const wchar_t *a, const wchar_t *b, void *locale)", alias=("__wcscoll_l",))
def wcscoll_l(libc: Libc, a: int, b: int, locale: int) -> int:
    return wcscmp(libc, a, b)


@export("size_t wcsxfrm(wchar_t *dest, const wchar_t *src, size_t n)")
def wcsxfrm(libc: Libc, dest: int, src: int, n: int) -> int:
    units = read_wide(libc, src)
    if len(units) < n:
        _write_wide(libc, dest, [*units, 0])
    return len(units)


@export("size_t wcsxfrm_l(wchar_t *dest, const wchar_t *src, size_t n, void *locale)", alias=("__wcsxfrm_l",))
def wcsxfrm_l(libc: Libc, dest: int, src: int, n: int, locale: int) -> int:
    return wcsxfrm(libc, dest, src, n)


@export(
    "size_t strftime_l(char *dest, size_t size, const char *format, const void *fields, void *locale)",
    alias=("__strftime_l",),
)
def strftime_l(libc: Libc, dest: int, size: int, template: int, fields: int, locale: int) -> int:
    return strftime(libc, dest, size, template, fields)


_LONGEST_FORMAT = 1 << 16


def _wide_text(units: list[int]) -> str:
    return "".join(chr(unit) if unit < 0x11_0000 else "\ufffd" for unit in units)


@export("size_t wcsftime(wchar_t *dest, size_t size, const wchar_t *format, const void *fields)")
def wcsftime(libc: Libc, dest: int, size: int, template: int, fields: int) -> int:
    given = _wide_text(read_wide(libc, template, _LONGEST_FORMAT))
    text = strftime_text(given, read_tm(libc, fields), place_of(libc, fields))
    if len(text) >= size:
        return 0
    _write_wide(libc, dest, [*map(ord, text), 0])
    return len(text)


@export(
    "size_t wcsftime_l(wchar_t *dest, size_t size, const wchar_t *format, const void *fields, void *locale)",
    alias=("__wcsftime_l",),
)
def wcsftime_l(libc: Libc, dest: int, size: int, template: int, fields: int, locale: int) -> int:
    return wcsftime(libc, dest, size, template, fields)


# ---------------------------------------------------------------- wide characters


@export("int towlower_l(unsigned c, void *locale)", alias=("__towlower_l", "tolower_l", "__tolower_l"))
def towlower_l(libc: Libc, c: int, locale: int) -> int:
    return tolower(libc, c)


@export("int towupper_l(unsigned c, void *locale)", alias=("__towupper_l", "toupper_l", "__toupper_l"))
def towupper_l(libc: Libc, c: int, locale: int) -> int:
    return toupper(libc, c)


@export("unsigned long wctype(const char *name)")
def wctype(libc: Libc, name: int) -> int:
    """The number of a character class, from 1; 0 for an unknown name."""
    found = CLASSES.get(libc.bounded_string(name, 16).decode("latin-1"))
    return 0 if found is None else found[1] + 1


@export("unsigned long wctype_l(const char *name, void *locale)", alias=("__wctype_l",))
def wctype_l(libc: Libc, name: int, locale: int) -> int:
    return wctype(libc, name)


_CASE = "const char *a, const char *b"
for _spelled in ("strcasecmp_l", "__strcasecmp_l"):
    register(_spelled, f"int {_spelled}({_CASE}, void *locale)", lambda libc, a, b, _: strcasecmp(libc, a, b))
for _spelled in ("strncasecmp_l", "__strncasecmp_l"):
    register(
        _spelled,
        f"int {_spelled}({_CASE}, size_t n, void *locale)",
        lambda libc, a, b, n, _: strncasecmp(libc, a, b, n),
    )


@export("int iswctype(unsigned c, unsigned long type)")
def iswctype(libc: Libc, c: int, type_: int) -> int:
    return int(c < 128 and any(c in members for members, bit in CLASSES.values() if bit + 1 == type_))


@export("int iswctype_l(unsigned c, unsigned long type, void *locale)", alias=("__iswctype_l",))
def iswctype_l(libc: Libc, c: int, type_: int, locale: int) -> int:
    return iswctype(libc, c, type_)


#: The mappings of wctrans, by the number that stands for each.
_MAPPINGS = {b"tolower": 1, b"toupper": 2}


@export("unsigned long wctrans(const char *name)")
def wctrans(libc: Libc, name: int) -> int:
    """The number of a mapping; 0 with EINVAL for an unknown name."""
    return _MAPPINGS.get(libc.bounded_string(name, 16)) or libc.fail(Errno.EINVAL, 0)


@export("unsigned towctrans(unsigned c, unsigned long mapping)")
def towctrans(libc: Libc, c: int, mapping: int) -> int:
    return tolower(libc, c) if mapping == 1 else toupper(libc, c) if mapping == 2 else c


@export("unsigned long wctrans_l(const char *name, void *locale)", alias=("__wctrans_l",))
def wctrans_l(libc: Libc, name: int, locale: int) -> int:
    return wctrans(libc, name)


@export("unsigned towctrans_l(unsigned c, unsigned long mapping, void *locale)", alias=("__towctrans_l",))
def towctrans_l(libc: Libc, c: int, mapping: int, locale: int) -> int:
    return towctrans(libc, c, mapping)


@export("unsigned btowc(int c)")
def btowc(libc: Libc, c: int) -> int:
    return c if 0 <= c < 128 else WEOF


@export("int wctob(unsigned c)")
def wctob(libc: Libc, c: int) -> int:
    return c if c < 128 else EOF


def _write_wide(libc: Libc, address: int, units: list[int]) -> None:
    libc.memory.write(address, b"".join(unit.to_bytes(WCHAR, "little") for unit in units))


@export("size_t mbsnrtowcs(wchar_t *dest, const char **src, size_t bytes, size_t n, void *state)")
def mbsnrtowcs(libc: Libc, dest: int, src: int, count: int, n: int, state: int) -> int:
    """A character cut off by `count` is continued by the next call, from the state."""
    place = Partial.at(libc, state, "mbsnrtowcs")
    start, before = libc.pointer(src), Partial.get(libc, place)
    given = multibyte(libc, start, count)
    data, ended = before + given, len(given) < count
    done = written = 0
    failed = cut = False
    while done < len(data) and (not dest or written < n):
        size = next((k for k in range(1, 5) if _is_character(libc, data[done : done + k])), 0)
        if not size:
            failed = ended or len(data) - done >= 4 or not _is_prefix(libc, data[done : done + 4])
            cut = not failed
            break
        if dest:
            _write_wide(libc, dest + WCHAR * written, [ord(data[done : done + size].decode())])
        done, written = done + size, written + 1
    if not dest:
        return libc.fail(Errno.EILSEQ, libc.arch.address_mask) if failed else written
    if not failed:
        Partial.put(libc, place, data[done:] if cut else b"")
    at_end = not failed and ended and done == len(data) and written < n
    if at_end:
        _write_wide(libc, dest + WCHAR * written, [0])
    consumed = len(given) if cut else max(done - len(before), 0)
    libc.set_pointer(src, 0 if at_end else start + consumed)
    return libc.fail(Errno.EILSEQ, libc.arch.address_mask) if failed else written


def _is_character(libc: Libc, data: bytes) -> bool:
    try:
        return len(data.decode(codec(libc))) == 1
    except UnicodeDecodeError:
        return False


def _is_prefix(libc: Libc, data: bytes) -> bool:
    try:
        data.decode(codec(libc))
    except UnicodeDecodeError as error:
        return "unexpected end" in error.reason
    return True


@export("size_t mbsrtowcs(wchar_t *dest, const char **src, size_t n, void *state)")
def mbsrtowcs(libc: Libc, dest: int, src: int, n: int, state: int) -> int:
    return mbsnrtowcs(libc, dest, src, libc.memory.length(libc.pointer(src)) + 1, n, state)


@export("size_t wcsnrtombs(char *dest, const wchar_t **src, size_t units, size_t n, void *state)")
def wcsnrtombs(libc: Libc, dest: int, src: int, count: int, n: int, state: int) -> int:
    start = libc.pointer(src)
    units = read_wide(libc, start, count)
    ended = len(units) < count
    text = bytearray()
    for done, unit in enumerate(units):
        character = encoded(libc, [unit])
        if character is None:
            if dest:
                libc.set_pointer(src, start + WCHAR * done)
            return libc.fail(Errno.EILSEQ, libc.arch.address_mask)
        if dest and len(text) + len(character) > n:
            libc.memory.write(dest, text)
            libc.set_pointer(src, start + WCHAR * done)
            return len(text)
        text += character
    if dest:
        whole = ended and len(text) < n
        libc.memory.write(dest, bytes(text) + b"\0" if whole else text)
        libc.set_pointer(src, 0 if whole else start + WCHAR * len(units))
    return len(text)


@export("size_t wcsrtombs(char *dest, const wchar_t **src, size_t n, void *state)")
def wcsrtombs(libc: Libc, dest: int, src: int, n: int, state: int) -> int:
    return wcsnrtombs(libc, dest, src, wcslen(libc, libc.pointer(src)) + 1, n, state)


@export("unsigned putwc(int c, void *stream)", alias=("fputwc", "putwc_unlocked", "fputwc_unlocked"))
def putwc(libc: Libc, c: int, stream: int) -> int:
    text = encode_wide([c & 0xFFFF_FFFF])
    if text is None:
        return illegal_in(libc, stream, WEOF)
    return WEOF if write_characters(libc, stream, text.decode()) < 0 else c & 0xFFFF_FFFF


@export("unsigned putwchar(int c)", alias=("putwchar_unlocked",))
def putwchar(libc: Libc, c: int) -> int:
    return putwc(libc, c, standard_stream(libc, 1))


@export("unsigned getwchar(void)", alias=("getwchar_unlocked",))
def getwchar(libc: Libc) -> int:
    return getwc(libc, standard_stream(libc, 0))


@export("unsigned getwc(void *stream)", alias=("fgetwc", "getwc_unlocked", "fgetwc_unlocked"))
def getwc(libc: Libc, stream: int) -> int:
    data = b""
    while len(data) < 4 and (byte := fgetc(libc, stream)) != EOF:
        data += bytes([byte])
        if _is_character(libc, data):
            return ord(data.decode())
        if not _is_prefix(libc, data):
            break
    return illegal_in(libc, stream, WEOF) if data else WEOF


@export("unsigned ungetwc(unsigned c, void *stream)")
def ungetwc(libc: Libc, c: int, stream: int) -> int:
    text = None if c == WEOF else encoded(libc, [c])
    if text is None:
        return WEOF
    for byte in reversed(text):
        ungetc(libc, byte, stream)
    return c

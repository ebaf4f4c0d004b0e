"""setlocale, locale objects and the current encoding: the locales are "C" (also as "POSIX") and "C.UTF-8".

Layout of struct __locale_struct and the numbers of categories: glibc, bits/types/__locale_t.h and bits/locale.h.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.libc.encoding import CATEGORIES, LC_ALL, LC_CTYPE, Locales, codec, codec_of
from emu.libc.environment import variable
from emu.libc.errno import Errno
from emu.libc.table import export, export_data
from emu.libc.texts import constant_text

if TYPE_CHECKING:
    from emu.libc.library import Libc

_GLOBAL_LOCALE = -1  #: LC_GLOBAL_LOCALE
_LONGEST_NAME = 512  #: bytes; the longest of all categories has 245
_CATEGORY_NAMES = (
    b"LC_CTYPE", b"LC_NUMERIC", b"LC_TIME", b"LC_COLLATE", b"LC_MONETARY", b"LC_MESSAGES", b"LC_ALL", b"LC_PAPER",
    b"LC_NAME", b"LC_ADDRESS", b"LC_TELEPHONE", b"LC_MEASUREMENT", b"LC_IDENTIFICATION",
)  # fmt: skip
_SINGLE = tuple(number for number in range(CATEGORIES) if number != LC_ALL)
_ALL_MASK = sum(1 << number for number in _SINGLE)  #: LC_ALL_MASK
#: The largest number of bytes of a character: that of glibc's UTF-8, which counts sequences beyond Unicode.
_LONGEST_CHARACTER = {"ascii": 1, "utf-8": 6}


class _Used:
    """The locale object that uselocale has set."""

    def __init__(self, libc: Libc) -> None:
        self.current = _GLOBAL_LOCALE & libc.arch.address_mask


# ---------------------------------------------------------------- setlocale


def _known(name: bytes) -> bytes | None:
    """The name as setlocale returns it; None for a locale that does not exist."""
    if name in (b"C", b"POSIX"):
        return b"C"
    language, _, encoding = name.partition(b".")
    return name if language == b"C" and encoding.lower().replace(b"-", b"") == b"utf8" else None


def _from_environment(libc: Libc, category: int) -> bytes:
    """The name for a category of the locale "": that of LC_ALL, of the category, of LANG, or "C" (POSIX 8.2)."""
    found = (variable(libc, name) for name in (b"LC_ALL", _CATEGORY_NAMES[category], b"LANG"))
    return next(filter(None, found), "C").encode("latin-1")


def _wanted(libc: Libc, category: int, name: bytes) -> dict[int, bytes]:
    """The name asked for in each category."""
    categories = _SINGLE if category == LC_ALL else (category,)
    if category == LC_ALL and b";" in name:
        parts = dict(part.partition(b"=")[::2] for part in name.split(b";"))
        return {each: parts.get(_CATEGORY_NAMES[each], b"") or b"?" for each in categories}
    return {each: name or _from_environment(libc, each) for each in categories}


def _name_of(locales: Locales, category: int) -> bytes:
    if category != LC_ALL:
        return locales.names[category]
    names = {each: locales.names[each] for each in _SINGLE}
    if len(set(names.values())) == 1:
        return locales.names[LC_CTYPE]
    return b";".join(_CATEGORY_NAMES[each] + b"=" + name for each, name in names.items())


@export("char *setlocale(int category, const char *name)")
def setlocale(libc: Libc, category: int, name: int) -> int:
    """Unknown names are ENOENT, as on a system without locales. A name that was returned stays as it is: programs
    pass it to a later call without having copied it, which glibc permits for the names of most locales.
    """
    if not 0 <= category < CATEGORIES:
        return libc.fail(Errno.EINVAL, 0)
    locales = libc.state(Locales)
    if name:
        wanted = _wanted(libc, category, libc.bounded_string(name, _LONGEST_NAME))
        known = {each: _known(text) for each, text in wanted.items()}
        if None in known.values():
            return libc.fail(Errno.ENOENT, 0)
        for each, text in known.items():
            locales.names[each] = text or b"C"
    return constant_text(libc, _name_of(locales, category))


@export("size_t __ctype_get_mb_cur_max(void)")
def mb_cur_max(libc: Libc) -> int:
    return _LONGEST_CHARACTER[codec(libc)]


# ---------------------------------------------------------------- locale objects


@export_data("__relink_locale_name")
def locale_name(libc: Libc) -> bytes:
    return b"C\0"


def _object(libc: Libc, name: str) -> bytes:
    """struct __locale_struct: data of 13 categories (null pointers), three ctype tables, 13 names."""
    tables = ("__ctype_b", "__ctype_tolower", "__ctype_toupper")
    places = [libc.pointer(libc.data_symbol(each) or 0) for each in tables]
    words = [*[0] * CATEGORIES, *places, *[libc.data_symbol(name) or 0] * CATEGORIES]
    return b"".join(word.to_bytes(libc.word, "little") for word in words)


@export_data("__relink_c_locale", "_nl_C_locobj")
def c_locale(libc: Libc) -> bytes:
    return _object(libc, "__relink_locale_name")


@export_data("__relink_utf8_locale_name")
def utf8_locale_name(libc: Libc) -> bytes:
    return b"C.UTF-8\0"


@export_data("__relink_utf8_locale")
def utf8_locale(libc: Libc) -> bytes:
    return _object(libc, "__relink_utf8_locale_name")


def _locale_of(libc: Libc, encoding: str) -> int:
    return libc.data_symbol("__relink_c_locale" if encoding == "ascii" else "__relink_utf8_locale") or 0


def encoding_of(libc: Libc, locale: int) -> str | None:
    """The encoding of a locale object; None for LC_GLOBAL_LOCALE."""
    if locale == _GLOBAL_LOCALE & libc.arch.address_mask:
        return None
    return "utf-8" if locale == libc.data_symbol("__relink_utf8_locale") else "ascii"


@export("void *newlocale(int mask, const char *name, void *base)", alias=("__newlocale",))
def newlocale(libc: Libc, mask: int, name: int, base: int) -> int:
    """One of two objects, by LC_CTYPE: in other categories the locales are alike. `1 << LC_ALL`, which libstdc++
    passes, stands for all categories, as in glibc.
    """
    mask = _ALL_MASK if mask == 1 << LC_ALL else mask
    if not name or mask & ~_ALL_MASK:
        return libc.fail(Errno.EINVAL, 0)
    text = libc.bounded_string(name, _LONGEST_NAME)
    wanted = _wanted(libc, LC_ALL, text)
    known = {each: _known(wanted[each]) for each in _SINGLE if mask >> each & 1}
    if None in known.values():
        return libc.fail(Errno.ENOENT, 0)
    before = encoding_of(libc, base) if base else "ascii"
    return _locale_of(libc, codec_of(known[LC_CTYPE] or b"C") if LC_CTYPE in known else before or "ascii")


@export("void *duplocale(void *locale)", alias=("__duplocale",))
def duplocale(libc: Libc, locale: int) -> int:
    return _locale_of(libc, encoding_of(libc, locale) or codec_of(libc.state(Locales).names[LC_CTYPE]))


@export("void freelocale(void *locale)", alias=("__freelocale",))
def freelocale(libc: Libc, locale: int) -> None:
    """Does nothing: the objects are never freed."""


@export("void *uselocale(void *locale)", alias=("__uselocale",))
def uselocale(libc: Libc, locale: int) -> int:
    state = libc.state(_Used)
    before = state.current
    if locale:
        state.current = locale
        libc.state(Locales).used = encoding_of(libc, locale)
    return before

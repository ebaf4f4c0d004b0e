"""The __*_chk functions of _FORTIFY_SOURCE that few libraries need, such as those for wide characters.

They are apart from `emu.libc.fortify` for what they import. Sizes of objects of wchar_t are in characters (glibc,
wcsmbs/bits/wchar2.h).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.libc import locale, wide
from emu.libc.encoding import encoded
from emu.libc.formatted_wide import fgetws
from emu.libc.fortify import Need, checking, size_last
from emu.libc.locale_names import mb_cur_max
from emu.libc.memory import overflow_abort
from emu.libc.table import Implementation, export, register
from emu.libc.terminals import ttyname_r
from emu.libc.unavailable import getdomainname
from emu.libc.users import getgroups, getlogin_r
from emu.libc.wide import WCHAR

if TYPE_CHECKING:
    from emu.libc.library import Libc


def _wcpcpy(libc: Libc, dest: int, src: int) -> int:
    return wide.wcscpy(libc, dest, src) + WCHAR * wide.wcslen(libc, src)


def _wcpncpy(libc: Libc, dest: int, src: int, n: int) -> int:
    length = wide.wcsnlen(libc, src, n)
    return wide.wcsncpy(libc, dest, src, n) + WCHAR * length


def _wcsncat(libc: Libc, dest: int, src: int, n: int) -> int:
    end, length = dest + WCHAR * wide.wcslen(libc, dest), wide.wcsnlen(libc, src, n)
    wide.wmemcpy(libc, end, src, length)
    wide.write_wide(libc, end + WCHAR * length, [0])
    return dest


def _wmempcpy(libc: Libc, dest: int, src: int, n: int) -> int:
    return wide.wmemcpy(libc, dest, src, n) + WCHAR * n


def _whole(libc: Libc, dest: int, src: int) -> int:
    return wide.wcslen(libc, src) + 1


def _appended(libc: Libc, dest: int, src: int, n: int | None = None) -> int:
    added = wide.wcslen(libc, src) if n is None else wide.wcsnlen(libc, src, n)
    return wide.wcslen(libc, dest) + added + 1


def _third(libc: Libc, dest: int, src: int, n: int, *_: int) -> int:
    return n


def _fourth(libc: Libc, dest: int, src: int, count: int, n: int, *_: int) -> int:
    return n


def _character(libc: Libc, dest: int, c: int, state: int) -> int:
    return len(encoded(libc, [c & 0xFFFF_FFFF]) or b"")


_GROUP = 4  #: bytes of a gid_t
_TEXT = "wchar_t *dest, const wchar_t *src"
_TO_WIDE, _TO_BYTES = "wchar_t *dest, const char **src", "char *dest, const wchar_t **src"
#: name -> (result, parameters, implementation, what is needed); the object's size follows as one more size_t.
_CHECKED: dict[str, tuple[str, str, Implementation, Need]] = {
    "wcscpy": ("wchar_t *", _TEXT, wide.wcscpy, _whole),
    "wcpcpy": ("wchar_t *", _TEXT, _wcpcpy, _whole),
    "wcpncpy": ("wchar_t *", f"{_TEXT}, size_t n", _wcpncpy, _third),
    "wcscat": ("wchar_t *", _TEXT, wide.wcscat, _appended),
    "wcsncat": ("wchar_t *", f"{_TEXT}, size_t n", _wcsncat, _appended),
    "wmempcpy": ("wchar_t *", f"{_TEXT}, size_t n", _wmempcpy, _third),
    "mbsrtowcs": ("size_t ", f"{_TO_WIDE}, size_t n, void *state", locale.mbsrtowcs, _third),
    "mbsnrtowcs": ("size_t ", f"{_TO_WIDE}, size_t bytes, size_t n, void *state", locale.mbsnrtowcs, _fourth),
    "wcsrtombs": ("size_t ", f"{_TO_BYTES}, size_t n, void *state", locale.wcsrtombs, _third),
    "wcsnrtombs": ("size_t ", f"{_TO_BYTES}, size_t units, size_t n, void *state", locale.wcsnrtombs, _fourth),
    "wctomb": ("int ", "char *dest, int c", wide.wctomb, lambda libc, *_: mb_cur_max(libc)),
    "wcrtomb": ("size_t ", "char *dest, int c, void *state", wide.wcrtomb, _character),
    "getdomainname": ("int ", "char *buffer, size_t size", getdomainname, size_last),
    "getlogin_r": ("int ", "char *buffer, size_t size", getlogin_r, size_last),
    "ttyname_r": ("int ", "int number, char *buffer, size_t size", ttyname_r, size_last),
    "ptsname_r": ("int ", "int number, char *buffer, size_t size", ttyname_r, size_last),
    "getgroups": ("int ", "int size, unsigned *groups", getgroups, lambda libc, size, _: _GROUP * max(size, 0)),
}
for _name, (_result, _parameters, _call, _need) in _CHECKED.items():
    _prototype = f"{_result}__{_name}_chk({_parameters}, size_t room)"
    register(f"__{_name}_chk", _prototype, checking(_name, _call, _need), family="fortify_rare")


@export("wchar_t *__fgetws_chk(wchar_t *text, size_t room, int n, void *stream)", alias=("__fgetws_unlocked_chk",))
def fgetws_chk(libc: Libc, text: int, room: int, n: int, stream: int) -> int:
    if n > room:
        raise overflow_abort(n, room, "fgetws")
    return fgetws(libc, text, n, stream)

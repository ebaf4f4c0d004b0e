"""The __*_chk functions of _FORTIFY_SOURCE: a check, then the plain function.

A row has the function and the number of bytes it writes; the object's size is the last argument, (size_t)-1 if the
compiler does not know it. The checked functions of the printf family, of streams and of `read` are in the files of
the plain functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from emu.libc import memory, strings, wide
from emu.libc.at_calls import readlinkat
from emu.libc.configuration import confstr
from emu.libc.files import pread
from emu.libc.filesystem import PATH_MAX
from emu.libc.memory import overflow_abort
from emu.libc.paths import getcwd, readlink, realpath
from emu.libc.table import Implementation, export, register
from emu.libc.unavailable import gethostname

if TYPE_CHECKING:
    from emu.libc.library import Libc

Need: TypeAlias = "Callable[..., int]"


def _count(libc: Libc, dest: int, source: int, n: int) -> int:
    return n


def _whole(libc: Libc, dest: int, src: int) -> int:
    return len(libc.string(src)) + 1


def _appended(libc: Libc, dest: int, src: int, n: int | None = None) -> int:
    added = libc.string(src) if n is None else libc.bounded_string(src, n)
    return len(libc.string(dest)) + len(added) + 1


def _size_third(libc: Libc, dest: int, src: int, size: int) -> int:
    return size


def size_last(libc: Libc, *args: int) -> int:
    """The last argument, as the number of bytes that are written."""
    return args[-1]


def _wide_count(libc: Libc, dest: int, src: int, n: int) -> int:
    return n


_COPY = "void *dest, const void *src, size_t n"
_TEXT = "char *dest, const char *src"
#: name -> (result, parameters, implementation, bytes needed); the object's size follows as one more size_t.
_CHECKED: dict[str, tuple[str, str, Implementation, Need]] = {
    "memcpy": ("void *", _COPY, memory.memcpy, _count),
    "memmove": ("void *", _COPY, memory.memmove, _count),
    "mempcpy": ("void *", _COPY, memory.mempcpy, _count),
    "memset": ("void *", "void *dest, int value, size_t n", memory.memset, _count),
    "explicit_bzero": ("void ", "void *dest, size_t n", memory.bzero, lambda libc, dest, n: n),
    "strcpy": ("char *", _TEXT, strings.strcpy, _whole),
    "stpcpy": ("char *", _TEXT, strings.stpcpy, _whole),
    "strcat": ("char *", _TEXT, strings.strcat, _appended),
    "strncpy": ("char *", f"{_TEXT}, size_t n", strings.strncpy, _count),
    "stpncpy": ("char *", f"{_TEXT}, size_t n", strings.stpncpy, _count),
    "strncat": ("char *", f"{_TEXT}, size_t n", strings.strncat, _appended),
    "strlcpy": ("size_t ", f"{_TEXT}, size_t size", strings.strlcpy, _size_third),
    "strlcat": ("size_t ", f"{_TEXT}, size_t size", strings.strlcat, _size_third),
    "wmemcpy": ("int *", "int *dest, const int *src, size_t n", wide.wmemcpy, _wide_count),
    "wcsncpy": ("int *", "int *dest, const int *src, size_t n", wide.wcsncpy, _wide_count),
    "mbstowcs": ("size_t ", "int *dest, const char *src, size_t n", wide.mbstowcs, _wide_count),
    "wcstombs": ("size_t ", "char *dest, const int *src, size_t n", wide.wcstombs, _wide_count),
    "wmemmove": ("int *", "int *dest, const int *src, size_t n", wide.wmemcpy, _wide_count),
    "wmemset": ("int *", "int *dest, int value, size_t n", wide.wmemset, _wide_count),
    "readlink": ("ssize_t ", "const char *path, char *buffer, size_t size", readlink, _size_third),
    "readlinkat": ("ssize_t ", "int folder, const char *path, char *buffer, size_t size", readlinkat, size_last),
    "getcwd": ("char *", "char *buffer, size_t size", getcwd, size_last),
    "gethostname": ("int ", "char *buffer, size_t size", gethostname, size_last),
    "confstr": ("size_t ", "int name, char *buffer, size_t size", confstr, size_last),
}


def checking(name: str, call: Implementation, need: Need) -> Implementation:
    """`call` with the object's size as one more argument; GuestAbort where it is less than what `need` says."""

    def checked(libc: Libc, *args: int) -> int | float | None:
        *plain, room = args
        needed = need(libc, *plain)
        if needed > room:
            raise overflow_abort(needed, room, name)
        return call(libc, *plain)

    return checked


for _name, (_result, _parameters, _call, _need) in _CHECKED.items():
    register(
        f"__{_name}_chk", f"{_result}__{_name}_chk({_parameters}, size_t room)", checking(_name, _call, _need)
    )


@export("char *__realpath_chk(const char *path, char *resolved, size_t room)")
def realpath_chk(libc: Libc, path: int, resolved: int, room: int) -> int:
    if resolved and room < PATH_MAX:
        raise overflow_abort(PATH_MAX, room, "realpath")
    return realpath(libc, path, resolved)


for _suffix in ("", "64"):

    def _pread_chk(libc: Libc, number: int, buffer: int, count: int, at: int, room: int) -> int:
        if count > room:
            raise overflow_abort(count, room, "pread")
        return pread(libc, number, buffer, count, at)

    register(
        f"__pread{_suffix}_chk",
        f"ssize_t __pread{_suffix}_chk(int number, void *buffer, size_t count, off{_suffix}_t at, size_t room)",
        _pread_chk,
    )


@export("long __fdelt_chk(long number)")
def fdelt_chk(libc: Libc, number: int) -> int:
    if not 0 <= number < 1024:
        raise overflow_abort(number, 1024, "FD_SET")
    return number // libc.arch.bits

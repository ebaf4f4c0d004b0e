"""The environment and the variables of getopt; `environ` is an array of strings in guest memory."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from emu.errors import GuestAbort
from emu.libc.errno import Errno
from emu.libc.table import export, export_data
from relink.memory.address_space import PAGE

if TYPE_CHECKING:
    from emu.libc.library import Libc


class Arrays:
    """The array that this library allocated for `environ`; it is reused while it has room."""

    def __init__(self, libc: Libc) -> None:
        self.address = self.room = 0


def _strings(libc: Libc) -> list[int]:
    """The addresses of the NAME=value strings currently in the guest's `environ`."""
    variable = libc.data_symbol("environ")
    assert variable is not None
    array, word = libc.pointer(variable), libc.word
    found: list[int] = []
    while array:
        # Those on one page, which can all be read if one can.
        count = min(_AT_ONCE, (PAGE - array % PAGE) // word) or 1
        words = struct.unpack(f"<{count}{'Q' if word == 8 else 'I'}", libc.memory.read(array, count * word))
        found += words[: words.index(0)] if 0 in words else words
        if len(found) > _MOST_VARIABLES:
            raise GuestAbort(f"environ has more than {_MOST_VARIABLES} strings")
        array = 0 if 0 in words else array + count * word
    return found


def _array(libc: Libc, entries: list[int]) -> int:
    arrays = libc.state(Arrays)
    if len(entries) >= arrays.room:
        arrays.room = 2 * (len(entries) + 8)
        arrays.address = libc.allocate(arrays.room * libc.word)
    libc.memory.write(arrays.address, b"".join(entry.to_bytes(libc.word, "little") for entry in [*entries, 0]))
    return arrays.address


def _set_strings(libc: Libc, entries: list[int]) -> None:
    libc.set_pointer(libc.data_symbol("environ") or 0, _array(libc, entries))


@export_data("environ", "__environ", "_environ")
def environ(libc: Libc) -> bytes:
    entries = []
    for name, value in libc.environment.items():
        text = f"{name}={value}".encode("utf-8", "surrogateescape")
        entries.append(libc.allocate(len(text) + 1))
        libc.put_string(entries[-1], text)
    return _array(libc, entries).to_bytes(libc.word, "little")


def _find(libc: Libc, entries: list[int], name: bytes) -> int | None:
    for index, entry in enumerate(entries):
        if _begins(libc, entry, name + b"="):
            return index
    return None


def _begins(libc: Libc, entry: int, prefix: bytes) -> bool:
    """Whether a string begins with `prefix`; pages after its end are not accessed."""
    if entry % PAGE + len(prefix) <= PAGE:
        return libc.memory.read(entry, len(prefix)) == prefix
    return libc.bounded_string(entry, len(prefix)) == prefix


_MOST_VARIABLES = 1 << 16
_AT_ONCE = 32  #: pointers read at once
_LONGEST_NAME = 1 << 12  #: limit for the length of a variable's name


@export("char *getenv(const char *name)", alias=("secure_getenv", "__secure_getenv"))
def getenv(libc: Libc, name: int) -> int:
    entries = _strings(libc)
    wanted = libc.bounded_string(name, _LONGEST_NAME)
    index = _find(libc, entries, wanted)
    return 0 if index is None else entries[index] + len(wanted) + 1


def variable(libc: Libc, name: bytes) -> str | None:
    """The value of a variable of the guest's environment, or None."""
    entries = _strings(libc)
    index = _find(libc, entries, name)
    if index is None:
        return None
    return libc.bounded_string(entries[index] + len(name) + 1, _LONGEST_NAME).decode("latin-1")


def _put(libc: Libc, name: bytes, entry: int) -> None:
    entries = _strings(libc)
    index = _find(libc, entries, name)
    if index is None:
        entries.append(entry)
    else:
        entries[index] = entry
    _set_strings(libc, entries)


@export("int setenv(const char *name, const char *value, int overwrite)")
def setenv(libc: Libc, name: int, value: int, overwrite: int) -> int:
    key = libc.bounded_string(name, _LONGEST_NAME) if name else b""
    if not key or b"=" in key or len(key) == _LONGEST_NAME:
        return libc.fail(Errno.EINVAL)
    if overwrite or not getenv(libc, name):
        length = libc.memory.length(value)
        entry = libc.heap.malloc(len(key) + 1 + length + 1)
        if not entry:
            return libc.fail(Errno.ENOMEM)
        libc.memory.write(entry, key + b"=")
        libc.memory.copy(entry + len(key) + 1, value, length + 1)
        _put(libc, key, entry)
    return 0


@export("int putenv(char *entry)")
def putenv(libc: Libc, entry: int) -> int:
    name, equals, _ = libc.bounded_string(entry, _LONGEST_NAME).partition(b"=")
    if equals:
        _put(libc, name, entry)
        return 0
    return unsetenv(libc, entry)


@export("int unsetenv(const char *name)")
def unsetenv(libc: Libc, name: int) -> int:
    key = libc.bounded_string(name, _LONGEST_NAME)
    if not key or b"=" in key:
        return libc.fail(Errno.EINVAL)
    prefix = key + b"="
    _set_strings(libc, [entry for entry in _strings(libc) if not _begins(libc, entry, prefix)])
    return 0


@export("int clearenv(void)")
def clearenv(libc: Libc) -> int:
    _set_strings(libc, [])
    return 0


# ---------------------------------------------------------------- other variables


def _text_variable(libc: Libc, text: bytes) -> bytes:
    address = libc.allocate(len(text) + 1)
    libc.put_string(address, text)
    return address.to_bytes(libc.word, "little")


def called_as(libc: Libc) -> bytes:
    """The program's name: argv[0]."""
    called = libc.program.arguments[0] if libc.program and libc.program.arguments else "relink-emu"
    return called.encode("utf-8", "surrogateescape")


@export_data("program_invocation_name", "__progname_full")
def program_name(libc: Libc) -> bytes:
    return _text_variable(libc, called_as(libc))


@export_data("program_invocation_short_name", "__progname")
def program_short_name(libc: Libc) -> bytes:
    return _text_variable(libc, called_as(libc).rpartition(b"/")[2])


@export_data("__libc_single_threaded")
def single_threaded(libc: Libc) -> bytes:
    return b"\1"


@export_data("__libc_stack_end")
def stack_end(libc: Libc) -> bytes:
    """Of ld.so, where it is argc's address: for garbage collectors, which read the stack up to here."""
    end = max((region.end for region in libc.mappings.regions if region.name == "[stack]"), default=0)
    return end.to_bytes(libc.word, "little")


@export_data("optarg")
def optarg(libc: Libc) -> bytes:
    return bytes(libc.word)


@export_data("optind")
def optind(libc: Libc) -> bytes:
    return (1).to_bytes(4, "little")


@export_data("opterr")
def opterr(libc: Libc) -> bytes:
    return (1).to_bytes(4, "little")


@export_data("optopt")
def optopt(libc: Libc) -> bytes:
    return ord("?").to_bytes(4, "little")


@export_data("signgam", "__signgam")
def signgam(libc: Libc) -> bytes:
    return bytes(4)


@export_data("__dso_handle")
def dso_handle(libc: Libc) -> bytes:
    return bytes(libc.word)


@export_data("_libc_intl_domainname")
def domain_name(libc: Libc) -> bytes:
    return b"libc\0"


# ---------------------------------------------------------------- the locale's numbers, and translations


@export_data("__relink_lconv")
def lconv(libc: Libc) -> bytes:
    """struct lconv of the C locale: ten strings, then characters that all mean "not available"."""
    point, empty = _text_variable(libc, b"."), _text_variable(libc, b"")
    return point + empty * 9 + b"\x7f" * 16


@export("void *localeconv(void)")
def localeconv(libc: Libc) -> int:
    return libc.data_symbol("__relink_lconv") or 0


@export("char *gettext(const char *text)")
def gettext(libc: Libc, text: int) -> int:
    return text


@export("char *dcgettext(const char *domain, const char *text, int category)", alias=("__dcgettext",))
def dcgettext(libc: Libc, domain: int, text: int, category: int) -> int:
    return text


@export("char *dgettext(const char *domain, const char *text)", alias=("bindtextdomain",))
def dgettext(libc: Libc, domain: int, text: int) -> int:
    return text


@export("char *textdomain(const char *domain)")
def textdomain(libc: Libc, domain: int) -> int:
    return domain


@export("void *catopen(const char *name, int flag)")
def catopen(libc: Libc, name: int, flag: int) -> int:
    """There are no catalogues: (nl_catd)-1, with which `catgets` gives the text of the program."""
    return libc.fail(Errno.ENOENT)


@export("char *catgets(void *catalogue, int section, int message, const char *text)")
def catgets(libc: Libc, catalogue: int, section: int, message: int, text: int) -> int:
    return text


@export("int catclose(void *catalogue)")
def catclose(libc: Libc, catalogue: int) -> int:
    return libc.fail(Errno.EBADF)

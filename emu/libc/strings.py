"""str* functions; comparisons are those of the C locale."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.cpu.protocol import Protection
from emu.libc.errno import Errno, error_name, message
from emu.libc.memory import common_length, find_bytes, needle_bytes
from emu.libc.table import export

if TYPE_CHECKING:
    from emu.libc.library import Libc


class TokenState:
    """The position at which strtok continues."""

    def __init__(self, libc: Libc) -> None:
        self.next = 0
        self.messages: dict[int, int] = {}  # strerror's strings, by errno


@export("size_t strlen(const char *s)", alias=("__strlen",))
def strlen(libc: Libc, s: int) -> int:
    return libc.memory.length(s)


@export("size_t strnlen(const char *s, size_t limit)", alias=("__strnlen",))
def strnlen(libc: Libc, s: int, limit: int) -> int:
    found = libc.memory.find(s, 0, limit)
    return limit if found < 0 else found


# ---------------------------------------------------------------- copying


def _copy(libc: Libc, dest: int, src: int, size: int) -> int:
    """Copy `size` bytes and add a NUL; return the address of the NUL."""
    libc.memory.require(dest, size + 1, Protection.W)
    libc.memory.copy(dest, src, size)
    libc.memory.write(dest + size, b"\0")
    return dest + size


@export("char *strcpy(char *dest, const char *src)")
def strcpy(libc: Libc, dest: int, src: int) -> int:
    stpcpy(libc, dest, src)
    return dest


@export("char *stpcpy(char *dest, const char *src)", alias=("__stpcpy",))
def stpcpy(libc: Libc, dest: int, src: int) -> int:
    return _copy(libc, dest, src, strlen(libc, src))


@export("char *strncpy(char *dest, const char *src, size_t n)")
def strncpy(libc: Libc, dest: int, src: int, n: int) -> int:
    stpncpy(libc, dest, src, n)
    return dest


@export("char *stpncpy(char *dest, const char *src, size_t n)", alias=("__stpncpy",))
def stpncpy(libc: Libc, dest: int, src: int, n: int) -> int:
    size = strnlen(libc, src, n)
    libc.memory.require(dest, n, Protection.W)
    libc.memory.copy(dest, src, size)
    libc.memory.fill(dest + size, b"\0", n - size)
    return dest + size


@export("char *strcat(char *dest, const char *src)")
def strcat(libc: Libc, dest: int, src: int) -> int:
    stpcpy(libc, dest + strlen(libc, dest), src)
    return dest


@export("char *strncat(char *dest, const char *src, size_t n)")
def strncat(libc: Libc, dest: int, src: int, n: int) -> int:
    _copy(libc, dest + strlen(libc, dest), src, strnlen(libc, src, n))
    return dest


@export("size_t strlcpy(char *dest, const char *src, size_t size)")
def strlcpy(libc: Libc, dest: int, src: int, size: int) -> int:
    length = strlen(libc, src)
    if size:
        _copy(libc, dest, src, min(length, size - 1))
    return length


@export("size_t strlcat(char *dest, const char *src, size_t size)")
def strlcat(libc: Libc, dest: int, src: int, size: int) -> int:
    used = strnlen(libc, dest, size)
    if used == size:
        return size + strlen(libc, src)
    return used + strlcpy(libc, dest + used, src, size - used)


def _duplicate(libc: Libc, s: int, size: int) -> int:
    address = libc.heap.malloc(size + 1)
    if not address:
        return libc.fail(Errno.ENOMEM, 0)
    _copy(libc, address, s, size)
    return address


@export("char *strdup(const char *s)", alias=("__strdup",))
def strdup(libc: Libc, s: int) -> int:
    return _duplicate(libc, s, strlen(libc, s))


@export("char *strndup(const char *s, size_t limit)", alias=("__strndup",))
def strndup(libc: Libc, s: int, limit: int) -> int:
    return _duplicate(libc, s, strnlen(libc, s, limit))


# ---------------------------------------------------------------- comparing


def _compare(libc: Libc, a: int, b: int, n: int, fold: Callable[[bytes], bytes] | None = None) -> int:
    """The difference of the first bytes that differ, of strings or their first `n` bytes, folded by `fold`."""
    for one, other in libc.memory.pairs(a, b, n):
        if fold is not None:
            one, other = fold(one), fold(other)
        same = common_length(one, other)
        end = one.find(0, 0, same)
        if end >= 0:
            return 0
        if same < len(one):
            return one[same] - other[same]
    return 0


_WHOLE = 1 << 64  #: a limit that no string reaches


@export("int strcmp(const char *a, const char *b)", alias=("strcoll", "__strcoll"))
def strcmp(libc: Libc, a: int, b: int) -> int:
    return _compare(libc, a, b, _WHOLE)


@export("int strncmp(const char *a, const char *b, size_t n)")
def strncmp(libc: Libc, a: int, b: int, n: int) -> int:
    return _compare(libc, a, b, n)


@export("int strcasecmp(const char *a, const char *b)", alias=("__strcasecmp", "stricmp"))
def strcasecmp(libc: Libc, a: int, b: int) -> int:
    return _compare(libc, a, b, _WHOLE, bytes.lower)


@export("int strncasecmp(const char *a, const char *b, size_t n)", alias=("__strncasecmp",))
def strncasecmp(libc: Libc, a: int, b: int, n: int) -> int:
    return _compare(libc, a, b, n, bytes.lower)


_DIGITS = b"0123456789"


@export("int strverscmp(const char *a, const char *b)", alias=("__strverscmp",))
def strverscmp(libc: Libc, a: int, b: int) -> int:
    """glibc's version order: digit sequences compare as numbers, those with leading zeros as fractions."""
    # length of the common prefix; the number of digits at its end, and whether all are 0
    common, shared, only_zeros = 0, 0, True
    for one, other in libc.memory.pairs(a, b, _WHOLE):
        same = common_length(one, other)
        if one.find(0, 0, same) >= 0:
            return 0
        alike = one[:same]
        before = len(alike.rstrip(_DIGITS))
        if before:
            shared, only_zeros = 0, True
        shared += same - before
        only_zeros = only_zeros and not alike[before:].strip(b"0")
        common += same
        if same < len(one):
            break
    digits_a, digits_b = (shared + _span(libc, s + common, _DIGITS) for s in (a, b))
    start_a, start_b = (libc.memory.read(s + common - shared, 1) for s in (a, b))
    if digits_a and digits_b and start_a != b"0" != start_b:
        if digits_a != digits_b:
            return digits_a - digits_b
    elif shared and only_zeros and (digits_a > shared) != (digits_b > shared):
        # One of them continues a fraction: a digit after a zero comes first.
        return -1 if digits_a > shared else 1
    return libc.memory.read_uint(a + common, 1) - libc.memory.read_uint(b + common, 1)


@export("size_t strxfrm(char *dest, const char *src, size_t n)", alias=("__strxfrm",))
def strxfrm(libc: Libc, dest: int, src: int, n: int) -> int:
    return strlcpy(libc, dest, src, n)


# ---------------------------------------------------------------- searching


@export("char *strchr(const char *s, int c)", alias=("index", "__strchr"))
def strchr(libc: Libc, s: int, c: int) -> int:
    found = strchrnul(libc, s, c)
    return found if libc.memory.read_uint(found, 1) == c & 255 else 0


@export("char *strrchr(const char *s, int c)", alias=("rindex",))
def strrchr(libc: Libc, s: int, c: int) -> int:
    if not c & 255:
        return s + strlen(libc, s)
    last = 0
    for piece in libc.memory.until(s, 0, _WHOLE):
        offset = piece.rfind(c & 255)
        if offset >= 0:
            last = s + offset
        s += len(piece)
    return last


@export("char *strchrnul(const char *s, int c)", alias=("__strchrnul",))
def strchrnul(libc: Libc, s: int, c: int) -> int:
    return s + _complement_span(libc, s, bytes([c & 255]))


@export("char *strstr(const char *hay, const char *needle)")
def strstr(libc: Libc, hay: int, needle: int) -> int:
    return _search(libc, hay, needle, bytes)


@export("char *strcasestr(const char *hay, const char *needle)", alias=("__strcasestr",))
def strcasestr(libc: Libc, hay: int, needle: int) -> int:
    return _search(libc, hay, needle, bytes.lower)


def _search(libc: Libc, hay: int, needle: int, fold: Callable[[bytes], bytes]) -> int:
    wanted = fold(needle_bytes(libc, needle, strlen(libc, needle)))
    if not wanted:
        return hay
    offset = find_bytes(map(fold, libc.memory.until(hay, 0, _WHOLE)), wanted)
    return hay + offset if offset >= 0 else 0


def _span(libc: Libc, s: int, accepted: bytes) -> int:
    """The number of bytes at the start of the string that are in `accepted`."""
    found = 0
    for piece in libc.memory.ahead(s, _WHOLE) if accepted else ():
        rest = len(piece.lstrip(accepted))
        found += len(piece) - rest
        if rest:
            break
    return found


def _complement_span(libc: Libc, s: int, rejected: bytes) -> int:
    """The number of bytes at the start of the string that are not in `rejected`."""
    find = _any_of(rejected).search
    found = 0
    for piece in libc.memory.ahead(s, _WHOLE):
        if match := find(piece):
            return found + match.start()
        found += len(piece)
    return found


@functools.lru_cache(maxsize=256)
def _any_of(wanted: bytes) -> re.Pattern[bytes]:
    """A function that finds the first of these bytes, or the end of the string."""
    return re.compile(b"[" + re.escape(b"\0" + wanted) + b"]", re.DOTALL)


def _set(libc: Libc, address: int) -> bytes:
    """The distinct bytes of a string, in order."""
    members: set[int] = set()
    for piece in libc.memory.until(address, 0, _WHOLE):
        members.update(piece)
    return bytes(sorted(members))


@export("size_t strspn(const char *s, const char *accept)")
def strspn(libc: Libc, s: int, accept: int) -> int:
    return _span(libc, s, _set(libc, accept))


@export("size_t strcspn(const char *s, const char *reject)")
def strcspn(libc: Libc, s: int, reject: int) -> int:
    return _complement_span(libc, s, _set(libc, reject))


@export("char *strpbrk(const char *s, const char *accept)")
def strpbrk(libc: Libc, s: int, accept: int) -> int:
    place = s + strcspn(libc, s, accept)
    return place if libc.memory.read_uint(place, 1) else 0


# ---------------------------------------------------------------- tokens


def _token(libc: Libc, text: int, delimiters: int) -> tuple[int, int]:
    """(address of the token or 0, address at which to continue), as in strtok."""
    if not text:
        return 0, 0
    separators = _set(libc, delimiters)
    text += _span(libc, text, separators)
    if not libc.memory.read_uint(text, 1):
        return 0, text
    end = text + _complement_span(libc, text, separators)
    if libc.memory.read_uint(end, 1):
        libc.memory.write(end, b"\0")
        return text, end + 1
    return text, end


@export("char *strtok(char *text, const char *delimiters)")
def strtok(libc: Libc, text: int, delimiters: int) -> int:
    state = libc.state(TokenState)
    token, state.next = _token(libc, text or state.next, delimiters)
    return token


@export("char *strtok_r(char *text, const char *delimiters, char **next)", alias=("__strtok_r",))
def strtok_r(libc: Libc, text: int, delimiters: int, following: int) -> int:
    token, after = _token(libc, text or libc.pointer(following), delimiters)
    libc.set_pointer(following, after)
    return token


@export("char *strsep(char **text, const char *delimiters)", alias=("__strsep",))
def strsep(libc: Libc, text: int, delimiters: int) -> int:
    start = libc.pointer(text)
    if not start:
        return 0
    end = start + _complement_span(libc, start, _set(libc, delimiters))
    if libc.memory.read_uint(end, 1):
        libc.memory.write(end, b"\0")
        libc.set_pointer(text, end + 1)
    else:
        libc.set_pointer(text, 0)
    return start


@export("char *basename(const char *path)")
def basename(libc: Libc, path: int) -> int:
    slash = strrchr(libc, path, ord("/"))
    return slash + 1 if slash else path


# ---------------------------------------------------------------- messages


@export("char *strerror(int number)", alias=("strerror_l",))
def strerror(libc: Libc, number: int) -> int:
    return _static_text(libc, number, message(number), known=0 <= number < _ERRORS)


#: Errors and signals below this number have permanent texts; all others share a buffer, as in glibc.
_ERRORS, _SIGNALS = 4096, 65
#: Of signals 1 to 31 (glibc, sysdeps/generic/siglist.h).
SIGNAL_TEXTS = (
    "Hangup", "Interrupt", "Quit", "Illegal instruction", "Trace/breakpoint trap", "Aborted", "Bus error",
    "Floating point exception", "Killed", "User defined signal 1", "Segmentation fault", "User defined signal 2",
    "Broken pipe", "Alarm clock", "Terminated", "Stack fault", "Child exited", "Continued", "Stopped (signal)",
    "Stopped", "Stopped (tty input)", "Stopped (tty output)", "Urgent I/O condition", "CPU time limit exceeded",
    "File size limit exceeded", "Virtual timer expired", "Profiling timer expired", "Window changed",
    "I/O possible", "Power failure", "Bad system call",
)  # fmt: skip


def _static_text(libc: Libc, number: int, text: bytes, *, known: bool) -> int:
    """The address of a text by number that is never freed."""
    messages = libc.state(TokenState).messages
    key = number if known else -1 - (number >= _ERRORS - _SIGNALS)  # unknown signals have a text of their own
    if key not in messages:
        messages[key] = libc.allocate(max(len(text) + 1, 64))
    libc.put_string(messages[key], text)
    return messages[key]


@export("char *strerror_r(int number, char *buffer, size_t size)")
def strerror_r(libc: Libc, number: int, buffer: int, size: int) -> int:
    """The GNU version: a static string for an error there is; otherwise the buffer, with as much as it holds."""
    if error_name(number) is not None:
        return strerror(libc, number)
    strlcpy(libc, buffer, strerror(libc, number), size)
    return buffer


@export("int __xpg_strerror_r(int number, char *buffer, size_t size)")
def xpg_strerror_r(libc: Libc, number: int, buffer: int, size: int) -> int:
    cut = strlcpy(libc, buffer, strerror(libc, number), size) >= size
    return Errno.EINVAL if error_name(number) is None else Errno.ERANGE if cut else 0


@export("char *strsignal(int number)")
def strsignal(libc: Libc, number: int) -> int:
    """glibc's texts."""
    real_time = (
        b"Real-time signal %d" % (number - 34) if 34 <= number < _SIGNALS else b"Unknown signal %d" % number
    )
    text = SIGNAL_TEXTS[number - 1].encode() if 0 < number <= len(SIGNAL_TEXTS) else real_time
    return _static_text(libc, _ERRORS + number, text, known=0 <= number < _SIGNALS)

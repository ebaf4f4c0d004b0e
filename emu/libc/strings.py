"""str*: comparisons are those of the C locale."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.libc.errno import Errno, message
from emu.libc.memory import first_difference
from emu.libc.table import export

if TYPE_CHECKING:
    from emu.libc.library import Libc


class TokenState:
    """Where strtok goes on."""

    def __init__(self, libc: Libc) -> None:
        self.next = 0
        self.messages: dict[int, int] = {}  # strerror's strings, by errno


@export("size_t strlen(const char *s)", alias=("__strlen",))
def strlen(libc: Libc, s: int) -> int:
    return len(libc.string(s))


@export("size_t strnlen(const char *s, size_t limit)", alias=("__strnlen",))
def strnlen(libc: Libc, s: int, limit: int) -> int:
    return len(libc.bounded_string(s, limit))


# ---------------------------------------------------------------- copying


@export("char *strcpy(char *dest, const char *src)")
def strcpy(libc: Libc, dest: int, src: int) -> int:
    libc.put_string(dest, libc.string(src))
    return dest


@export("char *stpcpy(char *dest, const char *src)", alias=("__stpcpy",))
def stpcpy(libc: Libc, dest: int, src: int) -> int:
    text = libc.string(src)
    libc.put_string(dest, text)
    return dest + len(text)


@export("char *strncpy(char *dest, const char *src, size_t n)")
def strncpy(libc: Libc, dest: int, src: int, n: int) -> int:
    stpncpy(libc, dest, src, n)
    return dest


@export("char *stpncpy(char *dest, const char *src, size_t n)", alias=("__stpncpy",))
def stpncpy(libc: Libc, dest: int, src: int, n: int) -> int:
    text = libc.bounded_string(src, n)
    if n:
        libc.memory.write(dest, text.ljust(n, b"\0"))
    return dest + len(text)


@export("char *strcat(char *dest, const char *src)")
def strcat(libc: Libc, dest: int, src: int) -> int:
    libc.put_string(dest + strlen(libc, dest), libc.string(src))
    return dest


@export("char *strncat(char *dest, const char *src, size_t n)")
def strncat(libc: Libc, dest: int, src: int, n: int) -> int:
    libc.put_string(dest + strlen(libc, dest), libc.bounded_string(src, n))
    return dest


@export("size_t strlcpy(char *dest, const char *src, size_t size)")
def strlcpy(libc: Libc, dest: int, src: int, size: int) -> int:
    text = libc.string(src)
    if size:
        libc.put_string(dest, text[: size - 1])
    return len(text)


@export("size_t strlcat(char *dest, const char *src, size_t size)")
def strlcat(libc: Libc, dest: int, src: int, size: int) -> int:
    used = strnlen(libc, dest, size)
    if used == size:
        return size + strlen(libc, src)
    return used + strlcpy(libc, dest + used, src, size - used)


@export("char *strdup(const char *s)", alias=("__strdup",))
def strdup(libc: Libc, s: int) -> int:
    return libc.new_string(libc.string(s))


@export("char *strndup(const char *s, size_t limit)", alias=("__strndup",))
def strndup(libc: Libc, s: int, limit: int) -> int:
    return libc.new_string(libc.bounded_string(s, limit))


# ---------------------------------------------------------------- comparing


@export("int strcmp(const char *a, const char *b)", alias=("strcoll", "__strcoll"))
def strcmp(libc: Libc, a: int, b: int) -> int:
    start_a, whole_a = libc.beginning(a)
    start_b, whole_b = libc.beginning(b)
    if start_a != start_b or whole_a or whole_b:
        return first_difference(start_a, start_b)
    return first_difference(libc.string(a), libc.string(b))


@export("int strncmp(const char *a, const char *b, size_t n)")
def strncmp(libc: Libc, a: int, b: int, n: int) -> int:
    return first_difference(libc.bounded_string(a, n), libc.bounded_string(b, n))


@export("int strcasecmp(const char *a, const char *b)", alias=("__strcasecmp", "stricmp"))
def strcasecmp(libc: Libc, a: int, b: int) -> int:
    return first_difference(libc.string(a).lower(), libc.string(b).lower())


@export("int strncasecmp(const char *a, const char *b, size_t n)", alias=("__strncasecmp",))
def strncasecmp(libc: Libc, a: int, b: int, n: int) -> int:
    return first_difference(libc.bounded_string(a, n).lower(), libc.bounded_string(b, n).lower())


@export("int strverscmp(const char *a, const char *b)", alias=("__strverscmp",))
def strverscmp(libc: Libc, a: int, b: int) -> int:
    """glibc's version order: runs of digits compare as numbers, those with leading zeros as fractions."""
    return _version_order(libc.string(a), libc.string(b))


_DIGITS = b"0123456789"


def _version_order(a: bytes, b: bytes) -> int:
    common = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    run = len(a[:common].rstrip(_DIGITS))  # where the run of digits that both share begins
    digits_a, digits_b = (len(s) - run - len(s[run:].lstrip(_DIGITS)) for s in (a, b))
    shared = a[run:common]
    if digits_a and digits_b and a[run] != ord("0") != b[run]:
        if digits_a != digits_b:
            return digits_a - digits_b
    elif shared and not shared.strip(b"0") and (digits_a > len(shared) or digits_b > len(shared)):
        # A fraction goes on in one of them: whatever follows a zero as a digit comes first.
        continues_a, continues_b = digits_a > len(shared), digits_b > len(shared)
        if continues_a != continues_b:
            return -1 if continues_a else 1
    return first_difference(a, b)


@export("size_t strxfrm(char *dest, const char *src, size_t n)", alias=("__strxfrm",))
def strxfrm(libc: Libc, dest: int, src: int, n: int) -> int:
    return strlcpy(libc, dest, src, n)


# ---------------------------------------------------------------- searching


@export("char *strchr(const char *s, int c)", alias=("index", "__strchr"))
def strchr(libc: Libc, s: int, c: int) -> int:
    if not c & 255:
        return s + strlen(libc, s)
    for piece in libc.pieces_until(s, libc.arch.address_mask, 0):
        offset = piece.find(c & 255)
        if offset >= 0:
            return s + offset
        s += len(piece)
    return 0


@export("char *strrchr(const char *s, int c)", alias=("rindex",))
def strrchr(libc: Libc, s: int, c: int) -> int:
    offset = (libc.string(s) + b"\0").rfind(c & 255)
    return s + offset if offset >= 0 else 0


@export("char *strchrnul(const char *s, int c)", alias=("__strchrnul",))
def strchrnul(libc: Libc, s: int, c: int) -> int:
    return strchr(libc, s, c) or s + strlen(libc, s)


@export("char *strstr(const char *hay, const char *needle)")
def strstr(libc: Libc, hay: int, needle: int) -> int:
    offset = libc.string(hay).find(libc.string(needle))
    return hay + offset if offset >= 0 else 0


@export("char *strcasestr(const char *hay, const char *needle)", alias=("__strcasestr",))
def strcasestr(libc: Libc, hay: int, needle: int) -> int:
    offset = libc.string(hay).lower().find(libc.string(needle).lower())
    return hay + offset if offset >= 0 else 0


def _span(text: bytes, accepted: bytes) -> int:
    return len(text) - len(text.lstrip(accepted)) if accepted else 0


def _complement_span(text: bytes, rejected: bytes) -> int:
    return next((i for i, byte in enumerate(text) if byte in rejected), len(text))


@export("size_t strspn(const char *s, const char *accept)")
def strspn(libc: Libc, s: int, accept: int) -> int:
    return _span(libc.string(s), libc.string(accept))


@export("size_t strcspn(const char *s, const char *reject)")
def strcspn(libc: Libc, s: int, reject: int) -> int:
    return _complement_span(libc.string(s), libc.string(reject))


@export("char *strpbrk(const char *s, const char *accept)")
def strpbrk(libc: Libc, s: int, accept: int) -> int:
    text = libc.string(s)
    offset = _complement_span(text, libc.string(accept))
    return s + offset if offset < len(text) else 0


# ---------------------------------------------------------------- tokens


def _token(libc: Libc, text: int, delimiters: int) -> tuple[int, int]:
    """(the token or 0, where to go on), as strtok has them."""
    if not text:
        return 0, 0
    content, separators = libc.string(text), libc.string(delimiters)
    start = _span(content, separators)
    if start == len(content):
        return 0, text + start
    end = start + _complement_span(content[start:], separators)
    if end < len(content):
        libc.memory.write(text + end, b"\0")
        return text + start, text + end + 1
    return text + start, text + end


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
    content = libc.string(start)
    end = _complement_span(content, libc.string(delimiters))
    if end == len(content):
        libc.set_pointer(text, 0)
    else:
        libc.memory.write(start + end, b"\0")
        libc.set_pointer(text, start + end + 1)
    return start


@export("char *basename(const char *path)")
def basename(libc: Libc, path: int) -> int:
    return path + libc.string(path).rfind(b"/") + 1


# ---------------------------------------------------------------- messages


@export("char *strerror(int number)", alias=("strerror_l",))
def strerror(libc: Libc, number: int) -> int:
    messages = libc.state(TokenState).messages
    if number not in messages:
        text = message(number)
        messages[number] = libc.allocate(len(text) + 1)
        libc.put_string(messages[number], text)
    return messages[number]


@export("char *strerror_r(int number, char *buffer, size_t size)")
def strerror_r(libc: Libc, number: int, buffer: int, size: int) -> int:
    """The GNU form: answers a string of its own, the buffer may go unused."""
    return strerror(libc, number)


@export("int __xpg_strerror_r(int number, char *buffer, size_t size)")
def xpg_strerror_r(libc: Libc, number: int, buffer: int, size: int) -> int:
    return Errno.ERANGE if strlcpy(libc, buffer, strerror(libc, number), size) >= size else 0


@export("char *strsignal(int number)")
def strsignal(libc: Libc, number: int) -> int:
    return libc.new_string(b"Unknown signal %d" % number)

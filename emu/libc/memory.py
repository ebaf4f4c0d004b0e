"""mem* and the old BSD names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.errors import GuestAbort
from emu.libc.table import export

if TYPE_CHECKING:
    from emu.libc.library import Libc


def first_difference(a: bytes, b: bytes) -> int:
    """What the comparing functions return: the difference of the first bytes that differ, a longer one last."""
    if a == b:
        return 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            return x - y
    return (a[len(b)] if len(a) > len(b) else 0) - (b[len(a)] if len(b) > len(a) else 0)


def overflow_abort(needed: int, room: int, function: str) -> GuestAbort:
    """What the fortified functions raise."""
    return GuestAbort(f"*** buffer overflow detected ***: {function} needs {needed} bytes, the object has {room}")


@export("void *memcpy(void *dest, const void *src, size_t n)")
def memcpy(libc: Libc, dest: int, src: int, n: int) -> int:
    if n:
        libc.memory.write(dest, libc.memory.read(src, n))
    return dest


@export("void *memmove(void *dest, const void *src, size_t n)")
def memmove(libc: Libc, dest: int, src: int, n: int) -> int:
    return memcpy(libc, dest, src, n)


@export("void *mempcpy(void *dest, const void *src, size_t n)", alias=("__mempcpy",))
def mempcpy(libc: Libc, dest: int, src: int, n: int) -> int:
    return memcpy(libc, dest, src, n) + n


@export("void *memccpy(void *dest, const void *src, int stop, size_t n)")
def memccpy(libc: Libc, dest: int, src: int, stop: int, n: int) -> int:
    data = b"".join(libc.pieces_until(src, n, stop & 255))
    found = len(data) < n
    if found:
        data += bytes([stop & 255])
    libc.memory.write(dest, data)
    return dest + len(data) if found else 0


@export("void *memset(void *dest, int value, size_t n)", alias=("__memset",))
def memset(libc: Libc, dest: int, value: int, n: int) -> int:
    if n:
        libc.memory.write(dest, bytes([value & 255]) * n)
    return dest


@export("void bzero(void *dest, size_t n)", alias=("explicit_bzero", "__bzero"))
def bzero(libc: Libc, dest: int, n: int) -> None:
    memset(libc, dest, 0, n)


@export("void bcopy(const void *src, void *dest, size_t n)")
def bcopy(libc: Libc, src: int, dest: int, n: int) -> None:
    memcpy(libc, dest, src, n)


@export("int memcmp(const void *a, const void *b, size_t n)", alias=("bcmp", "__memcmpeq"))
def memcmp(libc: Libc, a: int, b: int, n: int) -> int:
    if not n:
        return 0
    return first_difference(libc.memory.read(a, n), libc.memory.read(b, n))


@export("void *memchr(const void *s, int c, size_t n)", alias=("__memchr",))
def memchr(libc: Libc, s: int, c: int, n: int) -> int:
    offset = sum(map(len, libc.pieces_until(s, n, c & 255)))
    return s + offset if offset < n else 0


@export("void *rawmemchr(const void *s, int c)", alias=("__rawmemchr",))
def rawmemchr(libc: Libc, s: int, c: int) -> int:
    return memchr(libc, s, c, libc.arch.address_mask - s)


@export("void *memrchr(const void *s, int c, size_t n)", alias=("__memrchr",))
def memrchr(libc: Libc, s: int, c: int, n: int) -> int:
    offset = libc.memory.read(s, n).rfind(c & 255) if n else -1
    return s + offset if offset >= 0 else 0


@export("void *memmem(const void *hay, size_t hay_size, const void *needle, size_t needle_size)")
def memmem(libc: Libc, hay: int, hay_size: int, needle: int, needle_size: int) -> int:
    if not needle_size:
        return hay
    if hay_size < needle_size:
        return 0
    offset = libc.memory.read(hay, hay_size).find(libc.memory.read(needle, needle_size))
    return hay + offset if offset >= 0 else 0


@export("void swab(const void *src, void *dest, ssize_t n)")
def swab(libc: Libc, src: int, dest: int, n: int) -> None:
    if n > 1:
        data = bytearray(libc.memory.read(src, n & ~1))
        data[::2], data[1::2] = data[1::2], data[::2]
        libc.memory.write(dest, data)


@export("int ffs(int value)")
def ffs(libc: Libc, value: int) -> int:
    return (value & -value).bit_length()


@export("int ffsl(long value)")
def ffsl(libc: Libc, value: int) -> int:
    return (value & -value).bit_length()


@export("int ffsll(long long value)")
def ffsll(libc: Libc, value: int) -> int:
    return (value & -value).bit_length()

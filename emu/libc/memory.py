"""mem* functions and their old BSD names."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING

from emu.cpu.protocol import Protection
from emu.errors import GuestAbort
from emu.libc.table import export
from emu.memory.guest_view import PIECE

if TYPE_CHECKING:
    from emu.libc.library import Libc


#: Limit for the length of a search pattern in bytes: it is copied to host memory.
_LONGEST_NEEDLE = 16 << 20


def needle_bytes(libc: Libc, address: int, size: int) -> bytes:
    """Read a search pattern. Raises GuestAbort when it is too long."""
    libc.memory.require(address, size)
    if size > _LONGEST_NEEDLE:
        raise GuestAbort(f"a search for a pattern of {size} bytes; the limit is {_LONGEST_NEEDLE}")
    return libc.memory.read(address, size)


def find_bytes(pieces: Iterable[bytes], wanted: bytes) -> int:
    """Offset of the first occurrence of `wanted` (not empty) in the concatenated pieces; -1: none."""
    window, position = b"", 0  # the bytes that may contain an occurrence, and their offset
    step = max(PIECE, len(wanted))
    gathered: list[bytes] = []
    for piece in itertools.chain(pieces, (b"",)):
        gathered.append(piece)
        if piece and sum(map(len, gathered)) < step:
            continue
        window += b"".join(gathered)
        gathered.clear()
        found = window.find(wanted)
        if found >= 0:
            return position + found
        kept = min(len(wanted) - 1, len(window))
        position += len(window) - kept
        window = window[len(window) - kept :]
    return -1


def common_length(a: bytes, b: bytes) -> int:
    """The length of the common prefix of `a` and `b`."""
    low, high = 0, min(len(a), len(b))
    if a[:high] == b[:high]:
        return high
    while high - low > 1:  # a[:low] is equal, a[:high] is not
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low


def overflow_abort(needed: int, room: int, function: str) -> GuestAbort:
    """The exception of the fortified functions."""
    return GuestAbort(f"*** buffer overflow detected ***: {function} needs {needed} bytes, the object has {room}")


@export("void *memcpy(void *dest, const void *src, size_t n)")
def memcpy(libc: Libc, dest: int, src: int, n: int) -> int:
    libc.memory.copy(dest, src, n)
    return dest


@export("void *memmove(void *dest, const void *src, size_t n)")
def memmove(libc: Libc, dest: int, src: int, n: int) -> int:
    return memcpy(libc, dest, src, n)


@export("void *mempcpy(void *dest, const void *src, size_t n)", alias=("__mempcpy",))
def mempcpy(libc: Libc, dest: int, src: int, n: int) -> int:
    return memcpy(libc, dest, src, n) + n


@export("void *memccpy(void *dest, const void *src, int stop, size_t n)")
def memccpy(libc: Libc, dest: int, src: int, stop: int, n: int) -> int:
    found = libc.memory.find(src, stop & 255, n)
    size = n if found < 0 else found + 1
    libc.memory.copy(dest, src, size)
    return 0 if found < 0 else dest + size


@export("void *memset(void *dest, int value, size_t n)", alias=("__memset",))
def memset(libc: Libc, dest: int, value: int, n: int) -> int:
    libc.memory.fill(dest, bytes([value & 255]), n)
    return dest


@export("void bzero(void *dest, size_t n)", alias=("explicit_bzero", "__bzero"))
def bzero(libc: Libc, dest: int, n: int) -> None:
    memset(libc, dest, 0, n)


@export("void bcopy(const void *src, void *dest, size_t n)")
def bcopy(libc: Libc, src: int, dest: int, n: int) -> None:
    memcpy(libc, dest, src, n)


@export("int memcmp(const void *a, const void *b, size_t n)", alias=("bcmp", "__memcmpeq"))
def memcmp(libc: Libc, a: int, b: int, n: int) -> int:
    for one, other in libc.memory.pairs(a, b, n):
        same = common_length(one, other)
        if same < len(one):
            return one[same] - other[same]
    return 0


@export("void *memchr(const void *s, int c, size_t n)", alias=("__memchr",))
def memchr(libc: Libc, s: int, c: int, n: int) -> int:
    offset = libc.memory.find(s, c & 255, n)
    return 0 if offset < 0 else s + offset


@export("void *rawmemchr(const void *s, int c)", alias=("__rawmemchr",))
def rawmemchr(libc: Libc, s: int, c: int) -> int:
    return memchr(libc, s, c, libc.arch.address_mask - s)


@export("void *memrchr(const void *s, int c, size_t n)", alias=("__memrchr",))
def memrchr(libc: Libc, s: int, c: int, n: int) -> int:
    libc.memory.require(s, n)
    for end in range(n, 0, -PIECE):
        start = max(end - PIECE, 0)
        libc.check_budget()
        offset = libc.memory.read(s + start, end - start).rfind(c & 255)
        if offset >= 0:
            return s + start + offset
    return 0


@export("void *memmem(const void *hay, size_t hay_size, const void *needle, size_t needle_size)")
def memmem(libc: Libc, hay: int, hay_size: int, needle: int, needle_size: int) -> int:
    if not needle_size:
        return hay
    if hay_size < needle_size:
        return 0
    wanted = needle_bytes(libc, needle, needle_size)
    offset = find_bytes(libc.memory.pieces(hay, hay_size), wanted)
    return hay + offset if offset >= 0 else 0


@export("void swab(const void *src, void *dest, ssize_t n)")
def swab(libc: Libc, src: int, dest: int, n: int) -> None:
    size = max(n, 0) & ~1
    libc.memory.require(src, size)
    libc.memory.require(dest, size, Protection.W)
    for offset in range(0, size, PIECE):
        libc.check_budget()
        data = bytearray(libc.memory.read(src + offset, min(PIECE, size - offset)))
        data[::2], data[1::2] = data[1::2], data[::2]
        libc.memory.write(dest + offset, data)


@export("int ffs(int value)")
def ffs(libc: Libc, value: int) -> int:
    return (value & -value).bit_length()


@export("int ffsl(long value)")
def ffsl(libc: Libc, value: int) -> int:
    return (value & -value).bit_length()


@export("int ffsll(long long value)")
def ffsll(libc: Libc, value: int) -> int:
    return (value & -value).bit_length()

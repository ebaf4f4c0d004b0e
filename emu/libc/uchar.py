"""<uchar.h>: conversions between bytes and UTF-16 or UTF-32."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.libc.errno import Errno
from emu.libc.table import export
from emu.libc.wide import Partial, convert, wcrtomb

if TYPE_CHECKING:
    from emu.libc.library import Libc

_PENDING = 0x8000_0000  #: in the state's count, as in glibc: half of a pair is behind it
_HIGH, _LOW = range(0xD800, 0xDC00), range(0xDC00, 0xE000)


@export("size_t mbrtoc32(unsigned *dest, const char *src, size_t n, void *state)")
def mbrtoc32(libc: Libc, dest: int, src: int, n: int, state: int) -> int:
    return convert(libc, dest, src, n, state, "mbrtoc32")


@export("size_t c32rtomb(char *dest, unsigned c, void *state)")
def c32rtomb(libc: Libc, dest: int, c: int, state: int) -> int:
    return wcrtomb(libc, dest, c, state)


@export("size_t mbrtoc16(void *dest, const char *src, size_t n, void *state)")
def mbrtoc16(libc: Libc, dest: int, src: int, n: int, state: int) -> int:
    """A pair is stored by two calls, of which the second reads nothing and returns -3."""
    place = Partial.at(libc, state, "mbrtoc16")
    if libc.memory.read_uint(place, 4) == _PENDING:
        if dest:
            libc.memory.write(dest, libc.memory.read(place + 4, 2))
        libc.memory.write(place, bytes(8))
        return libc.arch.address_mask - 2
    if not src:
        return convert(libc, 0, 0, n, place, "mbrtoc16")
    found = libc.heap.malloc(4)
    if not found:
        return libc.fail(Errno.ENOMEM, libc.arch.address_mask)
    try:
        size = convert(libc, found, src, n, place, "mbrtoc16")
        if size > libc.arch.address_mask - 2:
            return size
        units = chr(libc.memory.read_uint(found, 4)).encode("utf-16-le")
    finally:
        libc.heap.free(found)
    if dest:
        libc.memory.write(dest, units[:2])
    if len(units) > 2:
        libc.memory.write(place, _PENDING.to_bytes(4, "little") + units[2:] + bytes(2))
    return size


@export("size_t c16rtomb(char *dest, unsigned c, void *state)")
def c16rtomb(libc: Libc, dest: int, c: int, state: int) -> int:
    """The first half of a pair writes nothing; EILSEQ for a half without the other."""
    c &= 0xFFFF
    place = Partial.at(libc, state, "c16rtomb")
    pending = libc.memory.read_uint(place, 4) == _PENDING
    if not dest:
        libc.memory.write(place, bytes(8))
        return 1
    if pending != (c in _LOW):
        return libc.fail(Errno.EILSEQ, libc.arch.address_mask)
    if c in _HIGH:
        libc.memory.write(place, _PENDING.to_bytes(4, "little") + c.to_bytes(4, "little"))
        return 0
    if pending:
        c = 0x1_0000 + (libc.memory.read_uint(place + 4, 4) - _HIGH.start << 10) + c - _LOW.start
        libc.memory.write(place, bytes(8))
    return wcrtomb(libc, dest, c, 0)

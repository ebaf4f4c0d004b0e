"""Memory of the host for guest memory: whole pages, zeroed or mapped privately from files."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections.abc import Hashable, Mapping
from contextlib import suppress
from functools import cache
from itertools import accumulate
from sys import getrefcount
from typing import Any

import numpy as np

from relink.arrays import U8
from relink.elf.source import FileMapping, identity_of
from relink.errors import AddressSpaceError
from relink.memory.once import caches_are_used, make_room


def host_pages(size: int, at_once: int = 0) -> U8:
    """uint8[size] of zeroed, page-aligned memory; large memory begins where a huge page may be.

    The host allocates a page on first access, and the first `at_once` bytes now, which takes half the time where
    all of them will be written.
    """
    if spare := _spare.get(size):
        try:
            again = spare.pop()
        except IndexError:
            pass  # another thread has taken it
        else:
            if size <= _LARGEST_CLEARED:
                again.fill(0)
            return again
    try:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _no_reserve()
        room = size + (_HUGE_PAGE if size >= _LARGE else 0)
        pages = mmap.mmap(-1, room, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    except (OSError, OverflowError, ValueError) as error:
        raise AddressSpaceError(f"the host cannot allocate the memory: {error}", size=size) from None
    whole = np.frombuffer(pages, np.uint8)
    begin = -whole.ctypes.data % _HUGE_PAGE if room > size else 0
    if at_once and sys.platform == "linux":
        with suppress(OSError):  # kernels before 5.14
            pages.madvise(_POPULATE_WRITE, begin, at_once)
    return whole[begin : begin + size] if room > size else whole


#: Memory that was given back, by its size: to clear it takes a twentieth of the time of a new mapping, whose pages
#: the host makes at the first access to each.
_spare: dict[int, list[U8]] = {}
_reused = caches_are_used()
_MOST_SIZES, _MOST_SPARE = 16, 4  #: so many sizes, and of each so many
_LARGEST_CLEARED = 1 << 17  #: bytes; the host takes the pages of larger ones back and makes new ones


def _count(array: U8) -> int:
    return getrefcount(array)


def _count_of_one() -> int:
    array = np.zeros(0, np.uint8)
    return _count(array)


#: What `getrefcount` adds for two calls: 2, and less where Python only lends arguments (from 3.14 on).
_ADDED = min(_count_of_one() - 1, 2)


def give_back(buffer: U8, references: int, most: int = _LARGEST_CLEARED) -> bool:
    """Keep the memory of `host_pages`, up to `most` bytes, for its next caller, if nothing refers to the array, or
    to a part of it, besides the caller's `references`; whether it does that.
    """
    base: object = buffer.base
    if not _reused or type(base) is not memoryview or type(base.obj) is not mmap.mmap:
        return False  # or a part of other memory
    size = len(buffer)
    if size > most or getrefcount(buffer) > references + _ADDED:
        return False
    if size > _LARGEST_CLEARED:
        if sys.platform != "linux":
            return False  # the pages may keep their contents
        try:
            base.obj.madvise(mmap.MADV_DONTNEED)
        except OSError:  # as for locked memory
            return False
    spare = _spare.get(size)
    if spare is None:
        make_room(_spare, _MOST_SIZES)
        spare = _spare[size] = []
    if len(spare) < _MOST_SPARE:
        spare.append(buffer)
    return True


class HostBlock:
    """Memory for the regions of several images, one after the other; each owns its part as if it were alone.

    Work on all of them is done at once: faults, copies, and words to be stored.
    """

    def __init__(self, filled: Mapping[Any, U8], others: Mapping[Any, int]) -> None:
        """The images with known contents, whole pages, and those with a size in bytes that will be filled later.

        Raises AddressSpaceError.
        """
        sizes = [*map(len, filled.values()), *others.values()]
        known = sum(sizes[: len(filled)])
        self.buffer = host_pages(sum(sizes), known)
        #: Where the part of each image begins.
        self.images = dict(zip((*filled, *others), accumulate(sizes, initial=0), strict=False))
        self._sizes = dict(zip(self.images, sizes, strict=True))
        self.filled = filled.keys()  #: the images whose contents are in place
        if filled:
            np.concatenate([*filled.values()], out=self.buffer[:known])

    def part(self, image: Hashable) -> U8:
        """The part of an image."""
        start = self.images[image]
        return self.buffer[start : start + self._sizes[image]]


def _libc_mmap() -> ctypes._NamedFuncPointer:
    function = ctypes.pythonapi["mmap"]  # of the process; another handle takes 50 µs to make
    function.restype = ctypes.c_void_p
    function.argtypes = (
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_long,
    )
    return function


_mmap = _libc_mmap()  # made now: it takes as long as several mappings


@cache
def _libc_madvise() -> ctypes._NamedFuncPointer:
    function = ctypes.CDLL(None, use_errno=True).madvise
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return function


_PAGE = 4096  # of the guest
_HUGE_PAGE = 2 << 20  # of most hosts
_LARGE = 8 * _HUGE_PAGE
_POPULATE_WRITE = 23  # MADV_POPULATE_WRITE (Linux, include/uapi/asm-generic/mman-common.h)
_MAP_FIXED = 0x10  # the same on Linux and macOS


@cache
def _no_reserve() -> int:
    return int(getattr(mmap, "MAP_NORESERVE", 0x4000 if os.uname().sysname == "Linux" else 0))


def map_zeros(buffer: U8, offset: int, size: int) -> bool:
    """Replace pages of `buffer` by zeroed ones; False when the host cannot."""
    if not size or offset % mmap.PAGESIZE or size % mmap.PAGESIZE:
        return False
    wanted = address_of(buffer) + offset
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_FIXED | _no_reserve()
    return bool(_mmap(wanted, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0) == wanted)


def mapped_at(address: int, size: int, descriptor: int, offset: int) -> bool:
    """Map a file privately at a host address, in place of what is there; False when the host cannot."""
    flags = mmap.MAP_PRIVATE | _MAP_FIXED | _no_reserve()
    return bool(_mmap(address, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, descriptor, offset) == address)


def opened(file: FileMapping | None) -> int | None:
    """A new descriptor of the file that is mapped, for `map_private`; None when that is not found any more."""
    if file is None:
        return None
    try:
        descriptor = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if identity_of(os.fstat(descriptor)) == file.identity:
            return descriptor
    except BaseException:  # of a signal handler
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def address_of(buffer: Any) -> int:
    """The host address of an array's memory; `buffer.ctypes` takes three times as long."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    except (TypeError, ValueError):  # it cannot be written, or is empty
        return int(buffer.ctypes.data)


def map_private(buffer: U8, offset: int, descriptor: int, file_offset: int, size: int) -> bool:
    """Replace pages of `buffer` by a private mapping of a file. Python's mmap cannot place a mapping."""
    granularity = mmap.PAGESIZE
    if offset % granularity or file_offset % granularity:
        return False
    return mapped_at(address_of(buffer) + offset, size, descriptor, file_offset)


def read_private(buffer: U8, offset: int, descriptor: int, file_offset: int, size: int) -> bool:
    """Read pages of a file into zeroed ones of `buffer`, in huge pages if the host has them.

    Where most pages will be written, that takes half the time of a private mapping, of which each is copied at the
    first access; and a quarter less if the host allocates all of them beforehand.
    """
    end = min(offset + -(-size // _PAGE) * _PAGE, len(buffer))
    if sys.platform == "linux":
        address = address_of(buffer) + offset
        if end - offset > _HUGE_PAGE:
            _libc_madvise()(address, end - offset, mmap.MADV_HUGEPAGE)
        _libc_madvise()(address, end - offset, _POPULATE_WRITE)  # from Linux 5.14 on
    rest = buffer.data[offset:end]
    with suppress(OSError):
        while len(rest) and (count := os.preadv(descriptor, [rest], file_offset)):
            rest, file_offset = rest[count:], file_offset + count
    return len(rest) <= end - offset - size  # what is left is after the end of the file

"""Memory of the host for guest memory: whole pages, zeroed or mapped privately from files."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Hashable, Sequence
from functools import cache

import numpy as np

from relink.arrays import U8
from relink.elf.source import FileMapping, identity_of
from relink.errors import AddressSpaceError


def host_pages(size: int, *, at_once: bool = False) -> U8:
    """uint8[size] of zeroed, page-aligned memory.

    The host allocates a page on first access, or all `at_once`: half the time where all will be written.
    """
    try:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | (_populate() if at_once else _no_reserve())
        pages = mmap.mmap(-1, size, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    except (OSError, OverflowError, ValueError) as error:
        raise AddressSpaceError(f"the host cannot allocate the memory: {error}", size=size) from None
    return np.frombuffer(pages, np.uint8)


class HostBlock:
    """Memory for the regions of several images, one after the other; each owns its part as if it were alone.

    Work on all of them is done at once: faults, copies, and words to be stored.
    """

    def __init__(self, size: int) -> None:
        """`size` is in bytes, whole pages. Raises AddressSpaceError."""
        self.buffer = host_pages(size, at_once=True)
        self.used = 0  #: bytes taken so far
        self.images: dict[Hashable, int] = {}  #: what has a part -> where it begins

    def take(self, size: int) -> U8 | None:
        """The next `size` bytes; None when there are not so many left."""
        start, end = self.used, self.used + size
        if end > len(self.buffer):
            return None
        self.used = end
        return self.buffer[start:end]

    def fill(self, contents: Sequence[U8]) -> None:
        """Store the contents of all parts."""
        np.concatenate(contents, out=self.buffer[: self.used])


@cache
def _libc_mmap() -> ctypes._NamedFuncPointer:
    function = ctypes.CDLL(None, use_errno=True).mmap
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


_MAP_FIXED = 0x10  # the same on Linux and macOS


@cache
def _no_reserve() -> int:
    return int(getattr(mmap, "MAP_NORESERVE", 0x4000 if os.uname().sysname == "Linux" else 0))


@cache
def _populate() -> int:
    return int(getattr(mmap, "MAP_POPULATE", 0))


def map_zeros(buffer: U8, offset: int, size: int) -> bool:
    """Replace pages of `buffer` by zeroed ones; False when the host cannot."""
    if not size or offset % mmap.PAGESIZE or size % mmap.PAGESIZE:
        return False
    wanted = buffer.ctypes.data + offset
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_FIXED | _no_reserve()
    return bool(_libc_mmap()(wanted, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0) == wanted)


def mapped_at(address: int, size: int, descriptor: int, offset: int) -> bool:
    """Map a file privately at a host address, in place of what is there; False when the host cannot."""
    flags = mmap.MAP_PRIVATE | _MAP_FIXED | _no_reserve()
    return bool(
        _libc_mmap()(address, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, descriptor, offset) == address
    )


def map_private(buffer: U8, offset: int, file: FileMapping, file_offset: int, size: int) -> bool:
    """Replace pages of `buffer` by a private mapping of a file. Python's mmap cannot place a mapping."""
    granularity = mmap.PAGESIZE
    if offset % granularity or file_offset % granularity:
        return False
    try:
        descriptor = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if identity_of(os.fstat(descriptor)) != file.identity or len(file) < file_offset + size:
            return False
        wanted = buffer.ctypes.data + offset
        protection, flags = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | _MAP_FIXED
        return bool(_libc_mmap()(wanted, size, protection, flags, descriptor, file_offset) == wanted)
    finally:
        os.close(descriptor)

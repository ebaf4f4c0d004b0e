"""Target memory: the protocol the linker needs of an address space, and `HostMemory`, one without a CPU.

A load works on *regions*: `reserve` picks a guest address and hands out a host buffer nobody else sees;
the linker fills it; `publish` makes it part of the guest, once, with its final permissions; `release`
takes it back. Until `publish` the guest is untouched, which is what makes a failed load free.

The buffer of a region is one contiguous stretch of host memory, page-aligned. File segments are laid into
it as private (copy-on-write) mappings of the file, so only the pages the linker writes are ever copied.
"""

from __future__ import annotations

import ctypes
import enum
import mmap
import os
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple, Protocol

import numpy as np

from relink.arch import Architecture, architecture
from relink.arrays import U8
from relink.errors import AddressSpaceError
from relink.records import dataclass

__all__ = ["AddressSpace", "HostMemory", "Pages", "Protection", "Region"]

PAGE = 4096
_LOWEST = 0x10_0000  #: where regions that must lie low begin; below it a null pointer's fields fault


class Protection(enum.IntFlag):
    """Page permissions, with the values of ELF's p_flags (PF_X, PF_W, PF_R)."""

    NONE = 0
    X = 1
    W = 2
    R = 4

    def __str__(self) -> str:
        return "".join(letter if self & bit else "-" for letter, bit in (("r", 4), ("w", 2), ("x", 1)))


class Pages(NamedTuple):
    """A run of equally protected pages within a region. `offset` and `size` in bytes, page multiples."""

    offset: int
    size: int
    protection: Protection


def page_floor(value: int) -> int:
    """`value` rounded down to a page boundary."""
    return value & -PAGE


def page_ceil(value: int) -> int:
    """`value` rounded up to a page boundary."""
    return (value + PAGE - 1) & -PAGE


@dataclass(eq=False)
class Region:
    """A stretch of guest addresses and the host memory behind it."""

    address: int
    size: int  #: bytes, a multiple of the page size
    #: uint8[size], zeroed, writable, and page-aligned in host memory where an engine is to share it.
    buffer: U8
    name: str
    pages: tuple[Pages, ...] = ()  #: set by `publish`; pages in no run are not part of the guest
    #: Whether files may be mapped over parts of the buffer: only where its pages are nobody else's.
    mappable: bool = False
    #: Whether it lies in memory that somebody else mapped, and that is not released with the image.
    foreign: bool = False
    #: Of an image whose segments lie far apart: the regions it is made of (see `relink.memory.sparse`).
    parts: tuple[Region, ...] = ()

    def contains(self, address: int) -> bool:
        """Whether a guest address is one of the region's."""
        if self.parts:
            return any(part.contains(address) for part in self.parts)
        return self.address <= address < self.end

    @property
    def end(self) -> int:
        return self.address + self.size

    def map_file(self, offset: int, path: os.PathLike[str], file_offset: int, size: int) -> bool:
        """Lay `size` bytes of a file at `offset` as a private mapping; False where the host cannot.

        The bytes up to the end of the last page come from the file too (zero past its end).
        """
        return self.mappable and _map_private(self.buffer, offset, path, file_offset, size)

    def discard(self, offset: int, size: int) -> None:
        """Make whole pages zero again, and give the host's memory behind them back where that can be had."""
        if not (self.mappable and _map_zeros(self.buffer, offset, size)):
            self.buffer[offset : offset + size] = 0


class AddressSpace(Protocol):
    """What the linker needs of the memory it links into."""

    @property
    def architecture(self) -> Architecture: ...

    def reserve(
        self, size: int, *, at: int | None = None, align: int = PAGE, below: int | None = None, name: str = ""
    ) -> Region:
        """Set `size` bytes (rounded up to pages) of address space aside, at `at` or where there is room.

        `below` is an address the region must end under: for code whose absolute addresses are narrow.

        Raises AddressSpaceError if the range is taken, out of bounds, or nothing is free.
        """

    def publish(self, region: Region, pages: Iterable[Pages]) -> None:
        """Make the region's pages part of the guest with these permissions. Once per region."""

    def release(self, region: Region) -> None:
        """Give a region back, published or not."""

    def protection(self, address: int) -> Protection | None:
        """The permissions of the page at `address`; None where nothing is published."""

    def read(self, address: int, size: int) -> bytes:
        """Bytes of published memory, whatever its permissions. Raises AddressSpaceError where unmapped."""

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Write published memory, whatever its permissions. Raises AddressSpaceError where unmapped."""


class HostMemory:
    """An address space without a CPU: link into it, then look at the bytes.

    Addresses are handed out upwards from the architecture's `image_base`, with an unmapped page between
    neighbours, and reused only once the end of the window is reached: a stale pointer keeps pointing at
    nothing.
    """

    def __init__(self, arch: str | Architecture) -> None:
        self._architecture = arch if isinstance(arch, Architecture) else architecture(arch)
        self._regions: list[Region] = []  # by address
        self._starts: list[int] = []
        self._window = _window(self._architecture)
        self._cursor = self._window[0]

    @property
    def architecture(self) -> Architecture:
        return self._architecture

    @property
    def regions(self) -> Sequence[Region]:
        """All regions, by address."""
        return tuple(self._regions)

    def reserve(
        self, size: int, *, at: int | None = None, align: int = PAGE, below: int | None = None, name: str = ""
    ) -> Region:
        size = page_ceil(max(size, 1))
        if at is not None:
            address = self._check_room(at, size)
        elif below is not None and below < self._window[1]:
            address = self._find_low_room(size, max(align, PAGE), below)
        else:
            address = self._find_room(size, max(align, PAGE))
        region = Region(address, size, host_pages(size), name, mappable=True)
        index = bisect_right(self._starts, address)
        self._starts.insert(index, address)
        self._regions.insert(index, region)
        return region

    def publish(self, region: Region, pages: Iterable[Pages]) -> None:
        region.pages = tuple(pages)

    def release(self, region: Region) -> None:
        index = bisect_right(self._starts, region.address) - 1
        if index < 0 or self._regions[index] is not region:
            raise AddressSpaceError("no such region", address=region.address, size=region.size)
        del self._starts[index], self._regions[index]

    def region_at(self, address: int) -> Region | None:
        """The region that covers `address`."""
        index = bisect_right(self._starts, address) - 1
        if index >= 0 and address < self._regions[index].end:
            return self._regions[index]
        return None

    def protection(self, address: int) -> Protection | None:
        """The permissions of the page at `address`; None where nothing is published."""
        region = self.region_at(address)
        if region is not None:
            for offset, size, protection in region.pages:
                if 0 <= address - region.address - offset < size:
                    return protection
        return None

    def read(self, address: int, size: int) -> bytes:
        return self._bytes(address, size).tobytes()

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        self._bytes(address, len(data))[:] = np.frombuffer(data, np.uint8)

    def _bytes(self, address: int, size: int) -> U8:
        region = self.region_at(address)
        if region is None or not _covered(region.pages, address - region.address, size):
            raise AddressSpaceError("not mapped", address=address, size=size)
        return region.buffer[address - region.address : address - region.address + size]

    def _check_room(self, at: int, size: int) -> int:
        if at % PAGE:
            raise AddressSpaceError("not page-aligned", address=at, size=size)
        if at < 0 or at + size > self._architecture.address_mask + 1:
            raise AddressSpaceError("outside the address space", address=at, size=size)
        index = bisect_right(self._starts, at)
        for neighbour in self._regions[max(index - 1, 0) : index + 1]:
            if neighbour.address < at + size and at < neighbour.end:
                raise AddressSpaceError(f"taken by {neighbour.name or 'another region'}", address=at, size=size)
        return at

    def _find_room(self, size: int, align: int) -> int:
        start, end = self._window
        for low, high in ((self._cursor, end), (start, end)):
            address = self._first_gap(low, high, size, align)
            if address is not None:
                self._cursor = address + size + PAGE
                return address
        raise AddressSpaceError("no room in the address space", size=size)

    def _find_low_room(self, size: int, align: int, below: int) -> int:
        address = self._first_gap(_LOWEST, below, size, align)
        if address is None:
            raise AddressSpaceError(f"no room below {below:#x}", size=size)
        return address

    def _first_gap(self, low: int, high: int, size: int, align: int) -> int | None:
        address = (low + align - 1) & -align
        index = max(bisect_right(self._starts, address) - 1, 0)
        for region in self._regions[index:]:
            if address + size + PAGE <= region.address:
                break
            if region.end + PAGE > address:
                address = (region.end + PAGE + align - 1) & -align
        return address if address + size <= high else None


def _covered(pages: Iterable[Pages], begin: int, size: int) -> bool:
    """Whether `size` bytes from `begin` (an offset in the region) all lie in published pages."""
    end = begin + size
    for offset, length, _ in pages:  # in ascending order
        if offset <= begin < offset + length:
            begin = offset + length
    return begin >= end and size >= 0


def _window(arch: Architecture) -> tuple[int, int]:
    """Where `HostMemory` places what nobody places by hand."""
    return arch.image_base, 0xF000_0000 if arch.bits == 32 else 0x7000_0000_0000


# ---------------------------------------------------------------- host pages


def host_pages(size: int) -> U8:
    """uint8[size] of zeroed, page-aligned memory that costs nothing until it is touched."""
    try:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _no_reserve()
        pages = mmap.mmap(-1, size, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    except (OSError, OverflowError, ValueError) as error:
        raise AddressSpaceError(f"the host has no memory for it: {error}", size=size) from None
    return np.frombuffer(pages, np.uint8)


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


def _no_reserve() -> int:
    return int(getattr(mmap, "MAP_NORESERVE", 0x4000 if os.uname().sysname == "Linux" else 0))


def _map_zeros(buffer: U8, offset: int, size: int) -> bool:
    """Replace pages of `buffer` by fresh ones; False where the host cannot."""
    if not size or offset % mmap.PAGESIZE or size % mmap.PAGESIZE:
        return False
    wanted = buffer.ctypes.data + offset
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_FIXED | _no_reserve()
    return bool(_libc_mmap()(wanted, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0) == wanted)


def _map_private(buffer: U8, offset: int, path: os.PathLike[str], file_offset: int, size: int) -> bool:
    """Replace pages of `buffer` by a private mapping of a file. Python's mmap cannot place a mapping."""
    granularity = mmap.PAGESIZE
    if offset % granularity or file_offset % granularity:
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if os.fstat(descriptor).st_size < file_offset + size:
            return False
        wanted = buffer.ctypes.data + offset
        protection, flags = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | _MAP_FIXED
        return bool(_libc_mmap()(wanted, size, protection, flags, descriptor, file_offset) == wanted)
    finally:
        os.close(descriptor)

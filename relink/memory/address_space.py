"""Target memory: `AddressSpace`, the protocol that the linker uses, and `HostMemory`, an address space without a
CPU.

A load works on *regions*:

1. `reserve` chooses a guest address and returns a host buffer that the guest cannot see.
2. The linker fills the buffer.
3. `publish` maps it into the guest, once, with its final permissions.
4. `release` unmaps it.

The guest is unchanged until `publish`, so a failed load has nothing to undo there. A region's buffer is
contiguous, page-aligned host memory. File segments are mapped into it privately (copy-on-write), so only pages
that the linker writes are copied.
"""

from __future__ import annotations

import enum
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np

from relink.arch import Architecture, architecture
from relink.arrays import U8
from relink.errors import AddressSpaceError
from relink.memory.host_pages import give_back, host_pages, map_private, map_zeros, read_private
from relink.records import dataclass
from relink.records.tuples import NamedTuple

__all__ = ["AddressSpace", "HostMemory", "Pages", "Protection", "Region"]

PAGE = 4096
#: lowest address of regions that must be at low addresses; accesses below it (null pointers) fault
_LOWEST = 0x10_0000
#: where they are placed as long as there is room, apart from executables that will be loaded at fixed addresses
_USUAL_LOW = 0x4000_0000


class Protection(enum.IntFlag):
    """Page permissions, with the values of ELF's p_flags (PF_X, PF_W, PF_R)."""

    NONE = 0
    X = 1
    W = 2
    R = 4

    def __str__(self) -> str:
        return "".join(letter if self & bit else "-" for letter, bit in (("r", 4), ("w", 2), ("x", 1)))


class Pages(NamedTuple):
    """Consecutive pages of a region with the same permissions. `offset` and `size` are in bytes, multiples of the
    page size.
    """

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
    """A range of guest addresses and its host memory."""

    address: int
    size: int  #: bytes, a multiple of the page size
    #: uint8[size], zeroed and writable; page-aligned in host memory when a CPU engine shares it. With `parts`: the
    #: buffers of all, one after the other.
    buffer: U8
    name: str
    pages: tuple[Pages, ...] = ()  #: set by `publish`; pages outside these runs are not mapped in the guest
    #: Whether files may be mapped over parts of the buffer: only when the buffer owns its pages.
    mappable: bool = False
    #: Whether the memory was mapped by another party and is not released with the image.
    foreign: bool = False
    #: For an image whose segments are far apart: the regions it consists of (see `relink.memory.sparse`).
    parts: tuple[Region, ...] = ()
    has_file: bool = False  #: whether a file is mapped in the buffer
    released: bool = False  #: whether the address space has taken it back
    #: Called with the offset and size of pages before they are discarded, if set.
    discarded: Callable[[int, int], object] | None = None

    def contains(self, address: int) -> bool:
        """Whether a guest address is in the region."""
        if self.parts:
            return any(part.contains(address) for part in self.parts)
        return self.address <= address < self.end

    @property
    def end(self) -> int:
        return self.address + self.size

    def content(self, address: int, size: int) -> U8 | None:
        """The bytes of a range of guest addresses, a view of the buffer; None when not all are in the region."""
        start = 0
        for part in self.parts or (self,):
            low = address - part.address
            if low >= 0 and low + size <= part.size:
                return self.buffer[start + low : start + low + size]
            start += part.size
        return None

    def map_file(self, offset: int, descriptor: int, file_offset: int, size: int, *, read: bool = False) -> bool:
        """Map `size` bytes of a file privately at `offset`, or `read` them, which is quicker if most pages will be
        written; False when the host cannot.

        The rest of the last page comes from the file too (zeros past its end).
        """
        if read:
            return self.mappable and read_private(self.buffer, offset, descriptor, file_offset, size)
        for region in (self, *self.parts):
            region.has_file = True
        return self.mappable and map_private(self.buffer, offset, descriptor, file_offset, size)

    def discard(self, offset: int, size: int) -> None:
        """Zero whole pages, and return their memory to the host where possible."""
        if self.discarded is not None:
            self.discarded(offset, size)
        if not (self.mappable and map_zeros(self.buffer, offset, size)):
            self.buffer[offset : offset + size] = 0


_NO_MEMORY = np.zeros(0, np.uint8)


class AddressSpace(Protocol):
    """The memory that the linker links into."""

    @property
    def architecture(self) -> Architecture: ...

    def reserve(
        self, size: int, *, at: int | None = None, align: int = PAGE, below: int | None = None, name: str = ""
    ) -> Region:
        """Reserve `size` bytes of address space (rounded up to pages), at address `at` or at a free address.

        The region must end at or below the address `below`, for code with narrow absolute addresses. Raises
        AddressSpaceError if the range is in use or out of bounds, or no free range is large enough. A caller that
        makes no call before it notes the region loses none where a signal handler raises.
        """

    def publish(self, region: Region, pages: Iterable[Pages]) -> None:
        """Map the region's pages in the guest with these permissions. Call once per region."""

    def release(self, region: Region) -> None:
        """Release a region, published or not; once more, where a signal handler has interrupted that."""

    def protection(self, address: int) -> Protection | None:
        """The permissions of the page at `address`; None when nothing is published there."""

    def read(self, address: int, size: int) -> bytes:
        """Read published memory, ignoring permissions. Raises AddressSpaceError for unmapped addresses."""

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Write published memory, ignoring permissions. Raises AddressSpaceError for unmapped addresses."""


class HostMemory:
    """An address space without a CPU: link into it, then inspect the bytes.

    Addresses are allocated upwards from the architecture's `image_base`, with an unmapped page between regions.
    They are reused only when the end of the window is reached, so that stale pointers fault.
    """

    def __init__(self, arch: str | Architecture) -> None:
        self.architecture = arch if isinstance(arch, Architecture) else architecture(arch)
        self._regions: list[Region] = []  # by address
        self._starts: list[int] = []
        self._window = _window(self.architecture)
        self._cursor: int = self._window[0]
        #: (address, binary length of sizes) -> where the search from that address for a gap of such a size may
        #: begin: none of those before has so many bytes.
        self._gaps: dict[tuple[int, int], int] = {}
        self.changes = 0  #: number of times that regions or permissions may have changed
        self.given: U8 | None = None  #: zeroed host memory for the next region of this size, if set

    def set_window(self, start: int, size: int) -> None:
        """Allocate regions that need no certain address in [start, start + size) from now on."""
        self._window = start, start + size
        self._cursor = start

    @property
    def regions(self) -> Sequence[Region]:
        """All regions, by address."""
        return tuple(self._regions)

    def reserve(
        self, size: int, *, at: int | None = None, align: int = PAGE, below: int | None = None, name: str = ""
    ) -> Region:
        size = size + PAGE - 1 & -PAGE if size > 0 else PAGE
        align = align if align > PAGE else PAGE  # not `max`: each call counts in a small load
        self.changes += 1
        region: Region | None = None
        while True:
            changes = self.changes
            if at is not None:
                address = self._check_room(at, size)
            elif below is not None and below < self._window[1]:
                address = self._find_low_room(size, align, below)
            else:
                address = self._find_room(size, align)
            if region is None:
                fits = self.given is not None and len(self.given) == size
                buffer = self.given if fits and self.given is not None else host_pages(size)
                region = Region(address, size, buffer, name, mappable=True)
            index = bisect_right(self._starts, address)
            # No call from here on, at which a signal handler could raise, or load: the caller gets the region.
            if changes == self.changes:
                self.changes = changes + 1
                self._starts[index:index] = [address]
                self._regions[index:index] = [region]
                region.address = address
                return region

    def publish(self, region: Region, pages: Iterable[Pages]) -> None:
        self.changes += 1
        region.pages = tuple(pages)

    def publish_all(self, regions: Sequence[tuple[Region, tuple[Pages, ...]]]) -> None:
        """`publish` several regions."""
        for region, pages in regions:
            self.publish(region, pages)

    def release(self, region: Region) -> None:
        self._remove(region)
        self._give_back(region)

    def _remove(self, region: Region, again: bool = False) -> None:
        """Take a region out; where that may be done `again`, it may have been before."""
        index = self._index(region.address)
        if index < 0 or self._regions[index] is not region:
            if again:
                return
            raise AddressSpaceError("no such region", address=region.address, size=region.size)
        self.changes += 1
        if self._gaps:
            before = self._regions[index - 1] if index else None
            gap = 0 if before is None else before.address + before.size + PAGE
            for (low, length), begin in self._gaps.items():
                if begin > gap:
                    self._gaps[low, length] = gap if gap > low else low
        del self._starts[index], self._regions[index]
        region.released = True

    def _give_back(self, region: Region, most: int = 1 << 16) -> None:
        """Let another region have the host memory of one that is not mapped anywhere any more, if possible, and if
        it has no more than `most` bytes.
        """
        if region.has_file or region.foreign or region.discarded is not None:
            return
        buffer, region.buffer = region.buffer, _NO_MEMORY
        if not give_back(buffer, 1, most):
            region.buffer = buffer

    def region_at(self, address: int) -> Region | None:
        """The region that covers `address`."""
        index = self._index(address)
        region = self._regions[index] if index >= 0 else None
        return region if region is not None and address < region.address + region.size else None

    def _index(self, address: int) -> int:
        """The place of the last region that begins at or below an address, or -1: until the caller's next call, at
        which a signal handler could load or unload.
        """
        while True:
            changes = self.changes
            index = bisect_right(self._starts, address) - 1
            if changes == self.changes:
                return index

    def protection(self, address: int) -> Protection | None:
        """The permissions of the page at `address`; None when nothing is published there."""
        region = self.region_at(address)
        if region is not None:
            within = address - region.address
            for run in region.pages[overlapping(region.pages, within, within + 1)]:
                return run.protection
        return None

    def read(self, address: int, size: int) -> bytes:
        return self._bytes(address, size).tobytes()

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        self._bytes(address, len(data))[:] = np.frombuffer(data, np.uint8)

    def _bytes(self, address: int, size: int) -> U8:
        region = self.region_at(address)
        if size < 0:
            raise ValueError(f"a size is not negative: {size}")
        if region is None or not _covered(region.pages, address - region.address, size):
            raise AddressSpaceError("not mapped", address=address, size=size)
        return region.buffer[address - region.address : address - region.address + size]

    def _check_room(self, at: int, size: int) -> int:
        if at % PAGE:
            raise AddressSpaceError("not page-aligned", address=at, size=size)
        if at < 0 or at + size > self.architecture.address_mask + 1:
            raise AddressSpaceError("outside the address space", address=at, size=size)
        index = self._index(at)
        for neighbour in self._regions[index if index > 0 else 0 : index + 2]:
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
        for low in (_USUAL_LOW, _LOWEST):
            address = self._first_gap(low, below, size, align, known=True)
            if address is not None:
                return address
        raise AddressSpaceError(f"no room below {below:#x}", size=size)

    def _first_gap(self, low: int, high: int, size: int, align: int, *, known: bool = False) -> int | None:
        """The first aligned address with room in [low, high). `known`: begin where the first gap of about this
        size was in an earlier search from `low`.
        """
        key, length, gap, changes = (low, 0), 0, None, self.changes
        if known:
            key = low, size.bit_length()
            low, length = self._gaps.get(key, low), 1 << key[1] - 1
        address = (low + align - 1) & -align
        index = self._index(address)
        for region in self._regions[index if index > 0 else 0 :]:
            if length and gap is None and address + length + PAGE <= region.address:
                gap = address
            if address + size + PAGE <= region.address:
                break
            if (after := region.address + region.size + PAGE) > address:
                address = (after + align - 1) & -align
        if known and align == PAGE and changes == self.changes:
            self._gaps[key] = address if gap is None else gap
        return address if address + size <= high else None


def _covered(pages: Sequence[Pages], begin: int, size: int) -> bool:
    """Whether `size` bytes from `begin` (an offset in the region) are all in published pages."""
    end = begin + size
    for offset, length, _ in pages[overlapping(pages, begin, end)]:
        if offset <= begin < offset + length:
            begin = offset + length
    return begin >= end and size >= 0


def overlapping(pages: Sequence[Pages], low: int, high: int) -> slice:
    """The indices of those page ranges, which are in ascending order, that overlap the offsets [low, high)."""
    first = bisect_left(pages, (low,))
    if first and pages[first - 1].offset + pages[first - 1].size > low:
        first -= 1
    return slice(first, max(bisect_left(pages, (high,)), first))


def _window(arch: Architecture) -> tuple[int, int]:
    """The address range in which `HostMemory` allocates regions."""
    return arch.image_base, 0xF000_0000 if arch.bits == 32 else 0x7000_0000_0000

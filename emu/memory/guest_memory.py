"""The machine's memory: the linker's regions, published into the CPU.

Up to `publish` a region is host memory only. From then on the CPU has it: an engine that shares memory maps
the very buffer the linker filled, another one takes a copy. Reads and writes go through the engine, which
knows what it has translated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

from emu.cpu.protocol import Cpu
from relink.arch import Architecture
from relink.errors import AddressSpaceError
from relink.memory.address_space import PAGE, HostMemory, Pages, Protection, Region, page_ceil

_CHUNK = 256  #: bytes read at a time when looking for the end of a string


def _split(run: Pages, low: int, high: int) -> Iterator[tuple[Pages, bool]]:
    """A run of pages cut at the offsets `low` and `high`: (piece, whether it lies between them)."""
    edges = sorted({run.offset, run.offset + run.size, *(e for e in (low, high) if 0 < e - run.offset < run.size)})
    for start, end in pairwise(edges):
        yield Pages(start, end - start, run.protection), low <= start < high


class GuestMemory(HostMemory):
    """Guest memory: an `AddressSpace` for the linker, plain reads and writes for everyone else."""

    def __init__(self, arch: Architecture, cpu: Cpu) -> None:
        super().__init__(arch)
        self._cpu = cpu
        self._anonymous: dict[int, Region] = {}

    # ------------------------------------------------------------ for the linker

    def publish(self, region: Region, pages: Iterable[Pages]) -> None:
        mapped: list[Pages] = []
        try:
            for run in pages:
                offset, size, protection = run
                self._cpu.map(region.address + offset, size, protection, region.buffer[offset : offset + size])
                mapped.append(run)
        finally:
            super().publish(region, mapped)

    def release(self, region: Region) -> None:
        super().release(region)
        for offset, size, _ in region.pages:
            self._cpu.unmap(region.address + offset, size)
        region.pages = ()

    def read(self, address: int, size: int) -> bytes:
        return self._cpu.read(address, size)

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        self._cpu.write(address, data)

    # ------------------------------------------------------------ for everyone else

    def map_anonymous(
        self,
        size: int,
        protection: Protection = Protection.R | Protection.W,
        *,
        name: str = "",
        at: int | None = None,
    ) -> int:
        """Map `size` bytes (rounded up to pages) of zeroed memory and give its address.

        Raises AddressSpaceError if there is no room, or if `at` is taken.
        """
        region = self.reserve(size, at=at, name=name)
        try:
            self.publish(region, [Pages(0, region.size, protection)])
        except AddressSpaceError:
            self.release(region)
            raise
        self._anonymous[region.address] = region
        return region.address

    def unmap(self, address: int) -> None:
        """Give back what `map_anonymous` returned. Raises AddressSpaceError for any other address."""
        region = self._anonymous.pop(address, None)
        if region is None:
            raise AddressSpaceError("not the start of an anonymous mapping", address=address)
        self.release(region)

    # ------------------------------------------------------------ page by page, as a kernel does

    def map_over(self, address: int, size: int, protection: Protection, *, name: str = "") -> None:
        """Map zeroed memory at exactly [address, address + size), whatever lay there (mmap's MAP_FIXED).

        Raises AddressSpaceError if the range is not one of pages within the address space.
        """
        size = page_ceil(size)
        self.check_range(address, size)
        self.unmap_pages(address, size)
        position, end = address, address + size
        for region in self._within(address, size):
            if position < region.address:
                self.map_anonymous(region.address - position, protection, name=name, at=position)
            position = min(region.end, end)
            offset = max(address, region.address) - region.address
            run = Pages(offset, position - region.address - offset, protection)
            buffer = region.buffer[run.offset : run.offset + run.size]
            buffer[:] = 0
            self._cpu.map(region.address + run.offset, run.size, protection, buffer)
            region.pages = tuple(sorted((*region.pages, run)))
        if position < end:
            self.map_anonymous(end - position, protection, name=name, at=position)

    def unmap_pages(self, address: int, size: int) -> None:
        """Unmap what is mapped in [address, address + size), whoever mapped it (munmap).

        A region of `map_anonymous` that has no page left is given back; an image keeps its addresses.
        """
        for region in self._within(address, size):
            kept = []
            for run in region.pages:
                for piece, inside in _split(run, address - region.address, address + size - region.address):
                    if inside:
                        self._cpu.unmap(region.address + piece.offset, piece.size)
                    else:
                        kept.append(piece)
            region.pages = tuple(kept)
            if not kept and self._anonymous.get(region.address) is region:
                self.unmap(region.address)

    def protect_pages(self, address: int, size: int, protection: Protection) -> None:
        """Change permissions (mprotect). Raises AddressSpaceError, nothing changed, where nothing is mapped."""
        if not self.is_mapped(address, size):
            raise AddressSpaceError("not mapped", address=address, size=size)
        for region in self._within(address, size):
            low, high = address - region.address, address + size - region.address
            pages = []
            for run in region.pages:
                for piece, inside in _split(run, low, high):
                    if inside:
                        self._cpu.protect(region.address + piece.offset, piece.size, protection)
                    pages.append(piece._replace(protection=protection) if inside else piece)
            region.pages = tuple(pages)

    def is_free(self, address: int, size: int) -> bool:
        """Whether nothing is mapped in [address, address + size)."""
        return self._mapped(address, size) == 0

    def is_mapped(self, address: int, size: int) -> bool:
        """Whether all of [address, address + size) is mapped."""
        return self._mapped(address, size) == size

    def _mapped(self, address: int, size: int) -> int:
        """How many bytes of [address, address + size), whole pages, are mapped."""
        return sum(
            piece.size
            for region in self._within(address, size)
            for run in region.pages
            for piece, inside in _split(run, address - region.address, address + size - region.address)
            if inside
        )

    def check_range(self, address: int, size: int) -> None:
        """Raise AddressSpaceError unless [address, address + size) is whole pages a guest may map."""
        if address % PAGE or size % PAGE or size <= 0 or address + size > self.architecture.address_mask + 1:
            raise AddressSpaceError("not a range of pages", address=address, size=size)

    def _within(self, address: int, size: int) -> list[Region]:
        """The regions that share an address with [address, address + size)."""
        return [region for region in self.regions if region.address < address + size and address < region.end]

    def read_uint(self, address: int, size: int) -> int:
        """A little-endian unsigned integer of `size` bytes."""
        return int.from_bytes(self._cpu.read(address, size), "little")

    def write_uint(self, address: int, size: int, value: int) -> None:
        """Store the low `size` bytes of `value`, little-endian."""
        self._cpu.write(address, (value & ((1 << 8 * size) - 1)).to_bytes(size, "little"))

    def read_cstring(self, address: int, limit: int = 1 << 24) -> bytes:
        """The bytes from `address` up to a NUL (left out), touching no page past it.

        Raises AddressSpaceError if memory ends first, or if there is no NUL within `limit` bytes.
        """
        pieces = []
        start = address
        while address - start < limit:
            size = min(_CHUNK, PAGE - address % PAGE, limit - (address - start))
            piece = self._cpu.read(address, size)
            end = piece.find(0)
            if end >= 0:
                pieces.append(piece[:end])
                return b"".join(pieces)
            pieces.append(piece)
            address += size
        raise AddressSpaceError(f"no NUL within {limit} bytes", address=start)

"""The machine's memory: the linker's regions, published into the CPU.

Up to `publish` a region is host memory only. From then on the CPU has it: an engine that shares memory maps
the very buffer the linker filled, another one takes a copy. Reads and writes go through the engine, which
knows what it has translated.
"""

from __future__ import annotations

from collections.abc import Iterable

from emu.cpu import Cpu
from relink.arch import Architecture
from relink.errors import AddressSpaceError
from relink.memory import PAGE, HostMemory, Pages, Protection, Region

_CHUNK = 256  #: bytes read at a time when looking for the end of a string


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
        self, size: int, protection: Protection = Protection.R | Protection.W, *, name: str = "",
        at: int | None = None,
    ) -> int:  # fmt: skip
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

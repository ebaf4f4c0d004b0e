"""The memory of a board as data: RAM, ROM, flash and devices at fixed addresses.

    memory = [Rom(0x0800_0000, 128 << 10), Ram(0x2000_0000, 20 << 10)]

RAM and ROM consist of whole pages of 4 KiB. Devices may begin and end at any byte, several in one page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from emu.boards.errors import MemoryMapError
from relink.arrays import U8
from relink.memory.address_space import PAGE, Protection
from relink.records import dataclass

if TYPE_CHECKING:
    from emu.ports import Layout

RW, RX, RWX = Protection.R | Protection.W, Protection.R | Protection.X, Protection.R | Protection.W | Protection.X


class Pages(Protocol):
    """A flash memory that can be mapped (`emu.boards.flash.Flash`)."""

    base: int
    name: str
    pages: U8  #: the whole memory
    changed: list[Callable[[int, int], object]]  #: called with the address and size of what has changed

    @property
    def size(self) -> int: ...

    def preset(self, address: int, data: bytes) -> None:
        """Set bytes, without the rules of programming."""


@dataclass(frozen=True)
class Region:
    """`size` bytes of memory at `start`. `contents` is the host's memory of it, page-aligned; None: new and
    zero."""

    start: int
    size: int
    protection: Protection
    name: str
    contents: U8 | None = None
    erased: int = 0  #: the byte that fills new memory
    flash: Pages | None = None  #: the flash memory that it is

    @property
    def end(self) -> int:
        return self.start + self.size

    def holds(self, address: int, size: int = 1) -> bool:
        return self.start <= address and address + size <= self.end

    def __str__(self) -> str:
        if isinstance(self.start, int) and isinstance(self.size, int):
            return f"{self.name} [{self.start:#x}, {self.end:#x})"
        return f"{self.name} at {self.start!r} of {self.size!r} bytes"


def Ram(start: int, size: int, name: str = "ram", *, executable: bool = True) -> Region:  # noqa: N802
    """RAM; zero at power-on."""
    return Region(start, size, RWX if executable else RW, name)


def Rom(start: int, size: int, name: str = "rom") -> Region:  # noqa: N802
    """Memory that the guest cannot write; 0xFF where nothing was loaded."""
    return Region(start, size, RX, name, erased=0xFF)


def FlashMemory(flash: Pages) -> Region:  # noqa: N802
    """A flash memory at its base, for reading and execution in place. Writes of the guest fault; it programs the
    flash through a device's registers. Raises MemoryMapError for what is no flash model.
    """
    if not (hasattr(flash, "pages") and hasattr(flash, "preset")):
        raise MemoryMapError(f"{flash!r} is no flash model that can be mapped (emu.boards.flash)")
    return Region(flash.base, flash.size, RX, flash.name, flash.pages, flash=flash)


def hold(regions: Iterable[Region], address: int, size: int) -> bool:
    """Whether regions, in ascending order, have all these bytes: one of them, or several that touch."""
    end = address + size
    for region in regions:
        if region.holds(address):
            address = region.end
    return address >= end


class Placed(Protocol):
    """A device with its size."""

    size: int
    name: str


def check_kinds(regions: Sequence[object], devices: Mapping[int, object], kind: type) -> None:
    """Raise MemoryMapError for what is no region and no address of a device of this kind."""
    if not isinstance(regions, Sequence):
        raise MemoryMapError(f"the memory of a board is a list of regions, not {regions!r}")
    if not isinstance(devices, Mapping):
        raise MemoryMapError(f"the devices of a board are a mapping by address, not {devices!r}")
    for region in regions:
        if not isinstance(region, Region):
            raise MemoryMapError(f"{region!r} is no region of memory: Ram, Rom and FlashMemory make them")
        if not isinstance(region.start, int) or not isinstance(region.size, int):
            raise MemoryMapError(f"{region}: both must be integers")
    places: dict[int, int] = {}
    for address, device in devices.items():
        if not isinstance(device, kind) or not isinstance(address, int):
            raise MemoryMapError(f"{device!r} at {address!r}: devices are instances of {kind.__name__} by address")
        if id(device) in places:
            where = f"{places[id(device)]:#x} and {address:#x}"
            raise MemoryMapError(f"the same {getattr(device, 'name', kind.__name__)} is at {where}: make two")
        places[id(device)] = address
        irq = getattr(device, "irq", None)
        if irq is not None and (not isinstance(irq, int) or isinstance(irq, bool)):
            raise MemoryMapError(
                f"the interrupt line of {getattr(device, 'name', device)!r} is a number, not {irq!r}"
            )


def check_ports(ports: Mapping[int, Placed], own: Mapping[int, Placed] | None, cpu: str, kind: type) -> None:
    """Raise MemoryMapError for devices at I/O ports that a CPU with `own` ones (None: without) cannot have."""
    if ports and own is None:
        raise MemoryMapError(f"{cpu} has no I/O ports: its devices are at addresses of memory")
    check_kinds((), ports, kind)
    ranges = []
    for port, device in (*ports.items(), *(own or {}).items()):
        if port < 0 or port + device.size > 1 << 16:
            raise MemoryMapError(f"{device.name} at port {port:#x} lies outside the 65,536 ports")
        ranges.append((port, port + device.size, f"{device.name} at port {port:#x}"))
    _check_overlaps(ranges)


def check(regions: Sequence[Region], devices: Mapping[int, Placed], mask: int) -> None:
    """Raise MemoryMapError for a map that no board can have."""
    for region in regions:
        _check_range(str(region), region.start, region.size, mask)
        if region.start % PAGE or region.size % PAGE:
            raise MemoryMapError(f"{region} does not consist of whole pages of {PAGE} bytes")
    for address, device in devices.items():
        _check_range(f"{device.name} at {address:#x}", address, device.size, mask)
    ranges = [(region.start, region.end, str(region)) for region in regions]
    for address, device in devices.items():
        ranges.append((address, address + device.size, f"{device.name} at {address:#x}"))
    _check_overlaps(ranges)
    _check_overlaps(
        [(region.start, region.end, str(region)) for region in regions]
        + [(low, high, "the pages of devices") for low, high in device_pages(devices)]
    )


def check_layout(layout: Layout, regions: Sequence[Region], mask: int) -> None:
    """Raise MemoryMapError for places of the machine's own memory that no board can have."""
    for name in ("traps", "window", "stack"):
        place = getattr(layout, name)
        if place is None:
            continue
        if not (isinstance(place, tuple) and len(place) == 2 and all(isinstance(each, int) for each in place)):
            raise MemoryMapError(f"{name}={place!r} is no pair of an address and a size")
        _check_range(f"{name} at {place[0]:#x}", *place, mask)
    traps = layout.traps
    for region in regions:
        if traps is not None and region.start < sum(traps) and traps[0] < region.end:
            raise MemoryMapError(f"{region} overlaps the trap range [{traps[0]:#x}, {sum(traps):#x})")


def _check_range(what: str, start: int, size: int, mask: int) -> None:
    if size <= 0:
        raise MemoryMapError(f"{what} has no size")
    if start < 0 or start + size > mask + 1:
        raise MemoryMapError(f"{what} lies outside the address space, which ends at {mask:#x}")


def _check_overlaps(ranges: Iterable[tuple[int, int, str]]) -> None:
    before = (0, 0, "")
    for each in sorted(ranges):
        if each[0] < before[1]:
            raise MemoryMapError(f"{each[2]} overlaps {before[2]}")
        before = each


def device_pages(devices: Mapping[int, Placed]) -> list[tuple[int, int]]:
    """The ranges of whole pages that devices touch, merged."""
    merged: list[tuple[int, int]] = []
    for address in sorted(devices):
        low, high = address & -PAGE, -(-(address + devices[address].size) // PAGE) * PAGE
        if merged and low <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(high, merged[-1][1])
        else:
            merged.append((low, high))
    return merged

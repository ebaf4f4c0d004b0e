"""The bus: accesses of the guest to addresses of devices, and which device they belong to."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping

from emu.boards.device import Device
from emu.boards.errors import DeviceError
from emu.cpu.protocol import Access, Deferred, DeviceCpu, NoDevice
from relink.errors import AddressSpaceError

_MOST_CACHED = 1 << 16


class Bus:
    """A `DevicePort` of several devices by address."""

    def __init__(self, devices: Mapping[int, Device]) -> None:
        self._devices = sorted(devices.items())
        self._starts = [start for start, _ in self._devices]
        #: (address, size) -> device and offset, for accesses that were found to be allowed
        self._reads: dict[tuple[int, int], tuple[Device, int]] = {}
        self._writes: dict[tuple[int, int], tuple[Device, int]] = {}
        self.failed: tuple[Device, BaseException] | None = None  #: the last device that has raised, and what
        self.outside = False  #: whether an access is performed that was deferred

    def read(self, address: int, size: int) -> int:
        place = (address, size)
        found = self._reads.get(place)
        if found is None:
            found = self._find(self._reads, "read", address, size)
        device, offset = found
        if device.calls_guest and not self.outside:
            raise Deferred
        try:
            value = device.read(offset, size)
        except BaseException as error:
            self.failed = device, error
            raise
        if value is None:
            raise DeviceError(f"the read of {size} bytes at {device.name}+{offset:#x} gave None")
        return value

    def write(self, address: int, size: int, value: int) -> None:
        place = (address, size)
        found = self._writes.get(place)
        if found is None:
            found = self._find(self._writes, "write", address, size)
        device, offset = found
        if device.calls_guest and not self.outside:
            raise Deferred
        try:
            device.write(offset, size, value)
        except BaseException as error:
            self.failed = device, error
            raise

    def unaligned(self, write: bool, address: int, size: int) -> None:
        device = self.device_at(address)
        if device is not None:
            device.check("write" if write else "read", address - device.base, size)

    def perform(self, access: Access) -> int:
        """An access that was deferred."""
        self.outside = True
        try:
            if access.write:
                self.write(access.address, access.size, access.value)
                return 0
            return self.read(access.address, access.size)
        finally:
            self.outside = False

    def device_at(self, address: int) -> Device | None:
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return None
        start, device = self._devices[index]
        return device if address < start + device.size else None

    def _find(
        self, cache: dict[tuple[int, int], tuple[Device, int]], kind: str, address: int, size: int
    ) -> tuple[Device, int]:
        device = self.device_at(address)
        if device is None:
            raise NoDevice
        offset = address - device.base
        device.check(kind, offset, size)
        if offset + size > device.size:
            raise NoDevice
        if len(cache) > _MOST_CACHED:
            cache.clear()
        cache[address, size] = found = device, offset
        return found


class SystemBus:
    """Memory and devices as a device sees them that accesses memory itself, such as DMA (`Device.bus`).

    Raises NoDevice where there is neither, which is a fault of the guest in a device's `read` or `write`.
    """

    def __init__(self, bus: Bus, cpu: DeviceCpu) -> None:
        self._bus, self._cpu = bus, cpu

    def device_at(self, address: int) -> Device | None:
        return self._bus.device_at(address)

    def read(self, address: int, size: int) -> int:
        """`size` bytes of a device's register, or of memory, as a little-endian number."""
        if self._bus.device_at(address) is not None:
            return self._bus.read(address, size)
        try:
            return int.from_bytes(self._cpu.load(address, size), "little")
        except AddressSpaceError:
            raise NoDevice from None

    def write(self, address: int, size: int, value: int) -> None:
        if self._bus.device_at(address) is not None:
            self._bus.write(address, size, value)
            return
        try:
            self._cpu.store(address, (value & (1 << 8 * size) - 1).to_bytes(size, "little"))
        except AddressSpaceError:
            raise NoDevice from None

"""Bit-banding (Cortex-M3 TRM, 3.7): a word for each bit of a megabyte.

A read gives the bit, a write changes it: bit n of the byte at 0x20000000 + m has its word at 0x22000000 + 32 m +
4 n; peripherals at 0x40000000 theirs at 0x42000000. The byte is read and written with the guest's permissions,
through a device where there is one.
"""

from __future__ import annotations

from emu.boards.device import Device

ALIASES = {0x2200_0000: 0x2000_0000, 0x4200_0000: 0x4000_0000}


class BitBand(Device):
    """The words of the bits of one megabyte at `target`."""

    size = 32 << 20

    def __init__(self, target: int) -> None:
        super().__init__(name=f"bit-band of {target:#x}")
        self._target = target

    def read(self, offset: int, size: int) -> int:
        address, place, width = self._place(offset)
        return self.bus.read(address, width) >> place & 1 if offset % 4 == 0 else 0

    def write(self, offset: int, size: int, value: int) -> None:
        if offset % 4 == 0:
            address, place, width = self._place(offset)
            word = self.bus.read(address, width) & ~(1 << place)
            self.bus.write(address, width, word | (value & 1) << place)

    def _place(self, offset: int) -> tuple[int, int, int]:
        """The address, bit and size of what has the bit: a byte of memory, or a device's whole register."""
        address, bit = self._target + offset // 32, offset // 4 % 8
        if self.bus.device_at(address) is None:
            return address, bit, 1
        return address & ~3, 8 * (address & 3) + bit, 4

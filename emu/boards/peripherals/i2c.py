"""An I²C controller, and an EEPROM with an address of two bytes (24LC64 and its kin)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from emu.boards.device import Device, check_connected
from emu.boards.errors import BoardError
from emu.boards.registers import Register


class I2cDevice(Protocol):
    """A device that is connected to an I²C bus."""

    def start(self, reading: bool) -> bool:
        """A start condition with this device's address; whether it acknowledges."""

    def write(self, byte: int) -> bool:
        """A byte from the controller; whether the device acknowledges."""

    def read(self) -> int:
        """A byte for the controller."""

    def stop(self) -> None:
        """A stop condition."""


class I2cController(Device):
    """Registers: command 0 (1 start, 2 write, 3 read, 4 stop), data 4, status 8 (bit 0: acknowledged).

    A start sends `data`, an address with the direction in bit 0; commands are done at once.
    """

    size = 0x0C
    command = Register(0x00, writable=0)
    data = Register(0x04, writable=0xFF)
    status = Register(0x08, writable=0)

    def __init__(self, devices: Mapping[int, I2cDevice], *, name: str = "i2c") -> None:
        super().__init__(name=name)
        if not isinstance(devices, Mapping):
            raise BoardError(f"what is connected to {name} is a mapping of devices by address, not {devices!r}")
        check_connected(devices.values(), name, ("start", "write", "read", "stop"))
        self.connected = dict(devices)
        self._address: int | None = None

    @command.on_write
    def _command(self, value: int) -> None:
        chosen = self.connected.get(self._address) if self._address is not None else None
        self.status = 0
        if value == 1:
            self._address = self.data >> 1
            chosen = self.connected.get(self._address)
            self.status = int(chosen is not None and chosen.start(bool(self.data & 1)))
        elif value == 2 and chosen is not None:
            self.status = int(chosen.write(self.data))
        elif value == 3:
            self.data, self.status = (chosen.read(), 1) if chosen is not None else (0xFF, 0)
        elif value == 4 and chosen is not None:
            chosen.stop()
            self._address = None

    def reset(self) -> None:
        super().reset()
        self._address = None


class I2cEeprom:
    """`size` bytes, erased to 0xFF, written in pages: a write goes around at the end of its page, and happens at
    the stop condition. `power_cycle` loses a write without one.
    """

    def __init__(self, size: int = 8 << 10, page: int = 32) -> None:
        self.contents = bytearray(b"\xff" * size)
        self.page = page
        self._address = self._received = 0
        self._pending: dict[int, int] = {}

    def start(self, reading: bool) -> bool:
        if not reading:
            self._received = 0
        return True

    def write(self, byte: int) -> bool:
        size = len(self.contents)
        if self._received < 2:
            self._address = (self._address << 8 | byte) & 0xFFFF
            self._received += 1
        else:
            self._pending[self._address % size] = byte
            start = self._address // self.page * self.page
            self._address = start + (self._address + 1 - start) % self.page
        return True

    def read(self) -> int:
        byte = self.contents[self._address % len(self.contents)]
        self._address += 1
        return byte

    def stop(self) -> None:
        for address, byte in self._pending.items():
            self.contents[address] = byte
        self._pending.clear()

    def power_cycle(self) -> None:
        self._pending.clear()

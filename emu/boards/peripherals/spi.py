"""A SPI controller, and a serial NOR flash with the usual commands (JESD216: 03h, 02h, 20h, D8h, 9Fh ...)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from emu.boards.device import Device, check_connected
from emu.boards.errors import BoardError, NotModelled
from emu.boards.flash import NorFlash
from emu.boards.registers import Register


class SpiDevice(Protocol):
    """A device that is connected to a SPI controller."""

    def select(self) -> None:
        """Chip select goes low: a command begins."""

    def transfer(self, byte: int) -> int:
        """Take a byte, and return the one sent at the same time."""

    def deselect(self) -> None:
        """Chip select goes high: a command ends."""

    def power_cycle(self) -> None: ...


class SpiController(Device):
    """Registers: data 0, status 4 (bit 0: a byte was received), select 8 (bit n: device n is selected).

    A write to data transfers a byte at once; a read gives what came back.
    """

    size = 0x0C
    data = Register(0x00, writable=0)
    status = Register(0x04, writable=0)
    selected = Register(0x08)

    def __init__(self, devices: Sequence[SpiDevice], *, name: str = "spi") -> None:
        super().__init__(name=name)
        if not isinstance(devices, Sequence):
            raise BoardError(f"what is connected to {name} is a list of devices, not {devices!r}")
        check_connected(devices, name, ("select", "transfer", "deselect"))
        self.connected = tuple(devices)
        self._chosen = 0

    @data.on_write
    def _transfer(self, value: int) -> None:
        received = 0xFF
        for number, device in enumerate(self.connected):
            if self._chosen >> number & 1:
                received &= device.transfer(value & 0xFF)
        self.data, self.status = received, 1

    @data.on_read
    def _received(self) -> int:
        self.status = 0
        return self.data

    @selected.on_write
    def _select(self, value: int) -> None:
        before, self._chosen = self._chosen, value
        for number, device in enumerate(self.connected):
            if (before ^ value) >> number & 1:
                if value >> number & 1:
                    device.select()
                else:
                    device.deselect()

    def reset(self) -> None:
        super().reset()
        self._chosen = 0


_WRITE_STATUS, _PROGRAM, _READ, _WRITE_DISABLE, _READ_STATUS, _WRITE_ENABLE, _FAST_READ = 1, 2, 3, 4, 5, 6, 0x0B
_ERASES = {0x20: 4 << 10, 0x52: 32 << 10, 0xD8: 64 << 10}
_CHIP_ERASES, _IDENTIFY = (0xC7, 0x60), 0x9F
_PROTECTED = 0x1C  #: of the status register: which blocks cannot be changed
_ADDRESSED = (_PROGRAM, _READ, _FAST_READ, *_ERASES)


class SpiNor:
    """A serial NOR flash of `flash`, whose base is 0. `identity` are the three bytes of command 9Fh.

    Programs and erases need a write-enable before each, and happen when the command ends. They take no time: the
    busy bit is never seen. The flash raises for what it refuses.
    """

    def __init__(self, flash: NorFlash, *, identity: bytes = b"\xef\x40\x14") -> None:
        self.flash, self.identity = flash, identity
        self._command: int | None = None
        self._bytes = bytearray()
        self._enabled = False

    def power_cycle(self) -> None:
        self._enabled = False
        self.flash.power_cycle()

    def select(self) -> None:
        self._command = None
        self._bytes.clear()

    def transfer(self, byte: int) -> int:
        if self._command is None:
            self._command = byte
            return 0xFF
        self._bytes.append(byte)
        position = len(self._bytes) - 1
        if self._command == _READ_STATUS:
            return 2 if self._enabled else 0
        if self._command == _IDENTIFY:
            return self.identity[position] if position < len(self.identity) else 0
        start = {_READ: 3, _FAST_READ: 4}.get(self._command)
        if start is None or position < start:
            return 0xFF
        address = (self._address + position - start) % self.flash.size
        return self.flash.read(address, 1)[0]

    @property
    def _address(self) -> int:
        return int.from_bytes(self._bytes[:3], "big") % self.flash.size

    def deselect(self) -> None:
        command, self._command = self._command, None
        if command in (_WRITE_ENABLE, _WRITE_DISABLE):
            self._enabled = command == _WRITE_ENABLE
        elif command is not None and self._enabled:
            self._change(command)

    def _change(self, command: int) -> None:
        if command in _ADDRESSED and len(self._bytes) < 3:
            return
        if command == _PROGRAM:
            self._enabled = False
            self.flash.program(self._address, bytes(self._bytes[3:]))
        elif command in _ERASES:
            self._enabled = False
            size = _ERASES[command]
            self.flash.erase(self._address // size * size, size)
        elif command in _CHIP_ERASES:
            self._enabled = False
            self.flash.erase(0, self.flash.size)
        elif command == _WRITE_STATUS and self._bytes:
            self._enabled = False
            if self._bytes[0] & _PROTECTED:
                raise NotModelled(f"protection of blocks of a serial flash: status register {self._bytes[0]:#04x}")

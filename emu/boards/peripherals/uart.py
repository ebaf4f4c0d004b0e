"""A UART: bytes out at once, bytes in from a queue."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from emu.boards.device import Device
from emu.boards.registers import Register


class Uart(Device):
    """Registers: data 0, status 4, control 8, baud 12.

    Status: bit 0 a byte can be read, bit 1 a byte can be written (always), bit 2 a received byte was lost.
    Control: bit 0 interrupts while there is a byte to read, bit 1 while one can be written. `depth` bytes are
    kept for the guest. `output` has all bytes written; `on_byte` is called with each and may raise.
    """

    size = 0x10
    data = Register(0x00)
    status = Register(0x04, writable=0, clears=4, reset=2)
    readable, lost = status.field(0), status.field(2)
    control = Register(0x08, writable=3)
    baud = Register(0x0C)

    def __init__(
        self,
        *,
        irq: int | None = None,
        name: str = "uart",
        depth: int = 16,
        on_byte: Callable[[int], object] | None = None,
    ) -> None:
        super().__init__(irq=irq, name=name)
        self.output = bytearray()
        self.waiting: deque[int] = deque()
        self.depth, self.on_byte = depth, on_byte

    @property
    def text(self) -> str:
        return self.output.decode("utf-8", "replace")

    def receive(self, data: bytes | str) -> None:
        """Bytes arrive for the guest."""
        for byte in data.encode() if isinstance(data, str) else data:
            if len(self.waiting) >= self.depth:
                self.lost = 1
            else:
                self.waiting.append(byte)
        self._update()

    @data.on_read
    def _read(self) -> int:
        byte = self.waiting.popleft() if self.waiting else 0
        self._update()
        return byte

    @data.on_write
    def _write(self, value: int) -> None:
        self.output.append(value & 0xFF)
        if self.on_byte is not None:
            self.on_byte(value & 0xFF)

    @control.on_write
    def _control(self, value: int) -> None:
        self._update()

    def _update(self) -> None:
        self.readable = bool(self.waiting)
        self.interrupt(bool(self.control & self.status & 3))

    def reset(self) -> None:
        super().reset()
        self.waiting.clear()
        self.interrupt(False)

"""The 16550A UART (National Semiconductor PC16550D data sheet), at ports of a PC and in memory elsewhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from emu.boards.device import Device

_DATA, _ENABLE, _IDENTIFY, _LINE, _MODEM, _STATUS, _MODEM_STATUS, _SCRATCH = range(8)
_LATCH = 0x80  #: of the line control: the first two registers are the divisor
_RECEIVED, _EMPTY, _ERRORS = 1, 2, 4  #: interrupts that are enabled; 8, of the modem lines, does not come
_READY, _OVERRUN, _BREAKS, _IDLE = 0x01, 0x02, 0x1E, 0x60  #: of the line status
_LOOP = 0x10


class Uart16550(Device):
    """Bytes are sent at once. `output` has all, `on_byte` is called with each and may raise; `receive` lets bytes
    arrive. A register takes `1 << stride` bytes (8250s in memory often have them at each word: stride 2).
    """

    def __init__(
        self,
        *,
        irq: int | None = None,
        name: str = "uart",
        stride: int = 0,
        on_byte: Callable[[int], object] | None = None,
    ) -> None:
        super().__init__(irq=irq, name=name)
        self._stride, self.size = stride, 8 << stride
        self.widths = (1,) if not stride else (1, 2, 4)
        self.output, self.on_byte = bytearray(), on_byte
        self.waiting: deque[int] = deque()
        self._clear()

    def _clear(self) -> None:
        self._enable = self._line_control = self._modem = self._scratch = self._fifo = 0
        self._divisor, self._status = 12, 0
        self._was_empty = False  #: whether "transmitter empty" is an interrupt that was not looked at

    @property
    def text(self) -> str:
        return self.output.decode("utf-8", "replace")

    def reset(self) -> None:
        super().reset()
        self.waiting.clear()
        self._clear()
        self.interrupt(False)

    def receive(self, data: bytes | str) -> None:
        """Bytes arrive for the guest."""
        depth = 16 if self._fifo & 1 else 1
        for byte in data.encode() if isinstance(data, str) else data:
            if len(self.waiting) >= depth:
                self._status |= _OVERRUN
            else:
                self.waiting.append(byte)
        self._update()

    def _cause(self) -> int:
        """The identification of the most urgent interrupt; 1: none."""
        if self._enable & _ERRORS and self._status & _BREAKS:
            return 6
        if self._enable & _RECEIVED and self.waiting:
            return 4
        return 2 if self._enable & _EMPTY and self._was_empty else 1

    def _update(self) -> None:
        self.interrupt(self._cause() != 1)

    def read(self, offset: int, size: int) -> int:
        register = offset >> self._stride
        latched = self._line_control & _LATCH
        value = 0
        if register == _DATA:
            value = self._divisor & 0xFF if latched else self.waiting.popleft() if self.waiting else 0
        elif register == _ENABLE:
            value = self._divisor >> 8 if latched else self._enable
        elif register == _IDENTIFY:
            value = self._cause()
            if value == 2:
                self._was_empty = False
            value |= 0xC0 if self._fifo & 1 else 0
        elif register == _STATUS:
            value = self._status | _IDLE | (_READY if self.waiting else 0)
            self._status = 0
        elif register == _MODEM_STATUS:
            value = self._modem_status()
        else:
            value = {_LINE: self._line_control, _MODEM: self._modem}.get(register, self._scratch)
        self._update()
        return value

    def _modem_status(self) -> int:
        """DCD, DSR and CTS are there; in loop mode they are the outputs."""
        if not self._modem & _LOOP:
            return 0xB0
        outputs = self._modem
        return (outputs & 2) << 3 | (outputs & 1) << 5 | (outputs & 4) << 4 | (outputs & 8) << 4

    def write(self, offset: int, size: int, value: int) -> None:
        register, value = offset >> self._stride, value & 0xFF
        latched = self._line_control & _LATCH
        if register == _DATA and latched:
            self._divisor = self._divisor & 0xFF00 | value
        elif register == _DATA:
            self._send(value)
        elif register == _ENABLE and latched:
            self._divisor = self._divisor & 0xFF | value << 8
        elif register == _ENABLE:
            self._was_empty |= bool(value & ~self._enable & _EMPTY)
            self._enable = value & 0xF
        elif register == _IDENTIFY:
            self._fifo = value & 1
            if value & 2:
                self.waiting.clear()
        elif register == _LINE:
            self._line_control = value
        elif register == _MODEM:
            self._modem = value & 0x1F
        elif register == _SCRATCH:
            self._scratch = value
        self._update()

    def _send(self, byte: int) -> None:
        if self._modem & _LOOP:
            self.receive(bytes((byte,)))
        else:
            self.output.append(byte)
            if self.on_byte is not None:
                self.on_byte(byte)
        self._was_empty = False  # for an edge: the byte is sent
        self._update()
        self._was_empty = True

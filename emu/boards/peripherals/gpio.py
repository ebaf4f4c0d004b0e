"""A port of 32 pins."""

from __future__ import annotations

from collections.abc import Callable

from emu.boards.device import Device
from emu.boards.registers import Register


class Gpio(Device):
    """Registers: direction 0 (1: output), output 4, input 8, set 12, clear 16, and for interrupts rising 20,
    falling 24 (pins whose edges count) and pending 28 (a one clears).

    `drive` sets what is connected from outside; `on_output` is called with the pins that the guest drives.
    """

    size = 0x20
    direction, output = Register(0x00), Register(0x04)
    pins = Register(0x08, writable=0)
    set_bits, clear_bits = Register(0x0C, writable=0), Register(0x10, writable=0)
    rising, falling = Register(0x14), Register(0x18)
    pending = Register(0x1C, writable=0, clears=0xFFFF_FFFF)

    def __init__(
        self, *, irq: int | None = None, name: str = "gpio", on_output: Callable[[int], object] | None = None
    ) -> None:
        super().__init__(irq=irq, name=name)
        self.on_output, self.outside = on_output, 0

    def drive(self, pin: int, level: bool) -> None:
        """Set an input pin."""
        self.outside = self.outside & ~(1 << pin) | level << pin
        self._update()

    @output.on_write
    def _output(self, value: int) -> None:
        self._update()

    @direction.on_write
    def _direction(self, value: int) -> None:
        self._update()

    @set_bits.on_write
    def _set(self, value: int) -> None:
        self.output |= value
        self._update()

    @clear_bits.on_write
    def _clear(self, value: int) -> None:
        self.output &= ~value
        self._update()

    @pending.on_write
    def _pending(self, value: int) -> None:
        self.interrupt(bool(self.pending))

    def _update(self) -> None:
        before, driven = self.pins, self.output & self.direction
        self.pins = driven | self.outside & ~self.direction
        self.pending |= (self.pins & ~before & self.rising) | (before & ~self.pins & self.falling)
        self.interrupt(bool(self.pending))
        if self.on_output is not None and (before ^ self.pins) & self.direction:
            self.on_output(driven)

    def reset(self) -> None:
        super().reset()
        self._update()

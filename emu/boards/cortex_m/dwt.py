"""DWT's cycle counter (ARMv7-M ARM, C1.8). A cycle is an instruction; DEMCR.TRCENA need not be set."""

from __future__ import annotations

from emu.boards.device import Device
from emu.boards.registers import Register


class Dwt(Device):
    """Data watchpoint and trace unit: CYCCNT. Comparators are not modelled; there are none (NUMCOMP)."""

    reserved = "zero"
    control = Register(0x00, writable=1)
    counting = control.field(0)
    cycles = Register(0x04)

    def __init__(self) -> None:
        super().__init__(name="dwt")
        self._started = 0  #: the time at which the counter was 0

    @control.on_write
    def _control(self, value: int) -> None:
        was = self._running
        self._running = bool(value & 1)
        if self._running and not was:
            self._started = self.clock.now - self.values["cycles"]
        elif was and not self._running:
            self.values["cycles"] = self.clock.now - self._started & 0xFFFF_FFFF

    _running = False

    @cycles.on_read
    def _cycles(self) -> int:
        return self.clock.now - self._started if self._running else self.values["cycles"]

    @cycles.on_write
    def _set_cycles(self, value: int) -> None:
        self._started = self.clock.now - value

    def reset(self) -> None:
        super().reset()
        self._running = False

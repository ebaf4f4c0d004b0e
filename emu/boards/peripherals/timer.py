"""A timer that counts up and compares."""

from __future__ import annotations

from emu.boards.device import Device
from emu.boards.registers import Register


class Timer(Device):
    """Registers: control 0, count 4, compare 8, status 12, prescaler 16.

    The count rises once in `prescaler + 1` instructions while control bit 0 is set. Where it reaches compare,
    status bit 0 is set (a one clears it) and, with control bit 1, the interrupt line is high; with control bit 2
    the count starts again from 0, otherwise it goes on.
    """

    size = 0x14
    control = Register(0x00, writable=7)
    enable, interrupts, periodic = control.field(0), control.field(1), control.field(2)
    count = Register(0x04)
    compare = Register(0x08, reset=0xFFFF_FFFF)
    status = Register(0x0C, writable=0, clears=1)
    prescaler = Register(0x10, writable=0xFFFF)

    def __init__(self, *, irq: int | None = None, name: str = "timer") -> None:
        super().__init__(irq=irq, name=name)
        self._since: int | None = None  #: the time at which the count was 0, while it runs

    @property
    def _step(self) -> int:
        return self.prescaler + 1

    @count.on_read
    def _count(self) -> int:
        return self.count if self._since is None else (self.clock.now - self._since) // self._step

    @count.on_write
    def _set_count(self, value: int) -> None:
        self._restart()

    @compare.on_write
    def _set_compare(self, value: int) -> None:
        self.count = self._count()
        self._restart()

    @prescaler.on_write
    def _set_prescaler(self, value: int) -> None:
        self._restart()

    @control.on_write
    def _control(self, value: int) -> None:
        self.count = self._count()
        self._restart()
        self._update()

    @status.on_write
    def _status(self, value: int) -> None:
        self._update()

    def _restart(self) -> None:
        """Run on from `count`, if the timer runs."""
        self.cancel()
        self._since = None
        if self.enable:
            self._since = self.clock.now - self.count * self._step
            left = (self.compare - self.count) % (1 << 32) or 1 << 32
            self.after(left * self._step, self._reached)

    def _reached(self) -> None:
        self.status = 1
        self.count = 0 if self.periodic else self.compare
        self._restart()
        self._update()

    def _update(self) -> None:
        self.interrupt(bool(self.status and self.interrupts))

    def reset(self) -> None:
        super().reset()
        self._since = None
        self.interrupt(False)

"""A generator of random numbers that gives the same ones in every run."""

from __future__ import annotations

import random

from emu.boards.device import Device
from emu.boards.registers import Register


class Rng(Device):
    """Registers: control 0 (bit 0 enables), status 4 (bit 0: a number is ready), data 8. A number is ready `delay`
    instructions after the last was read; data reads 0 before.
    """

    size = 0x0C
    control = Register(0x00, writable=1)
    status = Register(0x04, writable=0)
    data = Register(0x08, writable=0)

    def __init__(self, *, seed: int = 0, delay: int = 40, name: str = "rng") -> None:
        super().__init__(name=name)
        self.delay, self.seed = delay, seed
        self.source = random.Random(seed)
        self._ready_at: int | None = None

    @control.on_write
    def _control(self, value: int) -> None:
        self._ready_at = self.clock.now + self.delay if value & 1 else None

    @status.on_read
    def _status(self) -> int:
        return int(self._ready_at is not None and self.clock.now >= self._ready_at)

    @data.on_read
    def _data(self) -> int:
        if not self._status():
            return 0
        self._ready_at = self.clock.now + self.delay
        return self.source.getrandbits(32)

    def reset(self) -> None:
        super().reset()
        self._ready_at = None

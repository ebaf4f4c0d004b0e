"""SysTick (ARMv7-M ARM, B3.3): counts down once an instruction, or once in `reference` with the other clock.

The counter is computed from the clock where it is read. It takes LOAD + 1 ticks from one zero to the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.boards.cortex_m import nvic as n

if TYPE_CHECKING:
    from emu.boards.clock import Clock, Event
    from emu.boards.cortex_m.core import Core

_ENABLE, _TICKINT, _CLKSOURCE, _COUNTFLAG = 1, 2, 4, 1 << 16
_NOREF = 1 << 31


class SysTick:
    """The timer of one CPU."""

    clock: Clock

    def __init__(self, cpu: Core, reference: int) -> None:
        self._cpu, self._reference = cpu, reference
        self._event: Event | None = None
        self.reset()

    def reset(self) -> None:
        self._cancel()
        self.control = self.load = 0
        self._tick = self._reference  #: instructions for a tick
        self._value = 0  #: the counter, while it stands
        self._zero_at: int | None = None  #: the time of the next zero, while it runs
        self._reloaded = True  #: whether the counter has been reloaded on its way to that zero
        self._flag = False

    def _cancel(self) -> None:
        if self._event is not None:
            self._event.cancel()
            self._event = None

    def _count(self) -> int:
        """The counter."""
        if self._zero_at is None:
            return self._value
        left = -(-(self._zero_at - self.clock.now) // self._tick)
        return 0 if left > self.load and not self._reloaded else min(left, 0xFF_FFFF)

    def read(self, offset: int) -> int:
        if offset == 0x10:
            value = self.control | (_COUNTFLAG if self._flag else 0)
            self._flag = False
            return value
        if offset == 0x14:
            return self.load
        return self._count() if offset == 0x18 else _NOREF if self._reference == 1 else 0

    def write(self, offset: int, value: int) -> None:
        if offset == 0x10:
            count = self._count()
            self.control = value & 7
            self._tick = 1 if value & _CLKSOURCE else self._reference
            self._cancel()
            self._zero_at, self._value = None, count
            if self.control & _ENABLE:
                self._start(count)
        elif offset == 0x14:
            self.load = value & 0xFF_FFFF
            if self._zero_at is not None and not self._reloaded:
                self._cancel()
                self._start(0)
        elif offset == 0x18:
            self._flag = False
            self._value = 0
            if self._zero_at is not None:
                self._cancel()
                self._start(0)

    def _start(self, count: int) -> None:
        """Let the counter run from `count`; from 0 the first tick loads it."""
        self._reloaded = count > 0
        if not count and not self.load:
            self._zero_at, self._value = None, 0
            return
        self._schedule(self.clock.now + (count or self.load + 1) * self._tick)

    def _schedule(self, when: int) -> None:
        self._zero_at = when
        self._event = self.clock.at(when, self._zero)

    def _zero(self) -> None:
        """The counter has reached 0."""
        assert self._zero_at is not None
        self._flag = True
        if self.control & _TICKINT:
            self._cpu.pend(n.SYSTICK)
        self._reloaded = False
        if self.load:
            self._schedule(self._zero_at + (self.load + 1) * self._tick)
        else:
            self._zero_at = None

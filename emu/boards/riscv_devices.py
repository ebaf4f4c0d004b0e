"""CLINT and PLIC: the timer and the interrupt controller of most RISC-V chips, as on SiFive's and QEMU's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from emu.boards.device import Device
from emu.boards.registers import Register

_NEVER: Final = (1 << 64) - 1
_SOFTWARE, _TIMER = 3, 7


class Clint(Device):
    """msip of hart 0 at 0, mtimecmp at 0x4000, mtime at 0xBFF8. `pend` gets a bit of mip and its level."""

    size = 0xC000
    widths = (4, 8)
    reserved = "zero"
    msip = Register(0x0000, writable=1)
    compare_low, compare_high = Register(0x4000, reset=0xFFFF_FFFF), Register(0x4004, reset=0xFFFF_FFFF)
    time_low, time_high = Register(0xBFF8), Register(0xBFFC)

    def __init__(self, pend: Callable[[int, bool], None], divider: int) -> None:
        super().__init__(name="clint")
        self._pend, self._divider = pend, divider
        self._start = 0  #: the time in instructions at which mtime was 0

    def mtime(self) -> int:
        return (self.clock.now - self._start) // self._divider & _NEVER

    def read(self, offset: int, size: int) -> int:
        value = super().read(offset, min(size, 4))
        return value if size <= 4 else value | super().read(offset + 4, 4) << 32

    def write(self, offset: int, size: int, value: int) -> None:
        super().write(offset, min(size, 4), value & 0xFFFF_FFFF)
        if size > 4:
            super().write(offset + 4, 4, value >> 32)

    @msip.on_write
    def _msip(self, value: int) -> None:
        self._pend(_SOFTWARE, bool(value & 1))

    @time_low.on_read
    def _time_low(self) -> int:
        return self.mtime()

    @time_high.on_read
    def _time_high(self) -> int:
        return self.mtime() >> 32

    @time_low.on_write
    def _set_time_low(self, value: int) -> None:
        self._set_time(self.mtime() >> 32 << 32 | value)

    @time_high.on_write
    def _set_time_high(self, value: int) -> None:
        self._set_time(self.mtime() & 0xFFFF_FFFF | value << 32)

    def _set_time(self, value: int) -> None:
        self._start = self.clock.now - value * self._divider
        self._schedule()

    @compare_low.on_write
    def _compare_low(self, value: int) -> None:
        self._schedule()

    @compare_high.on_write
    def _compare_high(self, value: int) -> None:
        self._schedule()

    def _schedule(self) -> None:
        self.cancel()
        compare = self.compare_low | self.compare_high << 32
        when, now = self._start + compare * self._divider, self.clock.now
        self._pend(_TIMER, when <= now)
        if now < when < now + (1 << 62):
            self.schedule(when, self._reached)

    def _reached(self) -> None:
        self._pend(_TIMER, True)

    def reset(self) -> None:
        super().reset()
        self._start = self.clock.now
        self._pend(_TIMER, False)
        self._pend(_SOFTWARE, False)


class Plic(Device):
    """Priorities at 0, pending at 0x1000, enables at 0x2000, threshold and claim at 0x200000, for one context."""

    size = 0x20_1000
    widths = (4,)
    _PENDING, _ENABLE, _THRESHOLD, _CLAIM = 0x1000, 0x2000, 0x20_0000, 0x20_0004

    def __init__(self, lines: int, pend: Callable[[bool], None]) -> None:
        super().__init__(name="plic")
        self.lines, self._pend = lines, pend
        self._clear()

    def _clear(self) -> None:
        self.priority = [0] * (self.lines + 1)
        self.pending: set[int] = set()
        self.levels: set[int] = set()
        self.claimed: set[int] = set()
        self.enabled = self.threshold = 0

    def reset(self) -> None:
        self._clear()
        self._pend(False)

    def set_line(self, number: int, level: bool) -> None:
        (self.levels.add if level else self.levels.discard)(number)
        if level and number not in self.claimed:
            self.pending.add(number)
        self._update()

    def _best(self, threshold: int) -> int:
        ready = [n for n in self.pending if self.enabled >> n & 1 and self.priority[n] > threshold]
        return min(ready, key=lambda number: (-self.priority[number], number), default=0)

    def _update(self) -> None:
        self._pend(bool(self._best(self.threshold)))

    def read(self, offset: int, size: int) -> int:
        if offset < 4 * (self.lines + 1):
            return self.priority[offset // 4]
        for base, bits in ((self._PENDING, sum(1 << n for n in self.pending)), (self._ENABLE, self.enabled)):
            if base <= offset < base + 0x80:
                return bits >> 8 * (offset - base) & 0xFFFF_FFFF
        if offset == self._THRESHOLD:
            return self.threshold
        if offset != self._CLAIM:
            return 0
        number = self._best(0)
        self.pending.discard(number)
        if number:
            self.claimed.add(number)
        self._update()
        return number

    def write(self, offset: int, size: int, value: int) -> None:
        if 4 <= offset < 4 * (self.lines + 1):
            self.priority[offset // 4] = value & 7
        elif self._ENABLE <= offset < self._ENABLE + 0x80:
            shift = 8 * (offset - self._ENABLE)
            self.enabled = self.enabled & ~(0xFFFF_FFFF << shift) | (value << shift & ~1)
        elif offset == self._THRESHOLD:
            self.threshold = value & 7
        elif offset == self._CLAIM:
            self.claimed.discard(value)
            if value in self.levels:
                self.pending.add(value)
        self._update()

"""The 8254 interval timer (Intel 8254 data sheet), whose ticks are instructions.

Counter 0 drives interrupt line 0. Counter 2 has its gate and its output at port 0x61. A count is computed from the
clock where it is read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.boards.device import Device
from emu.boards.errors import NotModelled

if TYPE_CHECKING:
    from emu.boards.clock import Event

_CONTROL, _READ_BACK = 3, 3
_LATCH, _LOW, _HIGH, _BOTH = 0, 1, 2, 3  #: of a control word's access field
_PERIODIC = (2, 3)


class _Counter:
    def __init__(self, pit: Pit, number: int) -> None:
        self._pit, self._number = pit, number
        self.reset()

    def reset(self) -> None:
        self.mode, self.access, self.gate = 3, _BOTH, self._number != 2
        self.load = 0  #: as written: 0 counts 65,536
        self.started: int | None = None  #: the time at which the count was loaded
        self.stopped_at = 0  #: the count while the gate is low
        self.latched: list[int] = []
        self._low: int | None = None  #: the first byte of a count
        self._second = False  #: whether the high byte is read next
        self.event: Event | None = None

    @property
    def period(self) -> int:
        return self.load or 0x1_0000

    def elapsed(self) -> int:
        assert self.started is not None
        return (self._pit.clock.now - self.started) // self._pit.divider

    def count(self) -> int:
        if self.started is None:
            return self.stopped_at & 0xFFFF
        passed = self.elapsed()
        if self.mode in _PERIODIC:
            step = 2 if self.mode == 3 else 1
            return (self.period - passed * step % self.period) & 0xFFFF
        return (self.period - passed) & 0xFFFF

    def output(self) -> bool:
        """The level of OUT."""
        if self.started is None:
            return self.mode != 0
        passed = self.elapsed()
        if self.mode == 0:
            return passed >= self.period
        if self.mode == 2:
            return passed % self.period != self.period - 1
        return passed % self.period < -(-self.period // 2)

    # ------------------------------------------------------------ programming

    def control(self, access: int, mode: int) -> None:
        self.mode, self.access = mode, access
        self.started, self.latched, self._low, self._second = None, [], None, False
        self.cancel()
        self._pit.output_changed(self._number, mode != 0)

    def latch(self) -> None:
        if not self.latched:
            count = self.count()
            self.latched = {_LOW: [count & 0xFF], _HIGH: [count >> 8]}.get(self.access, [count & 0xFF, count >> 8])

    def read(self) -> int:
        if self.latched:
            return self.latched.pop(0)
        count = self.count()
        if self.access == _BOTH:
            self._second = not self._second
            return count & 0xFF if self._second else count >> 8
        return count & 0xFF if self.access == _LOW else count >> 8

    def write(self, value: int) -> None:
        if self.access == _BOTH and self._low is None:
            self._low = value
            if self.mode == 0:
                self.cancel()
            return
        low = self._low if self.access == _BOTH else value if self.access == _LOW else 0
        assert low is not None
        self.load = low | (value << 8 if self.access != _LOW else 0)
        self._low = None
        if self.mode in _PERIODIC and self.started is not None and self.event is not None:
            return  # the new count is used after the current period
        self.begin()

    def begin(self) -> None:
        """Load the count."""
        self.cancel()
        if not self.gate:
            self.started, self.stopped_at = None, self.load
            return
        self.started = self._pit.clock.now
        self._pit.output_changed(self._number, self.output())
        self._schedule()

    def set_gate(self, level: bool) -> None:
        if level == self.gate:
            return
        if not level:
            self.stopped_at = self.count()
            self.cancel()
            self.started = None
        self.gate = level
        if level and (self.load or self.stopped_at):
            self.begin()

    def cancel(self) -> None:
        if self.event is not None:
            self.event.cancel()
            self.event = None

    def _schedule(self) -> None:
        """Have OUT change when its time comes; only of counter 0, whose output is a line."""
        if self._number or self.started is None:
            return
        passed, period = self.elapsed(), self.period
        if self.mode == 0:
            if passed >= period:
                return
            following = period
        elif self.mode == 2:
            phase = passed % period
            following = passed - phase + (period - 1 if phase < period - 1 else period)
        else:
            phase, half = passed % period, -(-period // 2)
            following = passed - phase + (half if phase < half else period)
        self.event = self._pit.clock.at(self.started + following * self._pit.divider, self._tick)

    def _tick(self) -> None:
        """OUT changes. A period that ends begins anew, with the count written last."""
        self.event = None
        if self.mode in _PERIODIC and self.output() and self.elapsed():
            self.started = self._pit.clock.now
        self._pit.output_changed(self._number, self.output())
        self._schedule()


class Pit(Device):
    """Counters at 0 to 2, the control word at 3. `line` sets an interrupt line."""

    size = 4
    widths = (1,)

    def __init__(self, line: Callable[[int, bool], None], divider: int) -> None:
        super().__init__(name="pit")
        self._set_line, self.divider = line, divider
        self.counters = [_Counter(self, number) for number in range(3)]

    def output_changed(self, number: int, level: bool) -> None:
        if number == 0:
            self._set_line(0, level)

    def reset(self) -> None:
        super().reset()
        for counter in self.counters:
            counter.cancel()
            counter.reset()
        self._set_line(0, True)

    def read(self, offset: int, size: int) -> int:
        return 0 if offset == _CONTROL else self.counters[offset].read()

    def write(self, offset: int, size: int, value: int) -> None:
        if offset != _CONTROL:
            self.counters[offset].write(value)
            return
        number, access, mode = value >> 6, value >> 4 & 3, value >> 1 & 7
        if number == _READ_BACK:
            self._read_back(value)
        elif access == _LATCH:
            self.counters[number].latch()
        else:
            mode = mode - 4 if mode > 5 else mode  # 6 and 7 are 2 and 3
            if value & 1 or mode in (1, 4, 5):
                what = "BCD" if value & 1 else f"mode {mode}"
                raise NotModelled(f"{self.name}: {what} of counter {number}")
            self.counters[number].control(access, mode)

    def _read_back(self, value: int) -> None:
        if not value & 0x10:
            raise NotModelled(f"{self.name}: read-back of the status")
        for number in range(3):
            if value >> number + 1 & 1 and not value & 0x20:
                self.counters[number].latch()


class Gate(Device):
    """Port 0x61: bit 0 is the gate of counter 2, bit 1 the speaker, bit 5 the counter's output."""

    size = 1
    widths = (1,)

    def __init__(self, pit: Pit) -> None:
        super().__init__(name="port 61")
        self._pit, self._kept = pit, 0

    def reset(self) -> None:
        self._kept = 0

    def read(self, offset: int, size: int) -> int:
        return self._kept | self._pit.counters[2].output() << 5

    def write(self, offset: int, size: int, value: int) -> None:
        self._kept = value & 3
        self._pit.counters[2].set_gate(bool(value & 1))

"""The generic timer of Arm's A profile (Arm ARM, "The Generic Timer"): the virtual and the physical timer of EL1.

Its registers are system registers: the engine has none that follow the board's clock, so the instructions that
access them are computed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from emu.boards.clock import Clock, Event

_WORD: Final = (1 << 64) - 1
_ENABLE, _MASK, _STATUS = 1, 2, 4
CONTROL, VALUE, COMPARE = "ctl", "tval", "cval"


class Timer:
    """One timer: its line is high while it is enabled, not masked, and its time has come."""

    def __init__(self, count: Callable[[], int], divider: int, line: Callable[[bool], None]) -> None:
        self._count, self._divider, self._line = count, divider, line
        self._event: Event | None = None
        self.clock: Clock
        self.control = self.compare = 0

    def clear(self) -> None:
        self.control = self.compare = 0
        self._schedule()

    @property
    def _is_due(self) -> bool:
        return self._count() >= self.compare

    def read(self, register: str) -> int:
        if register == CONTROL:
            return self.control | (_STATUS if self.control & _ENABLE and self._is_due else 0)
        if register == COMPARE:
            return self.compare
        return self.compare - self._count() & 0xFFFF_FFFF

    def write(self, register: str, value: int) -> None:
        if register == CONTROL:
            self.control = value & 3
        elif register == COMPARE:
            self.compare = value & _WORD
        else:
            value &= 0xFFFF_FFFF
            self.compare = self._count() + (value - (1 << 32) if value >> 31 else value) & _WORD
        self._schedule()

    def _schedule(self) -> None:
        if self._event is not None:
            self._event.cancel()
            self._event = None
        active = self.control & (_ENABLE | _MASK) == _ENABLE
        due = active and self._is_due
        self._line(due)
        if active and not due and self.compare < 1 << 62:
            when = self.compare * self._divider
            self._event = self.clock.at(when, lambda: self._line(True))


class GenericTimer:
    """`frequency` is what CNTFRQ says; the count rises once in `divider` instructions. `set_line` is the GIC's."""

    VIRTUAL_LINE, PHYSICAL_LINE = 27, 30

    def __init__(self, divider: int, frequency: int, set_line: Callable[[int, bool], None]) -> None:
        self._divider, self.frequency = divider, frequency
        self.virtual = Timer(self.count, divider, lambda level: set_line(self.VIRTUAL_LINE, level))
        self.physical = Timer(self.count, divider, lambda level: set_line(self.PHYSICAL_LINE, level))

    def connect(self, clock: Clock) -> None:
        self._clock = self.virtual.clock = self.physical.clock = clock

    def count(self) -> int:
        return self._clock.now // self._divider

    def clear(self) -> None:
        self.virtual.clear()
        self.physical.clear()

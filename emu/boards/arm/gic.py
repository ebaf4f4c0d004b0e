"""A generic interrupt controller of version 2, without security extensions, for one CPU (Arm IHI 0048B).

Interrupts have numbers ("INTID"): 0 to 15 from software, 16 to 31 of the CPU (its timers), from 32 on of devices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from emu.boards.device import Device
from emu.boards.errors import BoardError

_NONE: Final = 1023
_IDLE: Final = 0x100  #: the running priority without an active interrupt
_ENABLE, _PENDING, _ACTIVE = (0x100, 0x180), (0x200, 0x280), (0x300, 0x380)  #: set, clear
_PRIORITY, _TARGETS, _CONFIG, _SGIR, _SGI_CLEAR, _SGI_SET = 0x400, 0x800, 0xC00, 0xF00, 0xF10, 0xF20


class Distributor(Device):
    """The distributor, and the state of all interrupts. `output` gets the level of the CPU's interrupt line."""

    size, widths = 0x1000, (1, 2, 4)

    def __init__(self, lines: int, output: Callable[[bool], None]) -> None:
        super().__init__(name="gic distributor")
        self.lines = -(-lines // 32) * 32
        self._output = output
        self.interface = Interface(self)
        self._clear()

    def _clear(self) -> None:
        self.control = 0
        self.enabled = set(range(16))
        self.latched: set[int] = set()  #: pending for another reason than a level
        self.levels: set[int] = set()
        self.active: list[int] = []  #: nested, the last is the current one
        self.priority = [0] * self.lines
        self.targets = [1] * 32 + [0] * (self.lines - 32)
        self.edges: set[int] = set(range(16))  #: interrupts of edges, not levels

    def reset(self) -> None:
        self._clear()
        self.interface.clear()
        self._output(False)

    def set_line(self, number: int, level: bool) -> None:
        if not 16 <= number < self.lines:
            raise BoardError(f"the GIC has the lines 16 to {self.lines - 1}, not {number}")
        if level and number not in self.levels and number in self.edges:
            self.latched.add(number)
        (self.levels.add if level else self.levels.discard)(number)
        self.update()

    # ------------------------------------------------------------ which interrupt

    def is_pending(self, number: int) -> bool:
        return number in self.latched or (number in self.levels and number not in self.edges)

    def best(self) -> int:
        """The pending interrupt to be taken next; 1023 without one."""
        if not self.control & 1:
            return _NONE
        candidates = (self.latched | self.levels) & self.enabled
        ready = [
            number
            for number in candidates
            if self.is_pending(number) and number not in self.active and (number < 32 or self.targets[number] & 1)
        ]
        return min(ready, key=lambda number: (self.priority[number], number), default=_NONE)

    @property
    def running(self) -> int:
        return min((self.priority[number] for number in self.active), default=_IDLE)

    def update(self) -> None:
        number = self.best()
        interface = self.interface
        self._output(
            number != _NONE
            and bool(interface.control & 1)
            and self.priority[number] < interface.mask
            and interface.group(self.priority[number]) < interface.group(self.running)
        )

    # ------------------------------------------------------------ registers

    def read(self, offset: int, size: int) -> int:
        if _PRIORITY <= offset < _PRIORITY + self.lines:
            return sum(self.priority[offset - _PRIORITY + at] << 8 * at for at in range(size))
        if _TARGETS <= offset < _TARGETS + self.lines:
            return sum(self.targets[offset - _TARGETS + at] << 8 * at for at in range(size))
        word = self._word(offset & ~3)
        return word >> 8 * (offset & 3) & (1 << 8 * size) - 1

    def _word(self, offset: int) -> int:
        if offset < 0x100:
            return {0: self.control, 4: self.lines // 32 - 1, 8: 0x0200_143B}.get(offset, 0)
        first, within = 8 * (offset & 0x7F), offset & ~0x7F
        for (high, low), has in ((_ENABLE, self.enabled.__contains__), (_PENDING, self.is_pending),
                                 (_ACTIVE, self.active.__contains__)):  # fmt: skip
            if within in (high, low):
                return sum(has(first + bit) << bit for bit in range(32))
        if _CONFIG <= offset < _CONFIG + self.lines // 4:
            first = 4 * (offset - _CONFIG)
            return sum((first + at in self.edges) << 2 * at + 1 for at in range(16))
        if offset >= 0xFE0:  # identification registers: a GICv2
            return (0x90, 0xB4, 0x2B, 0, 0x0D, 0xF0, 0x05, 0xB1)[offset - 0xFE0 >> 2]
        return 0

    def write(self, offset: int, size: int, value: int) -> None:
        if _PRIORITY <= offset < _PRIORITY + self.lines:
            for at in range(size):
                self.priority[offset - _PRIORITY + at] = value >> 8 * at & 0xF8
        elif _TARGETS + 32 <= offset < _TARGETS + self.lines:
            for at in range(size):
                self.targets[offset - _TARGETS + at] = value >> 8 * at & 1
        else:
            self._write_word(offset & ~3, value << 8 * (offset & 3))
        self.update()

    def _write_word(self, offset: int, value: int) -> None:
        first, within = 8 * (offset & 0x7F), offset & ~0x7F
        numbers = {first + bit for bit in range(32) if value >> bit & 1 and first + bit < self.lines}
        if offset == 0:
            self.control = value & 1
        elif within in _ENABLE:
            self.enabled = self.enabled | numbers if within == _ENABLE[0] else self.enabled - numbers
            self.enabled |= set(range(16))
        elif within in _PENDING:
            numbers -= set(range(16))
            self.latched = self.latched | numbers if within == _PENDING[0] else self.latched - numbers
        elif within in _ACTIVE:
            others = [number for number in self.active if number not in numbers]
            self.active = others + sorted(numbers) if within == _ACTIVE[0] else others
        elif _CONFIG + 4 <= offset < _CONFIG + self.lines // 4:
            first = 4 * (offset - _CONFIG)
            for at in range(16):
                (self.edges.add if value >> 2 * at + 1 & 1 else self.edges.discard)(first + at)
        elif offset == _SGIR:
            self._software(value)
        elif _SGI_CLEAR <= offset < _SGI_SET + 0x10:
            numbers = {(offset & 0xF) + at for at in range(4) if value >> 8 * at & 1}
            self.latched = self.latched - numbers if offset < _SGI_SET else self.latched | numbers

    def _software(self, value: int) -> None:
        """GICD_SGIR: an interrupt to this CPU, by its list of targets or its filter."""
        where, filter_ = value >> 16 & 0xFF, value >> 24 & 3
        if filter_ == 2 or (filter_ == 0 and where & 1):
            self.latched.add(value & 15)


class Interface(Device):
    """The CPU interface."""

    size, widths = 0x1000, (4,)

    def __init__(self, distributor: Distributor) -> None:
        super().__init__(name="gic interface")
        self._distributor = distributor
        self.clear()

    def clear(self) -> None:
        self.control = self.mask = 0
        self.binary_point = 0

    def group(self, priority: int) -> int:
        """The part of a priority that decides about preemption."""
        return priority >> self.binary_point + 1

    def read(self, offset: int, size: int) -> int:
        distributor = self._distributor
        if offset == 0x0C:  # IAR
            number = distributor.best()
            if number == _NONE or distributor.priority[number] >= self.mask:
                return _NONE
            if self.group(distributor.priority[number]) >= self.group(distributor.running):
                return _NONE
            distributor.latched.discard(number)
            distributor.active.append(number)
            distributor.update()
            return number
        running = 0xFF if distributor.running == _IDLE else distributor.running
        values = {0: self.control, 4: self.mask, 8: self.binary_point, 0x14: running, 0x18: distributor.best()}
        return {**values, 0xFC: 0x0202_143B}.get(offset, 0)

    def write(self, offset: int, size: int, value: int) -> None:
        distributor = self._distributor
        if offset == 0:
            self.control = value & 1
        elif offset == 4:
            self.mask = value & 0xF8
        elif offset == 8:
            self.binary_point = value & 7
        elif offset == 0x10 and value & 0x3FF in distributor.active:  # EOIR
            distributor.active.remove(value & 0x3FF)
        distributor.update()

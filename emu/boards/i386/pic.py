"""Two 8259A interrupt controllers, the second at line 2 of the first, as in a PC (Intel 8259A data sheet)."""

from __future__ import annotations

from collections.abc import Callable

from emu.boards.device import Device
from emu.boards.errors import NotModelled

_CASCADE = 2
_ICW1, _ICW4_NEEDED, _SINGLE, _LEVEL = 0x10, 1, 2, 8
_AUTO_EOI, _X86 = 2, 1
_OCW3, _POLL, _READ, _SPECIAL_MASK = 0x08, 0x04, 0x02, 0x40


class Pic(Device):
    """One controller of eight lines: command at 0, data at 1."""

    size = 2
    widths = (1,)

    def __init__(self, name: str, changed: Callable[[], None], follows: int) -> None:
        super().__init__(name=name)
        self._changed, self._follows = changed, follows
        self._clear()

    def _clear(self) -> None:
        self.requested = self.in_service = self.levels = 0  #: IRR, ISR, and the lines that are high
        self.mask = self.vectors = 0
        self._lowest = 7  #: the line of the lowest priority
        self._expected = 0  #: the initialisation word that comes next; 0: none
        self._auto_eoi = self._rotates = self._level = self._reads_service = self._special = False
        self._fourth = False
        self.edges = 0xFF  #: lines that are triggered by edges

    def reset(self) -> None:
        self._clear()
        self.mask = 0xFF  # as a boot loader leaves it; ICW1 clears it
        self._changed()

    def set_line(self, line: int, level: bool) -> None:
        bit = 1 << line
        if level and (not self.levels & bit or self._level):
            self.requested |= bit
        if not level and self._level:
            self.requested &= ~bit
        self.levels = self.levels | bit if level else self.levels & ~bit
        self._changed()

    def _order(self) -> list[int]:
        return [self._lowest + step & 7 for step in range(1, 9)]

    def pending(self) -> int | None:
        """The line to be served next, more urgent than those in service."""
        ready = self.requested & ~self.mask
        if not ready or self._expected:
            return None
        serving = self.in_service & ~self.mask if self._special else self.in_service
        for line in self._order():
            if serving >> line & 1 and not self._special:
                return None
            if ready >> line & 1 and not serving >> line & 1:
                return line
        return None

    def acknowledge(self) -> int:
        """Serve the most urgent line; its vector, that of line 7 if there is none (spurious)."""
        line = self.pending()
        if line is None:
            return self.vectors + 7
        bit = 1 << line
        if not self._level:
            self.requested &= ~bit
        if self._auto_eoi:
            if self._rotates:
                self._lowest = line
        else:
            self.in_service |= bit
        return self.vectors + line

    # ------------------------------------------------------------ accesses

    def read(self, offset: int, size: int) -> int:
        if offset:
            return self.mask
        return self.in_service if self._reads_service else self.requested

    def write(self, offset: int, size: int, value: int) -> None:
        if offset:
            self._write_data(value)
        elif value & _ICW1:
            self._begin(value)
        elif value & _OCW3:
            self._control(value)
        else:
            self._end(value)
        self._changed()

    def _begin(self, value: int) -> None:
        """ICW1."""
        if value & _SINGLE:
            raise NotModelled(f"{self.name} alone (ICW1.SNGL): there are two in cascade")
        levels = self.levels
        self._clear()
        self.levels, self._level = levels, bool(value & _LEVEL)
        self._fourth, self._expected = bool(value & _ICW4_NEEDED), 2

    def _write_data(self, value: int) -> None:
        expected = self._expected
        if not expected:
            self.mask = value
        elif expected == 2:
            self.vectors, self._expected = value & 0xF8, 3
        elif expected == 3:
            if value != self._follows:
                raise NotModelled(f"{self.name} with ICW3 {value:#x}: the second one is at line 2 of the first")
            self._expected = 4 if self._fourth else 0
        else:
            if not value & _X86:
                raise NotModelled(f"{self.name} in 8085 mode (ICW4)")
            self._auto_eoi, self._expected = bool(value & _AUTO_EOI), 0

    def _control(self, value: int) -> None:
        """OCW3."""
        if value & _POLL:
            raise NotModelled(f"{self.name}: the poll command (OCW3)")
        if value & _READ:
            self._reads_service = bool(value & 1)
        if value & _SPECIAL_MASK:
            self._special = bool(value & 0x20)

    def _end(self, value: int) -> None:
        """OCW2."""
        command, line = value >> 5, value & 7
        if command in (0, 4):
            self._rotates = command == 4
        elif command in (1, 5):
            serving = [each for each in self._order() if self.in_service >> each & 1]
            if serving:
                self._finish(serving[0], rotate=command == 5)
        elif command in (3, 7):
            self._finish(line, rotate=command == 7)
        elif command == 6:
            self._lowest = line

    def _finish(self, line: int, *, rotate: bool) -> None:
        self.in_service &= ~(1 << line)
        if rotate:
            self._lowest = line
        if self._level and self.levels >> line & 1:
            self.requested |= 1 << line


class PicPair:
    """Both. `output` gets the level of the CPU's line."""

    def __init__(self, output: Callable[[bool], None]) -> None:
        self._output = output
        self._ready = False
        self.first, self.second = Pic("pic", self._update, 1 << _CASCADE), Pic("pic2", self._update, _CASCADE)
        self._ready = True

    def set_line(self, number: int, level: bool) -> None:
        if number < 8:
            self.first.set_line(number, level)
        else:
            self.second.set_line(number - 8, level)

    def _update(self) -> None:
        if not self._ready:
            return
        cascade = self.second.pending() is not None
        bit = 1 << _CASCADE
        if cascade:
            self.first.levels |= bit
            self.first.requested |= bit
        else:
            self.first.levels &= ~bit
            self.first.requested &= ~bit
        self._output(self.first.pending() is not None)

    def acknowledge(self) -> int:
        """The CPU takes an interrupt: its vector."""
        line = self.first.pending()
        vector = self.first.acknowledge()
        if line == _CASCADE:
            vector = self.second.acknowledge()
        self._update()
        return vector

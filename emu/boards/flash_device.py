"""Operations of a flash device, their rules and effects; see `emu.boards.flash`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from emu.boards.flash_cells import FlashCells
from emu.boards.flash_torn import torn_bits, torn_place
from emu.boards.flash_types import (
    FlashError,
    FlashEvent,
    FlashGeometryError,
    FlashStatus,
    Operation,
    check_numbers,
    data_of,
)
from relink.arrays import U8

#: Statuses in spite of which hardware carries the operation out.
_CARRIED_OUT = (FlashStatus.NOT_ERASED, FlashStatus.CROSSES_PAGE, FlashStatus.NOT_SECTORS)

#: Called with an operation before or after it; may raise.
Listener: TypeAlias = "Callable[[FlashEvent], object]"


class Flash(FlashCells):
    """A flash device; see `emu.boards.flash`. `NorFlash`, `NandFlash` and `Eeprom` are the ones to make."""

    def __init__(self, *geometry: Any, **properties: Any) -> None:
        super().__init__(*geometry, **properties)
        self.before: list[Listener] = []  #: called before each operation, in order
        self.after: list[Listener] = []  #: called after it

    # ------------------------------------------------------------ operations

    def erase(self, address: int, size: int) -> FlashStatus:
        """Erase whole sectors. `size` 0 does nothing. Raises FlashError (see the module)."""
        check_numbers(self.name, address=address, size=size)
        offset = address - self.base
        status, culprit = self._erase_problem(offset, size)
        if status and (self.strict or status not in _CARRIED_OUT):
            return self._refuse(Operation.ERASE, address, size, status, culprit)
        if size:
            touched = self.sectors.touched(offset, size)
            start, end = self.sectors.starts[touched[0]], self.sectors.starts[touched[-1] + 1]
            self._run(FlashEvent(self.name, self.operations + 1, Operation.ERASE, self.base + start, end - start))
        self.status = status
        return status

    def erase_sector(self, number: int) -> FlashStatus:
        """Erase one sector. Raises FlashError."""
        check_numbers(self.name, number=number)
        if not 0 <= number < len(self.sectors):
            return self._refuse(Operation.ERASE, self.end, 0, FlashStatus.OUTSIDE, None)
        start, end = self.sectors.bounds(number)
        return self.erase(self.base + start, end - start)

    def program(self, address: int, data: bytes | bytearray | memoryview | U8) -> FlashStatus:
        """Program bytes. No data does nothing. Raises FlashError (see the module)."""
        data = data_of(self.name, data)
        if type(address) is not int:
            check_numbers(self.name, address=address)
        offset = address - self.base
        status, culprit = self._program_problem(offset, data)
        if status and (self.strict or status not in _CARRIED_OUT):
            return self._refuse(Operation.PROGRAM, address, len(data), status, culprit)
        if status is FlashStatus.CROSSES_PAGE:
            offset, data = self._wrapped(offset, data)
        if data:
            number = self.operations + 1
            self._run(FlashEvent(self.name, number, Operation.PROGRAM, self.base + offset, len(data), data))
        self.status = status
        return status

    def lock(self, *numbers: int) -> None:
        """Lock sectors until they are unlocked or power is lost. Raises FlashGeometryError."""
        self._check_sectors(numbers, "lock")
        self.locked.update(numbers)

    def _check_sectors(self, numbers: tuple[int, ...], what: str) -> None:
        for number in numbers:
            check_numbers(self.name, number=number)
        if odd := [number for number in numbers if not 0 <= number < len(self.sectors)]:
            raise FlashGeometryError(self.name, f"there is no sector {odd[0]} to {what}")

    def unlock(self, *numbers: int) -> None:
        """Unlock sectors; all without arguments. Raises FlashGeometryError."""
        self._check_sectors(numbers, "unlock")
        self.locked.difference_update(numbers or tuple(self.locked))

    def power_cycle(self) -> None:
        """Lose what a device without power loses: locks and the status."""
        self.locked.clear()
        self.status = FlashStatus.OK

    def _run(self, event: FlashEvent) -> None:
        """Carry an operation out between its listeners."""
        self.operations = event.number
        for listener in tuple(self.before):
            listener(event)
        offset = event.address - self.base
        if event.operation is Operation.ERASE:
            self._erase_now(offset, event.size)
        else:
            self._program_now(offset, np.frombuffer(event.data, np.uint8))
        for listener in tuple(self.after):
            listener(event)

    def tear(self, event: FlashEvent, seed: int = 0, *, at: int | None = None, bits: bool = True) -> int:
        """Carry out a part of an operation that `before` has announced, as when power fails during it; return the
        number of bytes carried out whole.

        That number is `at` (for a program rounded down to units of writing), or follows from `seed`. Of the
        unit of writing after it (of an erase: of the rest of the sector) some bits change, which `seed` decides
        too; none with bits=False. The same event, seed and content give the same result. Raises
        FlashGeometryError for an event of another device.
        """
        offset = event.address - self.base
        if event.device != self.name or offset < 0 or offset + event.size > self.size:
            raise FlashGeometryError(self.name, f"{event.id} is no operation of this device")
        edges = [end - offset for _, end in map(self.sectors.bounds, self.sectors.touched(offset, event.size))]
        step = self.write_size if event.operation is Operation.PROGRAM else 1
        whole = torn_place(event, seed, at, step)
        if event.operation is Operation.ERASE:
            partly = next((edge for edge in edges if edge > whole), whole) if bits else whole
            new = np.full(partly, self.erased, np.uint8)
        else:
            partly = min(whole + step, event.size) if bits else whole
            new = np.frombuffer(event.data, np.uint8)[:partly]
        old = self.pages[offset : offset + partly].copy()
        if event.operation is Operation.PROGRAM:
            new = self._result(old, new)
        torn = new.copy()
        torn[whole:] = torn_bits(event, seed, old[whole:], new[whole:])
        self.pages[offset : offset + partly] = torn
        self._note_torn(event.operation, offset, partly, whole)
        self._changed(offset, partly)
        return whole

    def _note_torn(self, operation: Operation, offset: int, partly: int, whole: int) -> None:
        """Count what was torn: a sector that is not erased whole has no unit that can be programmed."""
        if operation is Operation.ERASE:
            self._wear(offset, partly)
        if not len(self._programs):
            return
        units = slice(offset // self.write_size, -(-(offset + partly) // self.write_size))
        if operation is Operation.PROGRAM:
            self._programs[units] += self._programs[units] < 255
            return
        for number in self.sectors.touched(offset, partly):
            start, end = self.sectors.bounds(number)
            erased = end <= offset + whole
            of_sector = slice(start // self.write_size, end // self.write_size)
            self._programs[of_sector] = 0 if erased else self.max_programs or 0

    # ------------------------------------------------------------ rules

    def _erase_problem(self, offset: int, size: int) -> tuple[FlashStatus, int | None]:
        """The status of an erase, and the offset it is about."""
        if size < 0 or offset < 0 or offset + size > self.size:
            return FlashStatus.OUTSIDE, None
        for number in self.sectors.touched(offset, size):
            if status := self._sector_problem(number):
                return status, self.sectors.starts[number]
            if self.endurance is not None and not self.overwrites and int(self.wear[number]) >= self.endurance:
                return FlashStatus.WORN_OUT, self.sectors.starts[number]
        if size and not self.sectors.whole(offset, size):
            return FlashStatus.NOT_SECTORS, None
        return FlashStatus.OK, None

    def _program_problem(self, offset: int, data: bytes) -> tuple[FlashStatus, int | None]:
        """The status of a program, and the offset it is about."""
        size, unit = len(data), self.write_size
        if offset < 0 or offset + size > self.size:
            return FlashStatus.OUTSIDE, None
        if offset % unit or size % unit:
            return FlashStatus.UNALIGNED, None
        for number in self.sectors.touched(offset, size):
            if status := self._sector_problem(number):
                return status, self.sectors.starts[number]
        page = self.page_size
        if page is not None and size and offset // page != (offset + size - 1) // page:
            return FlashStatus.CROSSES_PAGE, (offset // page + 1) * page
        if self.max_programs is not None:
            full = np.flatnonzero(self._programs[offset // unit : (offset + size) // unit] >= self.max_programs)
            if len(full):
                status = FlashStatus.PROGRAMMED if self.max_programs == 1 else FlashStatus.TOO_MANY_PROGRAMS
                return status, offset + int(full[0]) * unit
        new = np.frombuffer(data, np.uint8)
        lost = np.flatnonzero(self._result(self.pages[offset : offset + size], new) != new)
        return (FlashStatus.NOT_ERASED, offset + int(lost[0])) if len(lost) else (FlashStatus.OK, None)

    def _sector_problem(self, number: int) -> FlashStatus:
        if number in self.bad:
            return FlashStatus.BAD_BLOCK
        if number in self.read_only:
            return FlashStatus.READ_ONLY
        return FlashStatus.LOCKED if number in self.locked else FlashStatus.OK

    def _refuse(
        self, operation: Operation, address: int, size: int, status: FlashStatus, culprit: int | None
    ) -> FlashStatus:
        self.status = status
        if self.strict:
            at = None if culprit is None else self.base + culprit
            raise FlashError(self.name, operation, address, size, status, at)
        return status

    def _wrapped(self, offset: int, data: bytes) -> tuple[int, bytes]:
        """The whole page that a program changes which goes on at its start."""
        size = self.page_size or 1
        start = offset // size * size
        page = bytearray(self.pages[start : min(start + size, self.size)])
        for index, value in enumerate(data, offset - start):
            page[index % len(page)] = value
        return start, bytes(page)

    # ------------------------------------------------------------ effects

    def _result(self, old: U8, new: U8) -> U8:
        """The bytes after `new` is programmed over `old`."""
        if self.overwrites:
            return new
        return old & new if self.erased else old | new

    def _program_now(self, offset: int, data: U8) -> None:
        place = slice(offset, offset + len(data))
        self.pages[place] = self._result(self.pages[place], data)
        if len(self._programs):
            self._programs[offset // self.write_size : (offset + len(data)) // self.write_size] += 1
        self._changed(offset, len(data))

    def _erase_now(self, offset: int, size: int) -> None:
        self.pages[offset : offset + size] = self.erased
        self._programs[offset // self.write_size : (offset + size) // self.write_size] = 0
        self._wear(offset, size)
        self._changed(offset, size)

    def _wear(self, offset: int, size: int) -> None:
        numbers = self.sectors.touched(offset, size)
        self.wear[numbers.start : numbers.stop] += np.uint64(1)
        self.reads[numbers.start : numbers.stop] = 0

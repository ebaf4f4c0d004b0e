"""EEPROM: bytes are written without an erase; a page at a time, as through I²C or SPI."""

from __future__ import annotations

from collections.abc import Iterable

from emu.boards.flash_device import Flash
from emu.boards.flash_types import (
    FlashEvent,
    FlashGeometryError,
    FlashStatus,
    Operation,
    SectorMap,
    check_numbers,
    check_whole,
    data_of,
)
from relink.arrays import U8


class Eeprom(Flash):
    """EEPROM of `size` bytes in pages of `page_size`: `program` replaces bytes, in one page.

    A page is a sector here: each write wears its page, and fails when the page has been written `endurance` times.
    Devices that go on at the page's start do so with strict=False. `erase` is a chip's erase command. Raises
    FlashGeometryError.
    """

    overwrites = True

    def __init__(
        self,
        size: int,
        *,
        page_size: int = 32,
        name: str = "eeprom",
        base: int = 0,
        erased: int = 0xFF,
        write_size: int = 1,
        endurance: int | None = None,
        read_only: Iterable[int] = (),
        strict: bool = True,
    ) -> None:
        check_whole(name, size=size, page_size=page_size)
        if page_size < 1 or size < 1 or size % page_size:
            raise FlashGeometryError(name, f"{size} bytes in pages of {page_size}")
        super().__init__(
            SectorMap.of((size // page_size, page_size), device=name),
            name=name,
            base=base,
            erased=erased,
            write_size=write_size,
            page_size=page_size,
            endurance=endurance,
            read_only=read_only,
            strict=strict,
        )

    def write(self, address: int, data: bytes) -> None:
        """Write any bytes, a page after the other: one operation for each page. Raises FlashError."""
        assert self.page_size is not None
        data = data_of(self.name, data)
        check_numbers(self.name, address=address)
        start = 0
        while start < len(data):
            room = self.page_size - (address + start - self.base) % self.page_size
            self.program(address + start, data[start : start + room])
            start += room

    def _program_problem(self, offset: int, data: bytes) -> tuple[FlashStatus, int | None]:
        status, culprit = super()._program_problem(offset, data)
        if not status and self.endurance is not None:
            for number in self.sectors.touched(offset, len(data)):
                if int(self.wear[number]) >= self.endurance:
                    return FlashStatus.WORN_OUT, self.sectors.starts[number]
        return status, culprit

    def _program_now(self, offset: int, data: U8) -> None:
        super()._program_now(offset, data)
        self._wear(offset, len(data))

    def tear(self, event: FlashEvent, seed: int = 0, *, at: int | None = None, bits: bool = True) -> int:
        """As for all flash; a write that was cut short wears its page too."""
        if event.operation is Operation.PROGRAM:
            self._wear(event.address - self.base, event.size)
        return super().tear(event, seed, at=at, bits=bits)

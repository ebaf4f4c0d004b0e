"""Flash memory as its datasheet describes it: NOR flash, and what all kinds have in common.

    nor = NorFlash([(4, 16 << 10), (1, 64 << 10), (7, 128 << 10)], base=0x0800_0000, write_size=4)
    nor.before.append(lambda event: print(event.id))       # nor#1:erase@0x8000000+16384
    nor.erase(0x0800_0000, 16 << 10)
    nor.program(0x0800_0000, image)

- An erase sets all bits of whole sectors to the erased value. A program moves bits away from it, a unit of writing
  (`write_size` bytes) at a time; with `program_once` a unit can be programmed once between two erases, as in flash
  with an error-correcting code for each unit.
- What the device refuses raises FlashError, and changes nothing. With `strict=False` the operation returns the
  status instead, and what hardware carries out in spite of it is carried out: programming bits that are not erased
  gives the AND of both, an erase takes all sectors that it touches, a program beyond the end of a page goes on at
  the page's start.
- Every operation has a number. Listeners in `before` and `after` get its `FlashEvent` and may raise: an exception
  from `before` keeps the operation from happening. Such a listener can carry out a part first (`tear`), as when
  the power fails.
- Addresses are those of the bus: the device is at `base`.

A device needs no CPU. `contents` never moves, so that a board can map its memory (`pages`) for execution in place.
"""

from __future__ import annotations

from collections.abc import Iterable

from emu.boards.flash_device import Flash, Listener
from emu.boards.flash_eeprom import Eeprom
from emu.boards.flash_nand import NandFlash
from emu.boards.flash_state import FlashState
from emu.boards.flash_types import FlashError, FlashEvent, FlashGeometryError, FlashStatus, Operation, SectorMap

__all__ = [
    "Eeprom", "Flash", "FlashError", "FlashEvent", "FlashGeometryError", "FlashState", "FlashStatus", "Listener",
    "NandFlash", "NorFlash", "Operation", "SectorMap",
]  # fmt: skip


class NorFlash(Flash):
    """NOR flash: any unit of writing can be programmed, bits one way, until its sector is erased.

    - `sectors`: a SectorMap, or runs (number, size in bytes);
    - `write_size`: the unit of writing, in bytes;
    - `program_once`: a unit can be programmed once between two erases;
    - `page_size`: for serial NOR, the page that one program may not leave;
    - `erased`: 0xFF, or 0 (STM32L0 and L1);
    - `endurance`: the erases that a sector stands; `read_only`: sectors that cannot be changed.

    Raises FlashGeometryError.
    """

    def __init__(
        self,
        sectors: SectorMap | Iterable[tuple[int, int]],
        *,
        name: str = "nor",
        base: int = 0,
        erased: int = 0xFF,
        write_size: int = 1,
        program_once: bool = False,
        page_size: int | None = None,
        endurance: int | None = None,
        read_only: Iterable[int] = (),
        read_disturb: int | None = None,
        strict: bool = True,
    ) -> None:
        super().__init__(
            sectors,
            name=name,
            base=base,
            erased=erased,
            write_size=write_size,
            max_programs=1 if program_once else None,
            page_size=page_size,
            endurance=endurance,
            read_only=read_only,
            read_disturb=read_disturb,
            strict=strict,
        )

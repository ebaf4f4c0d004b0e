"""A flash model in the memory of any machine, for guests that read flash as memory."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from relink.memory.address_space import Pages, Protection, page_ceil

if TYPE_CHECKING:
    from emu.boards.flash_device import Flash
    from emu.machine import Machine
    from emu.memory.guest_memory import GuestMemory


def map_flash(machine: Machine, flash: Flash, at: int | None = None) -> int:
    """Map a flash model for reading, at a page's address or wherever there is room; return the address of its
    first byte. The guest sees every change at once, and faults when it writes. A board has `FlashMemory` for it.

    Raises AddressSpaceError when `at` is in use, or nothing is free.
    """
    memory = machine.parts.memory
    region = memory.reserve(page_ceil(flash.size), at=at, name=flash.name)
    region.buffer, region.foreign = flash.pages, True
    try:
        memory.publish(region, [Pages(0, region.size, Protection.R)])
    except BaseException:
        memory.release(region)
        raise
    if not machine.cpu.shares_memory:
        flash.changed.append(partial(_copy, memory, flash, region.address))
    return region.address


def _copy(memory: GuestMemory, flash: Flash, start: int, address: int, size: int) -> None:
    """Bring what has changed to an engine that has memory of its own."""
    offset = address - flash.base
    memory.write(start + offset, flash.contents[offset : offset + size].tobytes())

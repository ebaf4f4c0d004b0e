"""Flash models in the memory of machines, for guests that read flash as memory."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from relink.memory.address_space import Pages, Protection, page_ceil

if TYPE_CHECKING:
    from emu.boards.flash_device import Flash
    from emu.boards.memory_map import Pages as FlashPages
    from emu.cpu.protocol import Cpu
    from emu.machine import Machine
    from emu.memory.guest_memory import GuestMemory


def map_flash(machine: Machine, flash: Flash, at: int | None = None) -> int:
    """Map a flash model for reading, at a page's address or wherever there is room; return the address of its
    first byte. The guest sees every change at once, and faults when it writes; what the host writes there is in
    the flash, as by `Flash.preset`. A board has `FlashMemory` for it.

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
    keep_alike(memory, machine.cpu, flash, region.address)
    return region.address


def keep_alike(memory: GuestMemory, cpu: Cpu, flash: FlashPages, start: int) -> None:
    """Let the engine know what changes in a flash that is mapped at `start`, and the flash what the host writes to
    that memory.
    """
    flash.changed.append(partial(_changed, cpu, flash, start))
    memory.written.append(partial(_written, cpu, flash, start))


def _changed(cpu: Cpu, flash: FlashPages, start: int, address: int, size: int) -> None:
    """Write what has changed again: an engine with memory of its own gets it, others forget translated code."""
    offset = address - flash.base
    cpu.write(start + offset, flash.pages[offset : offset + size].tobytes())


def _written(cpu: Cpu, flash: FlashPages, start: int, address: int, size: int) -> None:
    """The host has written to memory: what of it is the flash's is set there."""
    low, high = max(address, start), min(address + size, start + flash.size)
    if low < high:
        flash.preset(flash.base + low - start, cpu.read(low, high - low))

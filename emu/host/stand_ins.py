"""Placeholder addresses near an image for undefined symbols.

They are unmapped: a call reaches a trap, an access faults. Each has a separate page, so that accesses a few bytes
past the symbol are attributed to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.memory.reach import reach_of
from relink.memory.address_space import PAGE
from relink.records import Assigned

if TYPE_CHECKING:
    from emu.memory.guest_memory import GuestMemory
    from emu.run.traps import Handler, TrapTable
    from relink.memory.address_space import Region
    from relink.module import Module

_PAGES = 256  #: pages reserved at a time


class StandIns(Assigned):
    """The placeholder addresses of one machine. `TrapTable.remove` frees one."""

    def __init__(self, memory: GuestMemory, traps: TrapTable) -> None:
        self._memory, self._traps = memory, traps
        self._regions: list[Region] = []

    def add(self, image: Module, name: str, handler: Handler) -> int | None:
        """Add a trap in range of an image's code, at the start of an unmapped page; None when no address is
        free.
        """
        low, high = reach_of(image)
        near = [region for region in self._regions if low <= region.address and region.end <= high]
        free = (page for region in near for page in range(region.address, region.end, PAGE))
        address = next((page for page in free if self._traps.get(page) is None), None)
        if address is None:
            region = self._memory.reserve_between(low, high, _PAGES * PAGE, "[unresolved]")
            if region is None:
                return None
            self._regions.append(region)
            address = region.address
        self._traps.add_at(address, name, handler)
        return address

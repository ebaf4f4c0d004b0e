"""Placeholder addresses near an image for undefined symbols.

They are unmapped: a call reaches a trap, an access faults. Each has a separate page, so that accesses a few bytes
past the symbol are attributed to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from emu.memory.reach import reach_of
from relink.memory.address_space import PAGE
from relink.records import Assigned

if TYPE_CHECKING:
    from emu.memory.guest_memory import GuestMemory
    from emu.run.traps import TrapTable
    from relink.memory.address_space import Region
    from relink.module import Module

_PAGES = 256  #: pages are reserved in multiples of this


class StandIns(Assigned):
    """The placeholder addresses of one machine. `TrapTable.remove` frees one."""

    def __init__(self, memory: GuestMemory, traps: TrapTable) -> None:
        self._memory, self._traps = memory, traps
        #: Regions with their free pages, of which the lowest is last.
        self._free: list[tuple[Region, dict[int, None]]] = []

    def add(self, image: Module, title: str, symbols: Sequence[str], handler: Callable[[str], int]) -> list[int]:
        """Add traps in range of an image's code, each at the start of an unmapped page (see
        `TrapTable.add_alike`). Returns their addresses, fewer than there are symbols when no more are free.
        """
        low, high = reach_of(image)
        added: list[int] = []
        for region, free in self._free:
            if free and low <= region.address and region.end <= high:
                added += self._traps.add_alike_at(free, title, symbols[len(added) :], handler)
        while len(added) < len(symbols):
            whole = -(-(len(symbols) - len(added)) // _PAGES) * _PAGES
            for pages in (whole, _PAGES):  # there may be several small gaps instead of a large one
                new = self._memory.reserve_between(low, high, pages * PAGE, "[unresolved]")
                if new is not None:
                    break
            else:
                return added
            free = dict.fromkeys(reversed(range(new.address, new.end, PAGE)))
            self._free.append((new, free))
            added += self._traps.add_alike_at(free, title, symbols[len(added) :], handler)
        return added

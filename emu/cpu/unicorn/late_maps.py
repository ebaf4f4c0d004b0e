"""`LateMaps`: mappings that Unicorn is not told of before it needs them.

Unicorn lists all of its memory anew for each mapping: 1,200 of them take a quarter of a second, and the cost grows
with the square of their number. Loads do not need the engine, and of many libraries a guest uses few. So a mapping
waits in `PageMap`. All that wait are made before a run; when they are more than `MOST`, each is made at the
guest's first access to it, which stops the engine and is repeated, as at the first fetch from a page
(`emu.cpu.unicorn.code_pages`). Where stops are counted or observed, all are made before the run.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

from emu.cpu.pages import PageMap, Piece
from emu.cpu.unicorn import api
from emu.cpu.unicorn.api import uc
from emu.cpu.unicorn.code_pages import CodePages
from emu.cpu.unicorn.isas import GDT_PAGE

#: Mappings that are made before a run together, without waiting for the guest to use them.
MOST = 64


class LateMaps(dict[int, int]):
    """The mappings of one engine that wait, which `pages` has already: address -> address of the memory on the
    host. A dictionary, since each call of the guest asks whether it is empty.
    """

    def __init__(self, handle: ctypes.c_void_p, arch: str, pages: PageMap) -> None:
        super().__init__()
        self._handle, self._pages, self._arch = handle, pages, arch
        self.code_pages: CodePages | None = None
        self.at_once = False  #: whether no mapping may wait

    def add(self, address: int, size: int, host: int) -> None:
        """Add a mapping. Raises UnicornError, without having it, where the engine is told at once and refuses."""
        self[address] = host
        # The CPU's own page is not in `pages`: the engine has to refuse what overlaps it.
        if self.at_once or (self._arch == "i386" and address + size > GDT_PAGE):
            self.make(address)

    @property
    def tells_at_once(self) -> bool:
        """Whether the engine may have to be told of a mapping at once, and may refuse it."""
        return self.at_once or self._arch == "i386"

    def make(self, start: int) -> None:
        """Have the engine map the piece that starts here, if it waits. Raises UnicornError."""
        host = self.get(start)
        if host is None:
            return
        piece = self._pages.at(start)
        if piece is None or piece.start != start:  # an exception of a signal handler ended its removal
            del self[start]
            return
        size, protection = piece.end - start, piece.protection
        if self.code_pages is not None:
            protection = self.code_pages.begin(start, size, protection)
        memory, allowed = ctypes.c_void_p(host), api.PROTECTION[protection]
        try:
            status = api.uclib.uc_mem_map_ptr(self._handle, start, size, allowed, memory)
        finally:  # also where a signal handler raises right after the call
            del self[start]
        api.check(status, "map memory", start, size)

    def make_all(self) -> None:
        """Have the engine map all that waits."""
        for start in sorted(self):
            self.make(start)

    def make_at(self, addresses: Iterable[int]) -> bool:
        """Map what waits at any of these addresses; whether there was any."""
        made = False
        for address in addresses:
            piece = self._pages.at(address)
            if piece is not None and piece.start in self:
                self.make(piece.start)
                made = True
        return made

    def remove(self, piece: Piece) -> bool:
        """Remove a piece from `pages` if it waits; whether it did."""
        if piece.start not in self:
            return False
        self._pages.remove(piece.start, piece.end - piece.start)
        self.pop(piece.start, None)
        return True

    def end(self) -> None:
        """Map all that waits, and from now on at once."""
        self.at_once = True
        self.make_all()


#: What the engine reports of an access to a mapping that it does not have.
UNMAPPED = frozenset({uc.UC_ERR_READ_UNMAPPED, uc.UC_ERR_WRITE_UNMAPPED})
FETCH = uc.UC_ERR_FETCH_UNMAPPED

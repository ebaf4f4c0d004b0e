"""Execute permission for the engine, given to pages when the guest first executes them.

On ISAs with encodings that end the process in the engine's translator (`emu.cpu.unicorn.untranslatable`), the
engine does not get the execute permission of a mapping. The guest's first fetch faults; the pages around it are
searched for such encodings, whose addresses become exits: the engine stops before it translates them. Then the
pages become executable.

Pages that are both writable and executable lose the write permission with that. The guest's next store faults and
makes the page writable, but not executable. A store to the page that is being executed is run alone, and the page
searched again; after `_MOST_STEPS` of these the page keeps both permissions and is not searched any more.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from emu.cpu.page_set import PageSet
from emu.cpu.pages import PAGE_SIZE, PageMap
from emu.cpu.protocol import Protection
from emu.cpu.unicorn import api
from emu.cpu.unicorn.api import uc
from emu.cpu.unicorn.untranslatable import LONGEST, UNTRANSLATABLE
from relink.errors import AddressSpaceError
from relink.log import Log

if TYPE_CHECKING:
    from emu.cpu.engine_events import EngineEvents

_log = Log(__name__)
_WINDOW: Final = 1 << 20  #: bytes made executable at once, of pages that are not writable
#: Bytes of read-only code; more is not searched, which would bring all of it into memory.
_LARGEST: Final = 16 << 20
_MOST_STEPS: Final = 2000  #: less than a second
_BOTH: Final = Protection.W | Protection.X


class Store(Enum):
    """How to continue after a store that the engine refused."""

    FAULT = auto()  #: it is the guest's fault
    AGAIN = auto()  #: the page is writable now
    ALONE = auto()  #: the page is writable now; call `stepped` after one instruction


class CodePages:
    """The execute permissions of one engine. `bad`: addresses that must not be translated."""

    def __init__(self, handle: ctypes.c_void_p, arch: str, pages: PageMap) -> None:
        self._handle, self._pages, self._find = handle, pages, UNTRANSLATABLE[arch]
        self._open = PageSet()  # pages the engine may execute
        self._steps: Counter[int] = Counter()
        self.bad: set[int] = set()
        #: Told of bytes [low, high) that have been searched: they may have changed.
        self.on_search: Callable[[int, int], object] = lambda low, high: None
        self.observed: EngineEvents | None = None  #: which closes pages that are watched
        self.exits: set[int] | None = None  #: None: the engine ends runs by `until` alone

    def begin(self, address: int, size: int, protection: Protection) -> Protection:
        """The permissions that the engine may have now of pages that are mapped or changed."""
        self.forget(address, size)
        if size > _LARGEST and protection & _BOTH == Protection.X:
            self._open.add_range(address, address + size)
            return protection
        return self.engine_protection(protection)

    def engine_protection(self, protection: Protection) -> Protection:
        """The permissions of pages that have not been executed."""
        return protection & ~Protection.X

    def permitted(self, page: int, protection: Protection) -> Protection:
        """The part of `protection` that the engine may have of a page now."""
        if page not in self._open:
            return self.engine_protection(protection)
        both = protection & _BOTH == _BOTH and self._steps[page] < _MOST_STEPS
        return protection & ~Protection.W if both else protection

    def forget(self, address: int, size: int) -> None:
        """Pages have been mapped, unmapped or given other permissions: they are not executable."""
        self._open.discard_range(address, address + size)
        self._drop(address, address + size)
        for page in [page for page in self._steps if address <= page < address + size]:
            del self._steps[page]

    def changed(self, low: int, high: int) -> None:
        """The host has written code in [low, high)."""
        first, end = low - low % PAGE_SIZE, -(-high // PAGE_SIZE) * PAGE_SIZE
        if self._open.overlaps(first, end):
            self._search(self._reach(low & ~3, -LONGEST - 1), high + 3 & ~3)

    def fetch(self, pc: int) -> bool:
        """The engine could not fetch at `pc`. False: the guest may not either."""
        page = pc - pc % PAGE_SIZE
        if page in self._open:  # the instruction, or the block on x86, goes on in the next page
            page += PAGE_SIZE
        piece = self._pages.at(page)
        if piece is None or not piece.protection & Protection.X or page in self._open:
            return False
        low, high = page, page + PAGE_SIZE
        if not piece.protection & Protection.W:
            low = max(piece.start, page - page % _WINDOW)
            high = min(piece.end, page - page % _WINDOW + _WINDOW)
        self._search(low, high)
        both = piece.protection & _BOTH == _BOTH and self._steps[page] < _MOST_STEPS
        if self.observed is not None:
            self.observed.remapping(low, high - low)
        self._protect(low, high, piece.protection & ~Protection.W if both else piece.protection)
        self._open.add_range(low, high)
        if self.observed is not None:
            self.observed.remapped(low, high - low)
        return True

    def store(self, address: int, size: int, pc: int) -> Store:
        """The engine could not write [address, address + size)."""
        pages = {address & -PAGE_SIZE, address + max(size, 1) - 1 & -PAGE_SIZE}
        written = [page for page in pages if page in self._open and self._protection(page) & _BOTH == _BOTH]
        if not written:
            return Store.FAULT
        running = {pc & -PAGE_SIZE, pc + LONGEST & -PAGE_SIZE}
        if running.isdisjoint(written):
            for page in written:
                self._open.discard_range(page, page + PAGE_SIZE)
                # Unicorn would not drop them at a store to pages that are not executable.
                api.control(self._handle, uc.UC_CTL_TB_REMOVE_CACHE, page, page + PAGE_SIZE)
                self._protect(page, page + PAGE_SIZE, self.engine_protection(self._protection(page)))
                self._steps[page] += 1
            return Store.AGAIN
        for page in written:
            self._protect(page, page + PAGE_SIZE, self._protection(page))
            self._steps[page] += 1
        return Store.ALONE

    def stepped(self) -> None:
        """The instruction that stores to its own page has run."""
        for page, steps in self._steps.items():
            if steps == _MOST_STEPS:
                _log.warning("the guest executes and writes the page at %#x: it is no longer searched", page)
            elif page in self._open and steps < _MOST_STEPS:
                self._search(page, page + PAGE_SIZE)
                self._protect(page, page + PAGE_SIZE, self._protection(page) & ~Protection.W)

    def set_exits(self, until: int) -> None:
        """Have the next run end at `until` and before what must not be translated."""
        if self.exits is None:
            if not self.bad:
                return
            api.check(api.control(self._handle, uc.UC_CTL_UC_USE_EXITS, 1), "set exits")
        exits = self.bad | {until}
        if exits != self.exits:
            values = (ctypes.c_uint64 * len(exits))(*exits)
            api.check(
                api.control(self._handle, uc.UC_CTL_UC_EXITS, ctypes.addressof(values), len(exits)), "set exits"
            )
            self.exits = exits

    def _protection(self, page: int) -> Protection:
        piece = self._pages.at(page)
        return Protection.NONE if piece is None else piece.protection

    def _protect(self, low: int, high: int, protection: Protection) -> None:
        status = api.uclib.uc_mem_protect(self._handle, low, high - low, api.PROTECTION[protection])
        api.check(status, "protect memory", low, high - low)

    def _drop(self, low: int, high: int) -> None:
        if self.bad:
            self.bad = {address for address in self.bad if not low <= address < high}

    def _search(self, low: int, high: int) -> None:
        """Find what must not be translated in [low, high), in encodings that go on beyond it too."""
        self._drop(low, high)
        self.on_search(low, high)
        start, end = self._reach(low, -LONGEST - 1), self._reach(high, LONGEST + 1)
        self.bad.update(at for at in self._find(self._pages.read(start, end - start), start) if low <= at < high)

    def _reach(self, edge: int, distance: int) -> int:
        """`edge`, or `distance` further where memory is mapped there."""
        try:
            self._pages.read(min(edge, edge + distance), abs(distance))
        except AddressSpaceError:
            return edge
        return edge + distance

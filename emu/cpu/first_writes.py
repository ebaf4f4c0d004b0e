"""Noticing the first write to each page by write protection, for an engine with its own memory.

A page is *clean* while it has the content of the last `take`. Clean pages have no write permission in the engine,
so the guest's first write stops it; the page's content is kept, and the write is repeated. Pages mapped since the
last `take` are not clean and have no former content.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from emu.cpu.pages import PAGE_SIZE
from emu.cpu.spans import SpanMap
from relink.memory.address_space import Protection

if TYPE_CHECKING:
    from emu.cpu.icicle_engine import Vocabulary
    from emu.cpu.icicle_events import IcicleEvents

#: An access of an instruction is at most this many bytes.
_WIDEST = 64


class FirstWrites:
    """The clean pages among `mapped`. `read(page)` returns a page's content; `protect(start, end, protection)`
    changes the engine's permissions.
    """

    def __init__(
        self,
        mapped: SpanMap,
        read: Callable[[int], bytes],
        protect: Callable[[int, int, Protection], object],
    ) -> None:
        self._mapped, self._read, self._protect = mapped, read, protect
        self._former: dict[int, bytes] = {}  # page -> content at the last `take`
        self._new = SpanMap()  # pages mapped since
        self.protect_all()

    def take(self) -> dict[int, bytes]:
        """The pages written or unmapped since the last call, with their contents then. All pages are clean after
        this.
        """
        taken, self._former = self._former, {}
        self._new = SpanMap()
        self.protect_all()
        return taken

    def protect_all(self) -> None:
        """Set the engine's permissions of all pages."""
        for span in self._mapped.spans:
            if span.protection & Protection.W:
                self._protect(span.start, span.end, span.protection & ~Protection.W)
        for span in self._new.spans:
            for part in self._mapped.overlapping(span.start, span.end):
                self._protect(part.start, part.end, part.protection)
        for page in self._former:
            self._permit(page)

    def added(self, start: int, end: int) -> None:
        """Pages have been mapped."""
        self._new.add(start, end, Protection.NONE)

    def removing(self, start: int, end: int) -> None:
        """Pages are about to be unmapped."""
        self._keep(start, end)
        self._new.remove(start, end)

    def writing(self, start: int, end: int) -> None:
        """The host is about to write."""
        for page in self._keep(start, end):
            self._permit(page)

    def protected(self, start: int, end: int) -> None:
        """The permissions of mapped pages have changed, in `mapped` and in the engine."""
        for span in self._mapped.overlapping(start, end):
            if span.protection & Protection.W:
                for page in range(span.start, span.end, PAGE_SIZE):
                    if self._is_clean(page):
                        self._protect(page, page + PAGE_SIZE, span.protection & ~Protection.W)

    def admit(self, address: int) -> bool:
        """Permit a write that the engine has refused at `address`; False when the guest may not write there."""
        for page in sorted({address & -PAGE_SIZE, (address + _WIDEST - 1) & -PAGE_SIZE}):
            span = self._mapped.find(page)
            if span is not None and span.protection & Protection.W and self._is_clean(page):
                self.writing(page, page + PAGE_SIZE)
                return True
        return False

    def _is_clean(self, page: int) -> bool:
        return page not in self._former and self._new.find(page) is None

    def _keep(self, start: int, end: int) -> list[int]:
        """Keep the contents of the clean pages of a range; return them."""
        pages = [page for page in range(start & -PAGE_SIZE, end, PAGE_SIZE) if self._is_clean(page)]
        kept = [page for page in pages if self._mapped.find(page) is not None]
        for page in kept:
            self._former[page] = self._read(page)
        return kept

    def _permit(self, page: int) -> None:
        span = self._mapped.find(page)
        if span is not None:
            self._protect(page, page + PAGE_SIZE, span.protection)


class SavedEngine:
    """The part of a `Cpu` for snapshots."""

    _first_writes: FirstWrites | None = None  #: once a snapshot has been taken
    _observed: IcicleEvents | None
    _pages: SpanMap
    _words: Vocabulary

    @property
    @abstractmethod
    def _engine(self) -> Any:
        """The engine."""

    @abstractmethod
    def read(self, address: int, size: int) -> bytes:
        """See `Cpu.read`."""

    @abstractmethod
    def _forget(self, start: int, end: int) -> None:
        """Drop translations."""

    def take_written(self) -> Mapping[int, bytes]:
        """See `Cpu.take_written`."""
        if self._first_writes is None:
            self._first_writes = FirstWrites(self._pages, lambda page: self.read(page, PAGE_SIZE), self._permit)
        taken = self._first_writes.take()
        if self._observed is not None:
            self._observed.guard_again()
        return taken

    def _permit(self, start: int, end: int, protection: Protection) -> None:
        self._engine.mem_protect(start, end - start, self._words.protections[int(protection)])

    def _admitted(self) -> bool:
        """Whether the engine refused a write only because it was the first to its page since a snapshot."""
        return self._first_writes is not None and self._first_writes.admit(int(self._engine.exception_value))

    def other_protection(self, page: int) -> None:
        """Called before the engine gets other permissions for a page than the guest has given it."""
        if self._first_writes is not None:
            self._first_writes.writing(page, page + PAGE_SIZE)

    def forget(self, address: int, size: int) -> None:
        """See `Cpu.forget`."""
        self._forget(address, address + size)

    def take_host_writes(self) -> list[tuple[int, int]]:
        return []

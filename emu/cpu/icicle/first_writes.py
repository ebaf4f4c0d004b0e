"""Noticing the first write to each page by write protection, for an engine with its own memory.

A page is *clean* while it has the content of the last `settle`. Clean pages have no write permission in the
engine, so the guest's first write stops it; the page's content is kept, and the write is repeated. Pages mapped
since the last `settle` are not clean and have no former content.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from emu.cpu.page_set import runs
from emu.cpu.pages import PAGE_SIZE
from emu.cpu.spans import SpanMap
from relink.memory.address_space import Protection

if TYPE_CHECKING:
    from emu.cpu.icicle.engine import Engine, Vocabulary
    from emu.cpu.icicle.events import IcicleEvents

_WRITE = int(Protection.W)  # operators of enumerations take a microsecond
_READ_ONLY = {protection: protection & ~Protection.W for protection in map(Protection, range(8))}
_BATCH = 1 << 16  #: bytes written at a time: more would be memory that the host has to provide first
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
        self._former: dict[int, bytes] = {}  # page -> content at the last `settle`
        self._known: Mapping[int, bytes] = {}  # the same of some pages that may be clean
        self._new = SpanMap()  # pages mapped since
        self.protect_all()

    @property
    def former(self) -> Mapping[int, bytes]:
        """The pages written or unmapped since the last `settle`, with their contents then."""
        return self._former

    def settle(self, known: Mapping[int, bytes]) -> None:
        """All pages are clean from now on. `known` are contents of some, so that they need not be read."""
        self._known = {}
        former, self._former = self._former, {}
        new, self._new = self._new.spans, SpanMap()
        for span in new:
            self._close(span.start, span.end)
        for start, end in runs(former):
            self._close(start, end)
        self._known = known

    def _close(self, start: int, end: int) -> None:
        """Withdraw the engine's permission to write."""
        for span in self._mapped.overlapping(start, end):
            if int.__and__(span.protection, _WRITE):
                self._protect(span.start, span.end, _READ_ONLY[span.protection])

    def protect_all(self) -> None:
        """Set the engine's permissions of all pages."""
        self._close(0, 1 << 64)
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

    def _first_write(self, page: int, protection: Protection) -> None:
        self._former[page] = self._content(page)
        self._protect(page, page + PAGE_SIZE, protection)

    def protected(self, start: int, end: int) -> None:
        """The permissions of mapped pages have changed, in `mapped` and in the engine."""
        for span in self._mapped.overlapping(start, end):
            if span.protection & Protection.W:
                for page in range(span.start, span.end, PAGE_SIZE):
                    if self._is_clean(page):
                        self._protect(page, page + PAGE_SIZE, _READ_ONLY[span.protection])

    def admit(self, address: int) -> bool:
        """Permit a write that the engine has refused at `address`; False when the guest may not write there."""
        for page in (address & -PAGE_SIZE, (address + _WIDEST - 1) & -PAGE_SIZE):
            span = self._mapped.find(page)
            if span is not None and int.__and__(span.protection, _WRITE) and self._is_clean(page):
                self._first_write(page, span.protection)
                return True
        return False

    def _is_clean(self, page: int) -> bool:
        return page not in self._former and not (self._new.spans and self._new.find(page))

    def _keep(self, start: int, end: int) -> list[int]:
        """Keep the contents of the clean pages of a range; return them."""
        pages = [page for page in range(start & -PAGE_SIZE, end, PAGE_SIZE) if self._is_clean(page)]
        kept = [page for page in pages if self._mapped.find(page) is not None]
        for page in kept:
            self._former[page] = self._content(page)
        return kept

    def _content(self, page: int) -> bytes:
        """The content of a clean page."""
        content = self._known.get(page)
        return self._read(page) if content is None else content

    def _permit(self, page: int) -> None:
        span = self._mapped.find(page)
        if span is not None:
            self._protect(page, page + PAGE_SIZE, span.protection)


class SavedEngine:
    """The part of a `Cpu` for snapshots."""

    _first_writes: FirstWrites | None = None  #: once a snapshot has been taken
    _observed: IcicleEvents | None
    _pages: SpanMap
    _ran: SpanMap
    _stale: bool
    _words: Vocabulary

    @property
    @abstractmethod
    def _engine(self) -> Engine:
        """The engine."""

    @abstractmethod
    def _prepare(self, *, refresh: bool = False) -> None:
        """Drop translations."""

    def written(self) -> Mapping[int, bytes]:
        """See `Cpu.written`."""
        return {} if self._first_writes is None else self._first_writes.former

    def settle(self, contents: Iterable[tuple[int, bytes]]) -> None:
        """See `Cpu.settle`."""
        known = dict(contents)
        places = runs(known)
        if any(self._ran.overlapping(start, end) for start, end in places):
            self._prepare(refresh=True)  # the engine refuses changes of translated code
        write = self._engine.mem_write
        for start, end in places:
            for at in range(start, end, _BATCH):
                pages = range(at, min(at + _BATCH, end), PAGE_SIZE)
                write(at, b"".join(map(known.__getitem__, pages)))
        if self._first_writes is None:
            self._first_writes = FirstWrites(self._pages, self._page, self._permit)
        else:
            self._first_writes.settle(known)
        if self._observed is not None:
            self._observed.guard_again()

    def _page(self, page: int) -> bytes:
        return self._engine.mem_read(page, PAGE_SIZE)

    def _permit(self, start: int, end: int, protection: Protection) -> None:
        self._engine.mem_protect(start, end - start, protection)

    def _admitted(self) -> bool:
        """Whether the engine refused a write only because it was the first to its page since a snapshot."""
        address = int(self._engine.raw.exception_value)
        if self._first_writes is None or not self._first_writes.admit(address):
            return False
        # A change of permissions makes the engine forget that it has translated code of the page.
        if self._ran.overlapping(address & -PAGE_SIZE, address + _WIDEST):
            self._prepare(refresh=True)
        return True

    def other_protection(self, page: int) -> None:
        """Called before the engine gets other permissions for a page than the guest has given it."""
        if self._first_writes is not None:
            self._first_writes.writing(page, page + PAGE_SIZE)

    def take_host_writes(self) -> list[tuple[int, int]]:
        return []

    def forget(self, address: int, size: int) -> None:
        if self._ran.overlapping(address, address + size):
            self._stale = True

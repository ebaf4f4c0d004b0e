"""Pages of zeros, of which icicle keeps one for many addresses.

When memory that has no page yet is read, icicle gives it one of two pages of zeros that all such memory shares: a
read-only one, or one that can be written, which a write replaces by a page of its own (`Mmu::get_zero_page`). It
does so only where `mem_protect` has set the permissions last, since those of `mem_map` lack two of its bits.

It takes no care of these pages (0.0.11): what the host writes to the read-only one is at all the addresses, and
other permissions for one address (none, or executable) are those of all, in later lives of the engine too. So here
such memory gets pages of its own first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emu.cpu.page_set import runs
from emu.cpu.pages import PAGE_SIZE
from emu.cpu.spans import SpanMap
from relink.memory.address_space import Protection

_FEW = 16
_ZEROS = bytes(PAGE_SIZE)
_READ, _WRITE, _EXECUTE = int(Protection.R), int(Protection.W), int(Protection.X)


class ZeroPages:
    """The part of an Engine that changes its memory, the icicle.Icicle `raw`."""

    raw: Any
    modes: Mapping[int, Any]  #: icicle's names for permissions

    def nothing_is_mapped(self) -> None:
        """Forget all pages: the engine is new, or has been reset."""
        #: The permissions of memory that may have shared pages: of ranges, and of single pages in and outside of
        #: them (0: it has none). A guest's first writes change thousands of single pages.
        self._ranges, self._single = SpanMap(), dict[int, int]()

    def mem_write(self, address: int, data: bytes) -> None:
        if self._ranges.spans or self._single:
            for page in range(address & -PAGE_SIZE, address + len(data), PAGE_SIZE):
                if self._permissions(page) == _READ:
                    self._make_own(page)
        self.raw.mem_write(address, data)

    def mem_protect(self, address: int, size: int, protection: Protection) -> None:
        mode = self.modes[int(protection)]
        if protection and not int.__and__(protection, _EXECUTE):
            self.raw.mem_protect(address, size, mode)
            self._note(address, address + size, protection)
            return
        if self._ranges.spans or self._single:
            self._separate(address, address + size, mode)
            self._note(address, address + size, 0)
        self.raw.mem_protect(address, size, mode)

    def mem_unmap(self, address: int, size: int) -> None:
        self.raw.mem_unmap(address, size)
        if self._ranges.spans or self._single:
            self._note(address, address + size, 0)

    def _permissions(self, page: int) -> int:
        if page in self._single:
            return self._single[page]
        span = self._ranges.find(page)
        return 0 if span is None else span.protection

    def _note(self, start: int, end: int, protection: int) -> None:
        """Memory has these permissions from now on; 0: it has no shared pages."""
        if end - start == PAGE_SIZE:
            if protection or self._ranges.find(start) is not None:
                self._single[start] = protection
            else:
                self._single.pop(start, None)
            return
        ranges = self._ranges
        ranges.spans = (
            ranges.with_span(start, end, Protection(protection)) if protection else ranges.without(start, end)
        )
        pages = range(start, end, PAGE_SIZE)
        some, others = (pages, self._single) if len(pages) < len(self._single) else (self._single, pages)
        for page in [page for page in some if page in others]:
            del self._single[page]

    def _make_own(self, page: int) -> None:
        """A read-only page: a write replaces a shared one that can be written."""
        try:
            self.raw.mem_protect(page, PAGE_SIZE, self.modes[_WRITE])
            self.raw.mem_write(page, self.raw.mem_read(page, 1))
        finally:
            self.raw.mem_protect(page, PAGE_SIZE, self.modes[_READ])

    def _separate(self, start: int, end: int, mode: Any) -> None:
        """Map those pages of zeros anew that may be shared."""
        pages = range(start, end, PAGE_SIZE)
        for low, high in runs(page for page in pages if self._permissions(page) and self._is_zero(page)):
            try:
                self.raw.mem_unmap(low, high - low)
            finally:
                self.raw.mem_map(low, high - low, mode)

    def _is_zero(self, page: int) -> bool:
        read = self.raw.mem_read  # 16 bytes take 1 us, all 50
        return not any(read(page, _FEW)) and bytes(read(page, PAGE_SIZE)) == _ZEROS

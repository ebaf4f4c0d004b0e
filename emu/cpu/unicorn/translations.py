"""Dropping Unicorn's translations of code that was changed by the host, which Unicorn does not notice."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from emu.cpu.pages import PAGE_SIZE, PageMap, Piece
from emu.cpu.protocol import Protection
from emu.cpu.unicorn import api
from emu.cpu.unicorn.api import uc

if TYPE_CHECKING:
    from emu.cpu.hooks.inspector import Inspector
    from emu.cpu.hooks.limit_hooks import LimitHooks
    from emu.cpu.hooks.meter import Meter
    from emu.cpu.unicorn.code_pages import CodePages
    from emu.cpu.unicorn.events import UnicornEvents
    from emu.cpu.unicorn.late_maps import LateMaps


class UnicornTranslations:
    """The part of a `Cpu` for translations, and for writes that snapshots must know of."""

    _handle: ctypes.c_void_p
    _pages: PageMap
    _late: LateMaps
    _meter: Meter | None
    _limit_hooks: LimitHooks | None
    _inspector: Inspector | None
    _observed: UnicornEvents | None
    _code_pages: CodePages | None
    _host_writes: list[tuple[int, int]] | None = None  #: None until they are asked for

    def take_host_writes(self) -> list[tuple[int, int]]:
        """See `Cpu.take_host_writes`."""
        taken, self._host_writes = self._host_writes or [], []
        return taken

    def written(self) -> Mapping[int, bytes]:
        return {}

    def settle(self, contents: Iterable[tuple[int, bytes]]) -> None:
        return

    def engine_protection(self, page: int, protection: Protection) -> Protection:
        """The part of a page's permissions that the engine may have (`emu.cpu.unicorn.code_pages`)."""
        return protection if self._code_pages is None else self._code_pages.permitted(page, protection)

    def forget(self, address: int, size: int) -> None:
        """Drop translations of the mapped part of a range."""
        while size > 0:
            piece = self._pages.at(address)
            if piece is None:
                address, size = address + PAGE_SIZE, size - PAGE_SIZE
                continue
            high = min(piece.end, address + size)
            self._drop_translations(piece, address, high)
            address, size = high, size - (high - address)

    def _forget(self, piece: Piece, low: int, high: int) -> None:
        """Drop translations of [low, high), which the host has written."""
        if self._host_writes is not None and (piece.translated or not piece.protection & Protection.W):
            self._host_writes.append((low, high - low))
        self._drop_translations(piece, low, high)

    def _drop_translations(self, piece: Piece, low: int, high: int) -> None:
        if piece.start in self._late:
            return
        if piece.translated and self._code_pages is not None:
            self._code_pages.changed(low, high)
        if piece.translated and (self._meter is None or self._meter.may_be_translated(low, high)):
            if self._meter is not None:
                self._meter.forget()
            if self._limit_hooks is not None:
                self._limit_hooks.code_changed()
            if self._inspector is not None:
                self._inspector.forget(low, high)
            if self._observed is not None:
                self._observed.forget(low, high)
            api.control(self._handle, uc.UC_CTL_TB_REMOVE_CACHE, low, high)

"""Unicorn's memory: that of the caller, with the permissions of its pages (see `emu.cpu.unicorn.cpu`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from emu.cpu.pages import PAGE_SIZE, Piece, map_each
from emu.cpu.protocol import Pages, Protection
from emu.cpu.unicorn import api, late_maps
from emu.cpu.unicorn.api import uc
from emu.cpu.unicorn.checks import host_address, mapped_together
from emu.cpu.unicorn.heap_calls import UnicornHeapCalls
from emu.cpu.unicorn.isas import UnicornIsa
from emu.cpu.unicorn.quick_stores import QuickStores
from emu.cpu.unicorn.translations import UnicornTranslations
from relink.errors import AddressSpaceError

if TYPE_CHECKING:
    from relink.arrays import U8


class UnicornMemory(UnicornTranslations):
    """The part of a `UnicornCpu` for memory."""

    _isa: UnicornIsa
    _seen: api.Seen
    _running: int
    _trap_start: int
    _trap_end: int
    stops_at_blocks: bool
    in_misrun: bool
    _stores: QuickStores
    heap_calls: UnicornHeapCalls

    if TYPE_CHECKING:

        def _refuse_other_threads(self) -> None: ...

    def map(self, address: int, size: int, protection: Protection, buffer: U8, *, zeroed: bool = False) -> None:
        """Map `buffer` itself; see `Cpu.map`. Raises AddressSpaceError for overlap, a wrong size or alignment, and
        unsupported addresses.
        """
        if self._running:
            self._refuse_other_threads()
        traps = self._trap_start, self._trap_end
        host = host_address(self._isa, traps, address, size, protection, buffer)
        if self._observed is not None:
            self._observed.remapping(address, size)
        self._pages.add(address, memoryview(cast(Any, buffer)), protection)
        try:
            self._late.add(address, size, host)
        except api.UnicornError:
            self._pages.remove(address, size)
            raise
        self._stores.mapped()
        if self._observed is not None:
            self._observed.remapped(address, size)

    def map_all(self, regions: Sequence[tuple[int, U8, Sequence[Pages]]]) -> None:
        """Map runs of pages of several regions; see `Cpu.map_all`. Raises as `map` does."""
        if self._running:
            self._refuse_other_threads()
        if not self._map_together(regions):
            map_each(self.map, regions)

    def _map_together(self, regions: Sequence[tuple[int, U8, Sequence[Pages]]]) -> bool:
        """Map all that nothing speaks against; False, with nothing mapped, where each is to be looked at."""
        found = mapped_together(self._isa, (self._trap_start, self._trap_end), regions)
        if found is None or self._late.tells_at_once or not self._pages.add_all(found.pieces):
            return False
        self._late.update(found.hosts)
        self._stores.mapped()
        for piece in found.pieces if self._observed is not None else ():
            self._observed.remapped(piece.start, piece.end - piece.start)  # type: ignore[union-attr]
        return True

    def protect(self, address: int, size: int, protection: Protection) -> None:
        """Change the permissions of mapped pages. Raises AddressSpaceError if any of them is not mapped."""
        if self._running:
            self._refuse_other_threads()
        pieces = self._pages.covering(address, size, "protect of unmapped memory")
        self._stores.changing(address, size)
        for piece, _, _ in pieces if self._late else ():
            self._late.make(piece.start)
        if self._code_pages is not None:
            self._code_pages.forget(address, size)  # first: what goes on is not searched again
        for piece, low, high in pieces:
            self._drop_translations(piece, low, high)  # before the protection changes, while the engine finds them
        if self._observed is not None:
            self._observed.remapping(address, size)
        self._pages.protect(address, size, protection)
        if self._code_pages is not None:
            protection = self._code_pages.begin(address, size, protection)
        status = api.uclib.uc_mem_protect(self._handle, address, size, api.PROTECTION[protection])
        api.check(status, "protect memory", address, size)
        if self._observed is not None:
            self._observed.remapped(address, size)

    def unmap(self, address: int, size: int) -> None:
        """Unmap pages and drop their translations. Raises AddressSpaceError if any page is unmapped."""
        if self._running:
            self._refuse_other_threads()
        pieces = self._pages.covering(address, size, "unmap of unmapped memory")
        if not pieces:
            raise AddressSpaceError("the range is empty", address=address, size=size)
        self._stores.changing(address, size)
        self.heap_calls.unmapped(address, address + size)
        if not self._late:
            self._unmap(pieces)
            return
        for piece, low, high in pieces:
            if not ((low, high) == (piece.start, piece.end) and self._late.remove(piece)):
                self._late.make(piece.start)
                self._unmap([(piece, low, high)])

    def _unmap(self, pieces: list[tuple[Piece, int, int]]) -> None:
        """Unmap consecutive pieces, each with the bounds of its part, that the engine has."""
        low, size = pieces[0][1], pieces[-1][2] - pieces[0][1]
        if self._code_pages is not None:
            self._code_pages.forget(low, size)
        for piece, start, end in pieces:
            self._drop_translations(piece, start, end)
        try:
            status = api.uclib.uc_mem_unmap(self._handle, low, size)
        finally:  # also where a signal handler raises right after the call
            self._pages.remove(low, size)
        if status != uc.UC_ERR_NOMEM:
            api.check(status, "unmap memory", low, size)
        elif len(pieces) > 1:  # one is "not present": a signal handler has interrupted `map`; the others go
            for _, start, end in pieces:
                api.uclib.uc_mem_unmap(self._handle, start, end - start)

    def read(self, address: int, size: int) -> bytes:
        """Read guest memory, ignoring permissions. Raises GuestAccessError if any byte is unmapped."""
        return self._pages.read(address, size)

    def load(self, address: int, size: int) -> bytes:
        """Read guest memory as the guest would. Raises GuestAccessError if any byte cannot be read."""
        data = self._pages.read(address, size, Protection.R)
        if self._observed is not None and self._observed.watching:
            note = self._observed.computes if self.in_misrun else self._observed.host_accesses
            note(address, size, data, write=False)
        return data

    def store(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Write guest memory with the guest's permissions. Raises GuestAccessError, with nothing written."""
        observed = self._observed if self._observed is not None and self._observed.watching else None
        before = self._pages.read(address, len(data), Protection.W) if observed is not None else b""
        if observed is not None and self.in_misrun:
            observed.computes(address, len(data), before, write=True)
            observed = None
        for piece, low, high in self._pages.write(address, data, Protection.W):
            self._forget(piece, low, high)
        if observed is not None:
            observed.host_accesses(address, len(data), before, write=True)

    def extent(self, address: int, needed: Protection) -> int:
        """The number of bytes from `address` on that allow `needed`; see `Cpu.extent`."""
        return self._pages.extent(address, needed)

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Write guest memory, ignoring permissions, and drop stale translations. Raises GuestAccessError, with
        nothing written, if any byte is unmapped.
        """
        if self._running:
            self._refuse_other_threads()
        for piece, low, high in self._pages.write(address, data):
            self._forget(piece, low, high)

    def _make_late(self, pc: int, *, counted: bool) -> None:
        """Make the mappings that wait, before a run; of many only the one at `pc`."""
        if len(self._late) <= late_maps.MOST or counted or self.stops_at_blocks:
            self._late.make_all()
        else:
            self._late.make_at((pc,))

    def _made_late(self, status: int, pc: int) -> bool:
        """Whether the run stopped for want of a mapping that waited, which the engine has now."""
        if status in late_maps.UNMAPPED:
            address, size = self._seen.access()
            full = self._full_address(address) or 0
            made = self._late.make_at((full, full + size - 1))
        else:
            made = status == late_maps.FETCH and self._late.make_at((pc, self._fetched(pc)))
        if made:
            self._seen.forget()
        return made

    def _full_address(self, address: int | None) -> int | None:
        """A faulting address as the guest has it."""
        return address if self._stores.on else self._isa.full_address(address)

    def _fetched(self, pc: int) -> int:
        """The address of a failed fetch: the next page if the instruction at `pc` extends into it."""
        piece = self._pages.at(pc)
        fetchable = piece is not None and piece.protection & Protection.X
        return (pc | (PAGE_SIZE - 1)) + 1 if fetchable else pc

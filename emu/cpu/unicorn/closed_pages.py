"""Watched memory on Unicorn: pages that are closed to the guest (`emu.cpu.engine_events`).

- The accesses of the instruction that meets a closed page are noted by a hook that exists while it runs alone.
- After a fetch Unicorn's TLB lets reads of a page pass, whatever its permissions. They are looked at for each read
  while there is a hook for reads, of whatever address: there is one while a page of code is closed to reads.
- An instruction that is computed on the host (`emu.cpu.misrun`) ends the run where it meets a closed page.
"""

from __future__ import annotations

import ctypes
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from emu.cpu.engine_events import PAGE_SIZE, EngineEvents
from emu.cpu.events import RawAccess
from emu.cpu.hooks.event_hooks import Log, event_hook
from emu.cpu.misrun import ClosedPage
from emu.cpu.protocol import Protection, Stop
from emu.cpu.unicorn import api
from emu.cpu.unicorn.api import uc
from emu.cpu.unicorn.hooked import HookedCpu
from emu.cpu.unicorn.lost_stores import check_step

_EVERYWHERE: Final = (1, 0)
_NOWHERE: Final = ((1 << 64) - 1,) * 2  #: no memory can be mapped there


class ClosedPages(EngineEvents):
    """The part of `UnicornEvents` for watched memory."""

    _reach = 7  # accesses of more than 8 bytes are made in parts

    def __init__(self, cpu: HookedCpu, address_mask: int) -> None:
        super().__init__(cpu, address_mask)
        self._engine = cpu
        self._reads: ctypes.c_size_t | None = None  #: the hook that has permissions looked at, which notes nothing
        self._no_room = Log(stop=api.EMU_STOP)
        self._no_room.prepare(0, 3)
        self._step_log: Log | None = None  #: the accesses of the instruction that meets a closed page
        self._computed: list[RawAccess] = []  #: those of the same instruction, if it is computed on the host
        self._ran_computed = False  #: whether it is

    @abstractmethod
    def interrupted(self, pc: int) -> None:
        """The instruction at `pc` has not run."""

    def _add(self, kind: int, name: str, data: Any, place: tuple[int, int]) -> ctypes.c_size_t:
        code = ctypes.c_void_p(event_hook(name))
        return api.add_hook(self._engine.handle, kind, code, ctypes.byref(data), place=place)

    def _remove(self, hook: ctypes.c_size_t) -> None:
        api.check(api.uclib.uc_hook_del(self._engine.handle, hook), "remove a hook")

    def _guard_again(self) -> None:
        self._engine.record_all_faults(bool(self._watches))
        super()._guard_again()
        self._look_at_reads()

    def _look_at_reads(self) -> None:
        """Have the engine look at the permissions for each read while that matters."""
        closed = (page for page, lost in self._guards.items() if lost & Protection.R)
        wanted = any(self._cpu.extent(page, Protection.X) for page in closed)
        if wanted == (self._reads is not None):
            return
        self._stale_guards = True  # where a signal handler raises, the next run begins with this again
        self._engine.drop_all_translations()
        if self._reads is not None:
            hook, self._reads = self._reads, None
            self._remove(hook)
        else:
            self._reads = self._add(uc.UC_HOOK_MEM_READ, "access", self._no_room, _NOWHERE)
        self._stale_guards = False

    def computes(self, address: int, size: int, before: bytes, *, write: bool) -> None:
        """An instruction that is computed on the host is about to access memory. Raises ClosedPage."""
        needed = Protection.W if write else Protection.R
        for page in self._guarded(address & -PAGE_SIZE, address % PAGE_SIZE + size):
            if page not in self._opened and self._guards[page] & needed:
                self._engine.seen.note_closed(address, size, write=write)
                raise ClosedPage(address, size, write=write, mapped=True)
        if self._step_log is not None:
            self._computed += [RawAccess(address, size, write)]

    def host_accesses(self, address: int, size: int, before: bytes, *, write: bool) -> None:
        """See `EngineEvents`. The place of a device's access is the instruction that accesses the device. The run
        ends there: what it has read is kept, and it runs again when that has been reported.
        """
        inside = self._engine.in_access
        if inside:
            self._last = self._engine.read_register("pc") & self._mask
        super().host_accesses(address, size, before, write=write)
        if inside and self._by_host:
            self._engine.pause()

    @contextmanager
    def opened(self, addresses: Iterable[int]) -> Iterator[None]:
        """While the engine, not the guest, accesses memory at these addresses: watched pages are open to it."""
        pages = [page for page in {address & -PAGE_SIZE for address in addresses} if page in self._guards]
        try:
            for page in pages:
                self._stale_guards, self._unsure = True, (*self._unsure, page)
                self._set_guard(page, Protection.NONE)
            yield
        finally:
            if pages:
                self._guard_again()

    def _protect_page(self, page: int, protection: Protection) -> None:
        protection = self._engine.engine_protection(page, protection)
        status = api.uclib.uc_mem_protect(self._engine.handle, page, PAGE_SIZE, api.PROTECTION[protection])
        api.check(status, "protect memory", page, PAGE_SIZE)

    def _step_noting(self, pc: int, timeout: float) -> tuple[Stop, list[RawAccess]]:
        self.interrupted(pc & self._mask)  # by the fault on a closed page
        log = Log(stop=api.EMU_STOP)
        log.prepare(256, 3)
        delete, handle, hook = api.uclib.uc_hook_del, self._engine.handle, None
        self._step_log, self._computed, self._ran_computed = log, [], False
        by_blocks, self._engine.stops_at_blocks = self._engine.stops_at_blocks, False  # a step ends sooner
        try:
            hook = self._add(uc.UC_HOOK_MEM_READ | uc.UC_HOOK_MEM_WRITE, "access", log, _EVERYWHERE)
            self._engine.drop_translations(pc & self._mask, (pc & self._mask) + 1)
            stop = self._advance(pc, 1, timeout)
        finally:
            if hook is not None:  # without another call before: the hook must not outlive the log
                delete(handle, hook)
            self._step_log, self._engine.stops_at_blocks = None, by_blocks
            self._engine.drop_translations(pc & self._mask, (pc & self._mask) + 1)
        raw = [RawAccess(address, size, kind == uc.UC_MEM_WRITE) for address, size, kind in log.take().tolist()]
        raw = self._computed if self._ran_computed else raw
        check_step(raw, self._faulted_at, stop)
        return stop, raw

"""Stores that Unicorn makes without looking for their memory.

Unicorn 2.1.4 makes a store by its TLB alone (a nanosecond) only to pages that it does not take for code, and that
no hook for forbidden or unmapped accesses covers (`notdirty_write` in qemu/accel/tcg/cputlb.c). As it is set up by
default no page is such: without paging all pages may be executed, and the hook that records faults covers all. A
store then takes 20 to 50 ns, and a guest runs at a third to a fifth of its speed. So here

- the TLB is filled by a hook (`emu.cpu.hooks.fill_hook`) that gives the permission to execute to pages once they
  have been fetched from; the engine fetches from a page before it translates anything in it, so stores to code are
  noticed;
- the hook that records faults leaves out memory that can be read and written, in which nothing can fault.

With watched memory, and where the engine's own address translation does more (physical memory protection
of RISC-V, memory of Cortex-M that is never executed), all is as Unicorn has it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

import numpy as np

from emu.cpu.hooks.fill_hook import TABLE_BYTES, fill, fill_hook
from emu.cpu.pages import PageMap, Piece
from emu.cpu.protocol import Protection
from emu.cpu.unicorn import api
from emu.cpu.unicorn.api import uc
from emu.cpu.unicorn.isas import CPSR_IT

if TYPE_CHECKING:
    from emu.cpu.unicorn.late_maps import LateMaps

#: The ranges left out of the record of faults, the largest first, since each makes a hook of its own.
_MOST: Final = 12
_LAST: Final = (1 << 64) - 1
_BOTH: Final = Protection.R | Protection.W
_FEWEST_RUNS: Final = 8  #: between two looks at the memory
_PIECES_A_RUN: Final = 64  #: pieces of memory that are looked at for each run
#: What Cortex-M never executes (ARMv7-M Architecture Reference Manual, B3.1).
_EXECUTE_NEVER: Final = ((0x4000_0000, 0x6000_0000), (0xA000_0000, 1 << 32))
#: The models that refuse it; Unicorn's Cortex-M0 does not.
_WITH_MEMORY_MAP: Final = frozenset({"cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33"})

_Range = tuple[int, int]


class QuickStores:
    """The way stores are made on one engine. `model`: see `UnicornCpu`; `cpsr`: Arm: the number of that register;
    `write_code`: whether the engine may write to memory that it may execute.
    """

    def __init__(
        self,
        handle: ctypes.c_void_p,
        pages: PageMap,
        seen: api.Seen,
        model: str | None,
        cpsr: int | None,
        write_code: bool,
    ) -> None:
        self._handle, self._pages, self._seen, self._write_code = handle, pages, seen, write_code
        self._never = _EXECUTE_NEVER if model in _WITH_MEMORY_MAP else ()
        #: A fetch of unmapped memory from here on is no fault of the engine's only: nothing can ever be executed.
        self.never_from = _EXECUTE_NEVER[-1][0] if self._never else 1 << 64
        self._left_out: tuple[_Range, ...] | None = ()  #: None: not known
        self._next = 0  #: the number of the run before which memory may be looked at again
        self.on = False  #: whether the TLB is filled by the hook
        self._suspended = False
        hook = None if model == "machine" else fill_hook()
        self.stale = True  #: whether `prepare` has something to do before the next run
        self._possible = hook is not None
        if hook is not None:
            self._fetched = np.zeros(TABLE_BYTES, np.uint8)
            table = int(self._fetched.ctypes.data)
            self._fill = fill(table, api.REG_READ.value, api.REG_WRITE.value, cpsr, CPSR_IT)
            api.add_hook(handle, uc.UC_HOOK_TLB_FILL, ctypes.c_void_p(hook), ctypes.byref(self._fill))

    def prepare(self, late: LateMaps, runs: int) -> None:
        """Leave out what can be, before a run; of `late` the engine has nothing yet. After so many `runs` it waits
        for some, so that memory which changes often, or of which there is much, costs little for each run.
        """
        if runs < self._next:
            return
        self._next = 0 if self._never else runs + _FEWEST_RUNS + len(self._pages) // _PIECES_A_RUN
        if any(piece.protection & Protection.X and self._has_never_executed(piece) for piece in self._pages):
            self._possible = False
        possible = self._possible and not self._suspended
        left_out = tuple(self._safe_ranges(late)) if possible else ()
        if left_out != self._left_out:
            self._record(left_out)
        self._switch(possible)
        self.stale = False

    def _safe_ranges(self, late: LateMaps) -> list[_Range]:
        """The largest ranges in which nothing can fault, in order."""
        safe = (piece for piece in self._pages if self._is_safe(piece) and piece.start not in late)
        return sorted(sorted(merged(safe), key=lambda each: each[0] - each[1])[:_MOST])

    def _is_safe(self, piece: Piece) -> bool:
        permissions = piece.protection
        return permissions & _BOTH == _BOTH and (self._write_code or not permissions & Protection.X)

    def _has_never_executed(self, piece: Piece) -> bool:
        return any(piece.start < end and start < piece.end for start, end in self._never)

    def is_never_executed(self, address: int) -> bool:
        """Whether the CPU refuses to execute at this address, whatever is there."""
        return any(start <= address < end for start, end in self._never)

    def mapped(self) -> None:
        """There is new memory."""
        self.stale = self.stale or self._possible

    def changing(self, address: int, size: int) -> None:
        """Memory is about to be unmapped, or to have other permissions."""
        self.mapped()
        if self._left_out is None or any(
            start < address + size and address < end for start, end in self._left_out
        ):
            self.record_all()

    def record_all(self) -> None:
        """Record all faults, by a hook after those that there are now; until the next run nothing is left out."""
        self._record(())
        api.control(self._handle, uc.UC_CTL_TLB_FLUSH)

    def suspend(self) -> None:
        """Until `resume` all is as Unicorn has it."""
        self._suspended = True
        self.record_all()
        self._switch(False)
        self.stale = False

    def resume(self) -> None:
        self._suspended, self._next, self.stale = False, 0, True

    def end(self) -> None:
        """From now on all is as Unicorn has it."""
        self._possible = False
        self.suspend()

    def _record(self, left_out: tuple[_Range, ...]) -> None:
        # A signal handler may raise at any place: then the next run begins with this again.
        self.stale, self._left_out = True, None
        api.record_bad_accesses(self._handle, self._seen, around(left_out))
        self._left_out = left_out

    def _switch(self, on: bool) -> None:
        if self.on != on:
            mode = uc.UC_TLB_VIRTUAL if on else uc.UC_TLB_CPU
            api.check(api.control(self._handle, uc.UC_CTL_TLB_TYPE, mode), "choose how the TLB is filled")
            api.control(self._handle, uc.UC_CTL_TLB_FLUSH)
            self.on = on


def merged(pieces: Iterable[Piece]) -> Iterator[_Range]:
    """The ranges of pieces in order, neighbours joined."""
    start = end = 0
    for piece in pieces:
        if piece.start != end:
            if end:
                yield start, end
            start = piece.start
        end = piece.end
    if end:
        yield start, end


def around(ranges: Iterable[_Range]) -> list[_Range]:
    """The gaps between ranges (start, end) in order, as (first, last)."""
    found, first = [], 0
    for start, end in ranges:
        if first < start:
            found.append((first, start - 1))
        first = end
    if first <= _LAST:
        found.append((first, _LAST))
    return found

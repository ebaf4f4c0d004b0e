"""Instructions that need more than the engine does, found in new blocks (`emu.cpu.hooks.inspector`).

- SEV sets the event register, which the engine does not have.
- Divisions fault for a divisor of zero while CCR.DIV_0_TRP is set; the engine's give 0.
- Floating-point instructions fault until CPACR enables them; the engine's always run.
- Conversions of fixed-point numbers round to nearest, whatever FPSCR says; in the engine by FPSCR.
- v8-M baseline runs on the engine's mainline: instructions that only the mainline has are refused.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from functools import partial
from operator import attrgetter

import numpy as np

from emu.cpu.corrections.find_arm import arm
from emu.cpu.misrun import Guest, Misrun, Outcome
from relink.arrays import U16

_SEV, _WIDE_SEV, _DIVISION, _DIVISION_MASK = 0xBF40, (0xF3AF, 0x8004), 0xFB90, 0xFFD0
#: v8-M baseline's instructions of 32 bits (ARMv8-M ARM, C1.3.4): (mask, value) of both halfwords.
_BASELINE = (
    (0xF800_8000, 0xF000_8000),  # B.W (conditional too), BL, MSR, MRS, barriers
    (0xFBF0_8000, 0xF240_0000),  # MOVW
    (0xFBF0_8000, 0xF2C0_0000),  # MOVT
    (0xFFD0_F0F0, 0xFB90_F0F0),  # SDIV, UDIV
    (0xFFE0_0000, 0xE840_0000),  # LDREX, STREX, TT
    (0xFFE0_0F80, 0xE8C0_0F80),  # LDA, STL and their exclusives
    (0xFFE0_0FC0, 0xE8C0_0F40),  # LDREXB, LDREXH, STREXB, STREXH
    (0xFFFF_FFFF, 0xE97F_E97F),  # SG
)


class Inspection:
    """The instructions that are looked for; the attributes follow the CPU's system registers."""

    def __init__(self, on_event: Callable[[], None], *, has_fpu: bool, baseline: bool) -> None:
        self._on_event, self._has_fpu, self._baseline = on_event, has_fpu, baseline
        self.divide_traps = False  #: CCR.DIV_0_TRP
        self.floats_enabled = False  #: CPACR

    def find(self, code: bytes, address: int, *, to_branch: bool = False) -> Iterator[Misrun]:
        """Find such instructions, and those of `emu.cpu.corrections.find_arm` (`emu.cpu.misrun.Finder`)."""
        address |= 1
        own = self._own(code, address & ~1, to_branch=to_branch)
        return heapq.merge(own, arm(code, address), key=attrgetter("address")) if self._has_fpu else own

    def _own(self, code: bytes, address: int, *, to_branch: bool) -> Iterator[Misrun]:
        halves = np.frombuffer(code, "<u2", len(code) // 2)
        if not self._may_have(halves):
            return
        at, words = 0, halves.tolist()
        while at < len(words):
            first = words[at]
            wide = first >= 0xE800
            if wide and at + 1 == len(words):
                return
            second = words[at + 1] if wide else 0
            size = 4 if wide else 2
            run = self._run(first, second, wide)
            if run is not None:
                yield Misrun(address + 2 * at, size, None if run is _refuse else run)
            if to_branch and _is_branch(first, second):
                return
            at += 2 if wide else 1

    def _may_have(self, halves: U16) -> bool:
        if self._baseline:
            return True
        found = (halves == _SEV) | (halves == _WIDE_SEV[1])
        if self.divide_traps:
            found |= (halves & _DIVISION_MASK) == _DIVISION
        if self._has_fpu and not self.floats_enabled:
            found |= (halves & 0xEC00) == 0xEC00
        return bool(found.any())

    def _run(self, first: int, second: int, wide: bool) -> Callable[[Guest], Outcome] | None:
        if first == _SEV or (first, second) == _WIDE_SEV:
            return self._send_event
        if self._baseline and not _in_baseline(first, second, wide):
            return _refuse
        if not wide:
            return None
        if self.divide_traps and first & _DIVISION_MASK == _DIVISION:
            return partial(self._divide, second & 15)
        if self._has_fpu and not self.floats_enabled and first & 0xEC00 == 0xEC00 and second >> 8 & 14 == 10:
            return self._compute
        return None

    def _send_event(self, guest: Guest) -> Outcome:
        self._on_event()
        return Outcome.PREPARED

    def _divide(self, divisor: int, guest: Guest) -> Outcome:
        zero = self.divide_traps and not guest.read_register(f"r{divisor}")
        return Outcome.REFUSED if zero else Outcome.PREPARED

    def _compute(self, guest: Guest) -> Outcome:
        return Outcome.PREPARED if self.floats_enabled else Outcome.REFUSED


def _refuse(guest: Guest) -> Outcome:
    return Outcome.REFUSED


def _in_baseline(first: int, second: int, wide: bool) -> bool:
    if not wide:
        return not (first & 0xFF00 == 0xBF00 and first & 15)  # IT
    word = first << 16 | second
    return any(word & mask == value for mask, value in _BASELINE)


def _is_branch(first: int, second: int) -> bool:
    """Whether an instruction may end a block, as far as matters: the code after it may be no code."""
    if first >= 0xE800:
        return first & 0xF800 == 0xF000 and bool(second & 0x8000)
    return first & 0xF000 == 0xD000 or first & 0xF800 == 0xE000 or first & 0xFF00 in (0x4700, 0xBD00)

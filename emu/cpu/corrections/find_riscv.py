"""RISC-V: reserved 16-bit instructions, among them Zcb's, run as no-ops in Unicorn: refused. rdtime, which Unicorn
refuses: computed. fmin and fmax: `emu.cpu.corrections.find_riscv_float`.

Unicorn runs user code in machine mode. Its instructions and registers are refused there (RISC-V privileged ISA,
2.1, 3.3).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from emu.cpu.corrections.find_riscv_float import judge
from emu.cpu.misrun import Finder, Guest, Misrun, Outcome

_RDTIME, _RDTIMEH = 0xC01, 0xC81
#: (mask, pattern) of c.j, c.beqz, c.bnez, and RV32's c.jal; c.jr, c.jalr and c.ebreak are handled separately.
_SHORT_BRANCHES = {32: frozenset({0xA001, 0xC001, 0xE001, 0x2001}), 64: frozenset({0xA001, 0xC001, 0xE001})}
_LONG_BRANCHES = frozenset({0x63, 0x67, 0x6F, 0x73})
_SYSTEM = 0x73
_USER_CALLS = frozenset({0x0000_0073, 0x0010_0073, 0x1050_0073})  #: ecall, ebreak; wfi, which stops the run
#: fflags, frm, fcsr; user code's counters.
_USER_REGISTERS = frozenset((1, 2, 3, 0xC00, _RDTIME, 0xC02, 0xC80, _RDTIMEH, 0xC82))
_TICK = 100  #: nanoseconds per tick of the time counter: 10 MHz, as on QEMU's "virt" board


Counters: TypeAlias = Mapping[int, Callable[[], int | None]]


def riscv(bits: int, counters: Counters | None = None) -> Finder:
    """A finder for code of `bits`. `counters`, of boards, has what reads the CSRs of counters, by number; what
    gives None makes the read illegal.
    """
    user = counters is None
    branches = _SHORT_BRANCHES[bits]
    values: Counters = counters if counters is not None else {_RDTIME: _ticks, _RDTIMEH: lambda: _ticks() >> 32}

    def find(code: bytes, address: int, *, to_branch: bool = False) -> Iterator[Misrun]:
        position = 0
        while position + 2 <= len(code):
            half = code[position] | code[position + 1] << 8
            if half & 3 != 3:
                if _reserved(half, bits):
                    yield Misrun(address + position, 2, None)
                    return
                short = half & 0xE003 in branches or half & 0xF07F in (0x8002, 0x9002)
                if to_branch and short:
                    return
                position += 2
                continue
            word = int.from_bytes(code[position : position + 4], "little")
            if word & 0xFFFFF == word & 0xF80 | 0x02073 and word >> 20 in values:
                yield Misrun(address + position, 4, _counter(word >> 7 & 31, values[word >> 20], bits))
            elif user and word & 0x7F == _SYSTEM and _is_privileged(word):
                yield Misrun(address + position, 4, None)
                return
            if to_branch and word & 0x7F in _LONG_BRANCHES:
                return
            found = judge(word, address + position)
            if found is not None:
                yield found
            position += 4

    return find


def _is_privileged(word: int) -> bool:
    """Whether a word of the class of system instructions is privileged."""
    return word >> 20 not in _USER_REGISTERS if word >> 12 & 3 else word not in _USER_CALLS


def _reserved(half: int, bits: int) -> bool:
    """Whether a 16-bit code is reserved in RV32GC or RV64GC (RISC-V unprivileged ISA, "C" extension, 28.8)."""
    quadrant, function, register = half & 3, half >> 13, half >> 7 & 31
    if quadrant == 0:
        return function == 4 or (function == 0 and not half >> 5 & 0xFF)
    immediate = (half >> 2 & 31) | (half >> 7 & 32)
    if quadrant == 1:
        if function == 3:
            return not immediate
        if function == 1:
            return bits == 64 and not register
        if function == 4 and half >> 10 & 3 == 3:
            return bool(half >> 12 & 1) and (bits == 32 or half >> 5 & 3 >= 2)
        shift = function == 4 and half >> 10 & 3 < 2
        return shift and bits == 32 and bool(half >> 12 & 1)
    if function == 0:
        return bits == 32 and bool(half >> 12 & 1)
    if function in (2, 3):
        return not register and (function == 2 or bits == 64)
    return half == 0x8002


def _ticks() -> int:
    """The time counter, which starts at an arbitrary moment."""
    return time.monotonic_ns() // _TICK


def _counter(register: int, read: Callable[[], int | None], bits: int) -> Callable[[Guest], Outcome]:
    """Read a counter into a register."""

    def run(guest: Guest) -> Outcome:
        value = read()
        if value is None:
            return Outcome.REFUSED
        if register:
            guest.write_register(f"x{register}", value & (1 << bits) - 1)
        return Outcome.DONE

    return run

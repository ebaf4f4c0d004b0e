"""Arm: VFP's conversions of 32-bit fixed-point numbers to single precision always round to nearest; in Unicorn
(QEMU 5) they round by FPSCR. Computed, or, in a Thumb IT block, where Unicorn cannot stop, refused at its start.

Code is searched as A32 and as T32, since a block does not say which it is; registers do, when it runs.
Source: Arm ARM, F6.1.78, "VCVT (between floating-point and fixed-point)".
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

import numpy as np

from emu.cpu.misrun import Guest, Misrun, Outcome
from emu.cpu.sse import SINGLE, single_of

_MASK, _CODE = 0x0FBE_0FD0, 0x0EBA_0AC0
_THUMB: Final = 1 << 5  #: in CPSR
_ROUNDING: Final = 3 << 22  #: in FPSCR: 0 is to nearest
_INEXACT: Final = 1 << 4
_IT, _IT_MASK = 0xBF00, 0xFF00
_LONGEST_BLOCK: Final = 4  #: instructions in an IT block


def arm(code: bytes, address: int, *, to_branch: bool = False) -> Iterator[Misrun]:
    """Find such instructions."""
    halves = np.frombuffer(code, "<u2", len(code) // 2).astype(np.uint32)
    if halves.size < 2:
        return
    first, second = halves[:-1], halves[1:]
    a32 = np.flatnonzero((((first | second << 16) & _MASK) == _CODE) & (second >> 12 != 0xF))
    t32 = np.flatnonzero((((first << 16 | second) & _MASK) == _CODE) & (first >> 12 == 0xE))
    found = {int(at): (int(first[at] | second[at] << 16), False) for at in a32 if not (address + 2 * at) % 4}
    found |= {int(at): (int(first[at] << 16 | second[at]), True) for at in t32}
    blocks = {begin: True for at in t32 for begin in _it_blocks(halves, int(at))}
    for at in sorted(found.keys() | blocks.keys()):
        if at in blocks:
            yield Misrun(address + 2 * at, 2, _begin_block)
        else:
            word, thumb = found[at]
            yield Misrun(address + 2 * at, 4, partial(_convert, word, thumb))


def _it_blocks(halves: np.ndarray[tuple[int], np.dtype[np.uint32]], at: int) -> Iterator[int]:
    """Where IT instructions are that may cover the one at a place."""
    for begin in range(max(at - 2 * _LONGEST_BLOCK, 0), at):
        if halves[begin] & _IT_MASK == _IT and halves[begin] & 15:
            count = _LONGEST_BLOCK - (int(halves[begin]) & -int(halves[begin])).bit_length() + 1
            place = begin + 1
            for _ in range(count):
                if place == at:
                    yield begin
                place += 1 + (int(halves[place]) >> 11 >= 0x1D) if place < len(halves) else 1


def _begin_block(guest: Guest) -> Outcome:
    if not guest.read_register("cpsr") & _THUMB or not guest.read_register("fpscr") & _ROUNDING:
        return Outcome.PREPARED
    return Outcome.REFUSED


def _convert(word: int, thumb: bool, guest: Guest) -> Outcome:
    """Sd = the integer in Sd, divided by a power of two."""
    status, flags = guest.read_register("fpscr"), guest.read_register("cpsr")
    if bool(flags & _THUMB) != thumb or not status & _ROUNDING or not (thumb or _passes(word >> 28, flags >> 28)):
        return Outcome.PREPARED
    name = f"s{word >> 11 & 30 | word >> 22 & 1}"
    value, unsigned = guest.read_register(name), word >> 16 & 1
    if not unsigned:
        value = (value ^ 1 << 31) - (1 << 31)
    divisor = 32 - ((word & 15) << 1 | word >> 5 & 1)
    pattern, inexact = single_of(value, 0)
    guest.write_register(name, SINGLE.pattern(SINGLE.value(pattern) / (1 << divisor)))
    if inexact:
        guest.write_register("fpscr", status | _INEXACT)
    return Outcome.DONE


def _passes(condition: int, flags: int) -> bool:
    """Whether a condition holds with the flags N, Z, C, V (Arm ARM, F1.3)."""
    negative, zero, carry, overflow = (bool(flags & bit) for bit in (8, 4, 2, 1))
    holds = (
        zero,
        carry,
        negative,
        overflow,
        carry and not zero,
        negative == overflow,
        not zero and negative == overflow,
        True,
    )[condition >> 1]
    return holds if condition in (14, 15) else holds != bool(condition & 1)

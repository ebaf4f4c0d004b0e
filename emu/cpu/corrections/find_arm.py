"""Arm: what Unicorn (QEMU 5) executes wrongly.

- VFP's conversions of 32-bit fixed-point numbers to single precision always round to nearest; in Unicorn they
  round by FPSCR. Computed, or, in a Thumb IT block, where Unicorn cannot stop, refused at its start.
- Some reserved codes of NEON run as their neighbours: refused.

Source: Arm ARM, F6.1.78, "VCVT (between floating-point and fixed-point)"; F4.1.18, "Advanced SIMD and
floating-point three registers of the same length extension"; F4.1.22, "Advanced SIMD data-processing".
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np

from emu.cpu.corrections.sse import SINGLE, single_of
from emu.cpu.misrun import Guest, Misrun, Outcome

_MASK, _CODE = 0x0FBE_0FD0, 0x0EBA_0AC0
_THUMB: Final = 1 << 5  #: in CPSR
_ROUNDING: Final = 3 << 22  #: in FPSCR: 0 is to nearest
_INEXACT: Final = 1 << 4
_IT, _IT_MASK = 0xBF00, 0xFF00
_LONGEST_BLOCK: Final = 4  #: instructions in an IT block


def arm(code: bytes, address: int, *, to_branch: bool = False) -> Iterator[Misrun]:
    """Find such instructions; bit 0 of the address is set for T32."""
    thumb, address = bool(address & 1), address & ~1
    halves = np.frombuffer(code, "<u2", len(code) // 2).astype(np.uint32)
    words = np.asarray(halves[:-1] << 16 | halves[1:] if thumb else halves[:-1:2] | halves[1::2] << 16, np.uint32)
    step = 1 if thumb else 2
    converted = ((words & _MASK) == _CODE) & (words >> 28 == 0xE if thumb else words >> 28 != 0xF)
    reserved = _reserved(words, thumb)
    found = {step * int(at): int(words[at]) for at in np.flatnonzero(converted | reserved)}
    refused = {step * int(at) for at in np.flatnonzero(reserved)}
    blocks = {begin: at in refused for at in found for begin in _it_blocks(halves, at)} if thumb else {}
    for at in sorted(found.keys() | blocks.keys()):
        if at in blocks:
            yield Misrun(address + 2 * at, 2, partial(_begin_block, blocks[at]))
        elif at in refused:
            yield Misrun(address + 2 * at, 4, partial(_refuse, thumb))
        else:
            yield Misrun(address + 2 * at, 4, partial(_convert, found[at], thumb))


_Words: TypeAlias = np.ndarray[tuple[int], np.dtype[np.uint32]]
#: (mask, code) of reserved codes: VSDOT and VUDOT with bit 24, VMUL.F32 with bit 21, and VQDMULL with U, where
#: bits 20 and 21 are not both set.
_DOT, _MULTIPLY, _LONG = (0xFFB0_0F00, 0xFD20_0D00), (0xFFA0_0F10, 0xF320_0D10), (0xFF80_0F50, 0xF380_0D00)
_SIZE: Final = 3 << 20


def _reserved(words: _Words, thumb: bool) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    def matches(pattern: tuple[int, int], as_t32: int) -> Any:
        mask, code = pattern
        return (words & mask) == (as_t32 if thumb else code)

    long = matches(_LONG, 0xFF80_0D00) & ((words & _SIZE) != _SIZE)
    return np.asarray(matches(_DOT, _DOT[1]) | matches(_MULTIPLY, 0xFF20_0D10) | long)


def _refuse(thumb: bool, guest: Guest) -> Outcome:
    return Outcome.REFUSED if bool(guest.read_register("cpsr") & _THUMB) == thumb else Outcome.PREPARED


def _it_blocks(halves: _Words, at: int) -> Iterator[int]:
    """Where IT instructions are that may cover the one at a place."""
    for begin in range(max(at - 2 * _LONGEST_BLOCK, 0), at):
        if halves[begin] & _IT_MASK == _IT and halves[begin] & 15:
            count = _LONGEST_BLOCK - (int(halves[begin]) & -int(halves[begin])).bit_length() + 1
            place = begin + 1
            for _ in range(count):
                if place == at:
                    yield begin
                place += 1 + (int(halves[place]) >> 11 >= 0x1D) if place < len(halves) else 1


def _begin_block(reserved: bool, guest: Guest) -> Outcome:
    if not guest.read_register("cpsr") & _THUMB:
        return Outcome.PREPARED
    return Outcome.REFUSED if reserved or guest.read_register("fpscr") & _ROUNDING else Outcome.PREPARED


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

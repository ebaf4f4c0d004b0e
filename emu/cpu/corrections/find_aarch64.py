"""AArch64: LDSMAX and LDSMIN of less than 64 bits compare as unsigned in Unicorn (QEMU 5): computed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from emu.cpu.misrun import Guest, Misrun, Outcome

_MASK, _CODE = 0x3F20_EC00, 0x3820_4000  #: mask and value of LDSMAX and LDSMIN; bit 12 is set in LDSMIN
#: Masks and values: b and bl, b.cond, cbz to tbnz, exceptions and branches to registers (Arm ARM, C4.1.65).
_BRANCHES = (
    (0x7C00_0000, 0x1400_0000),
    (0xFE00_0000, 0x5400_0000),
    (0x7C00_0000, 0x3400_0000),
    (0xFD00_0000, 0xD400_0000),
)


def aarch64(code: bytes, address: int, *, to_branch: bool = False) -> Iterator[Misrun]:
    """Find such instructions."""
    words = np.frombuffer(code, "<u4", len(code) // 4)
    places = np.flatnonzero((words & _MASK) == _CODE)
    if not places.size:
        return
    end = _branch(code) if to_branch else len(code)
    for at in map(int, 4 * places):
        word = int.from_bytes(code[at : at + 4], "little")
        if word >> 30 != 3 and at < end:
            yield Misrun(address + at, 4, partial(_extreme, word))


def _branch(code: bytes) -> int:
    """The offset of the first branch instruction."""
    for at in range(0, len(code) - 3, 4):
        word = int.from_bytes(code[at : at + 4], "little")
        if any(word & mask == value for mask, value in _BRANCHES):
            return at
    return len(code)


def _extreme(word: int, guest: Guest) -> Outcome:
    """Rt = [Xn]; [Xn] = the maximum or minimum of [Xn] and Rs."""
    size = 1 << (word >> 30)
    source, base, result = word >> 16 & 31, word >> 5 & 31, word & 31
    address = guest.read_register("sp" if base == 31 else f"x{base}")
    if address % size:
        return Outcome.PREPARED
    before = int.from_bytes(guest.load(address, size), "little")
    other = 0 if source == 31 else guest.read_register(f"x{source}") & (1 << 8 * size) - 1
    choose = min if word >> 12 & 1 else max
    sign = 1 << 8 * size - 1
    guest.store(address, choose(before, other, key=lambda value: value ^ sign).to_bytes(size, "little"))
    if result != 31:
        guest.write_register(f"x{result}", before)
    return Outcome.DONE

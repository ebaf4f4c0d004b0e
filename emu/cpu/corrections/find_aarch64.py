"""AArch64: what Unicorn (QEMU 5) executes wrongly.

- LDSMAX and LDSMIN of less than 64 bits compare as unsigned: computed.
- Unicorn runs user code at EL1. System instructions and registers that EL0 does not have, or Linux does not read
  for it, are refused (Arm ARM, C5.2, D19; Linux, Documentation/arm64/cpu-feature-registers.rst).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

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


#: The class of system instructions, and reads of a register in it.
_SYSTEM, _READ = 0xD500_0000 >> 22, 0xD530_0000 >> 20
_USER: Final = 3  #: the value of op1 for what EL0 has
#: CFINV, XAFLAG, AXFLAG, whatever their CRm.
_FLAG_CODES: Final = frozenset((0xD500_401F, 0xD500_403F, 0xD500_405F))
#: Moves of DAIF, with any register; DAIFSet and DAIFClr, with any immediate.
_DAIF, _DAIF_IMMEDIATE = 0xD51B_4220, frozenset((0xD503_40DF, 0xD503_40FF))
#: (CRm, op2) of registers that Linux reads for user code: MIDR, MPIDR, REVIDR, and the ID registers of AArch64.
_IDENTIFYING: Final = frozenset(((0, 0), (0, 5), (0, 6), *((crm, op2) for crm in range(4, 8) for op2 in range(8))))


def user_code(code: bytes, address: int, *, to_branch: bool = False) -> Iterator[Misrun]:
    """`aarch64` for user code: up to the first privileged instruction, which is refused."""
    words = np.frombuffer(code, "<u4", len(code) // 4)
    found = sorted(aarch64(code, address, to_branch=to_branch), key=lambda each: each.address)
    refused = next(
        (4 * int(at) for at in np.flatnonzero(words >> 22 == _SYSTEM) if _is_privileged(int(words[at]))), None
    )
    if refused is None or (to_branch and refused >= _branch(code)):
        yield from found
        return
    yield from (each for each in found if each.address < address + refused)
    yield Misrun(address + refused, 4, None)


def _is_privileged(word: int) -> bool:
    """Whether a word of the class of system instructions is privileged."""
    op1, immediate = word >> 16 & 7, word & ~0xF00
    if op1 == _USER:
        return word & ~0x0020_001F == _DAIF or immediate in _DAIF_IMMEDIATE
    if op1 or word >> 12 & 15:
        return immediate not in _FLAG_CODES
    return word >> 20 != _READ or not word >> 19 & 1 or (word >> 8 & 15, word >> 5 & 7) not in _IDENTIFYING


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

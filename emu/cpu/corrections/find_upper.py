"""x86-64 instructions that keep the upper half of a register, which Unicorn clears.

- bsf and bsr of zero, with 32-bit operands: the destination stays as it is (AMD64 Architecture Programmer's Manual
  volume 3, "BSF"; so do Intel's processors of today, SDM volume 2, "BSF").
- cmpxchg with 32-bit operands writes either rax or the destination, never both (SDM volume 2, "CMPXCHG").

The engine is stopped only where that may show (`emu.cpu.hooks.guard_hook`).
"""

from __future__ import annotations

from functools import partial
from typing import Final

from emu.cpu.corrections.x86_code import GENERAL, X86Code
from emu.cpu.corrections.x86_flags import of_difference, set_flags
from emu.cpu.misrun import Guest, Misrun, Outcome, UpperHalf

_BSF, _BSR, _CMPXCHG, _REPEAT = 0xBC, 0xBD, 0xB1, 0xF3
_LOW: Final = 0xFFFF_FFFF
#: Bytes of such instructions, as a regular expression.
PATTERN: Final = rb"(?<!\xf3)(?<!\xf3[\x40-\x4f])\x0f[\xbc\xbd]|\x0f\xb1"


def judge(code: X86Code) -> Misrun | None:
    """The replacement of one of these instructions."""
    first, second, operands = code.opcode[:3]
    if first != 0x0F or code.bits != 64 or code.wide or 0x66 in code.prefixes or not code.size:
        return None
    reg, rm = operands >> 3 & 7 | (code.rex & 4) << 1, operands & 7 | (code.rex & 1) << 3
    in_register = operands >= 0xC0
    if second == _CMPXCHG:
        # In a register the other operand may keep its upper half too: not worth a guard.
        guard = None if in_register else UpperHalf("rax", None)
        run = partial(_exchange, code, GENERAL[reg], GENERAL[rm] if in_register else None)
    elif second in (_BSF, _BSR) and code.mandatory != _REPEAT:
        guard = UpperHalf(GENERAL[reg], GENERAL[rm] if in_register else None)
        run = partial(_scan, code, GENERAL[rm] if in_register else None)
    else:
        return None
    return Misrun(code.address, code.size, run, guard=guard)


def _scan(code: X86Code, source: str | None, guest: Guest) -> Outcome:
    """bsf, bsr: of zero, the flags are those of zero."""
    value = (
        guest.read_register(source) if source else int.from_bytes(guest.load(code.location(guest, 1), 4), "little")
    )
    if value & _LOW:
        return Outcome.PREPARED
    set_flags(guest, code.bits, of_difference(0, 0, 4))
    return Outcome.DONE


def _exchange(code: X86Code, source: str, target: str | None, guest: Guest) -> Outcome:
    """cmpxchg of a register, or memory if `target` is None."""
    wanted, at = guest.read_register("rax"), 0 if target else code.location(guest)
    before = guest.read_register(target) if target else int.from_bytes(guest.load(at, 4), "little")
    if (before ^ wanted) & _LOW:
        if not before >> 32:
            return Outcome.PREPARED
        guest.write_register("rax", before & _LOW)
    elif not wanted >> 32:
        return Outcome.PREPARED
    elif target:
        guest.write_register(target, guest.read_register(source) & _LOW)
    else:
        guest.store(at, (guest.read_register(source) & _LOW).to_bytes(4, "little"))
    set_flags(guest, code.bits, of_difference(wanted & _LOW, before & _LOW, 4))
    return Outcome.DONE

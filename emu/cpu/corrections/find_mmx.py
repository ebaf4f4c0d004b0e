"""MMX instructions that write an MMX register: its exponent, as an x87 register, becomes all ones.

Unicorn leaves the exponent as it is. The engine is stopped only where that shows (`emu.cpu.hooks.guard_hook`), and
only the first instruction of a block that writes a register is hooked: Unicorn goes through all hooks at each
instruction with one, and such code has many.

Source: Intel SDM volume 3, 12.2 ("The MMX State and MMX Register Aliasing").
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from emu.cpu.corrections.x86_code import X86Code
from emu.cpu.misrun import Guest, Misrun, MmxExponent, Outcome, Spread, Then
from relink.records import replace

#: Second bytes of opcodes without a prefix that write the register in ModRM's reg field, and in its rm field.
_REG: Final = frozenset(
    (*range(0x60, 0x6C), 0x6E, 0x6F, 0x70, 0x74, 0x75, 0x76, 0x2C, 0x2D, 0xC4, *range(0xD1, 0xD6))
) | frozenset((*range(0xD8, 0xE6), *range(0xE8, 0xF0), *range(0xF1, 0xF7), *range(0xF8, 0xFF)))
_RM: Final = frozenset((0x71, 0x72, 0x73, 0x7F))
_SSSE3: Final = {0x38: frozenset((*range(0x0C), 0x1C, 0x1D, 0x1E)), 0x3A: frozenset((0x0F,))}
_CONVERSIONS: Final = (0x2C, 0x2D)  #: with 0x66 too: from doubles
_MOVDQ2Q: Final = (0xF2, 0xD6)
_EXPONENT: Final = 0xFFFF << 64
_X87: Final = range(0xD8, 0xE0)  #: opcodes of x87, which change exponents; with those behind 0f:
_RESTORES: Final = (0xAE, 0xC7)  #: fxrstor, xrstor, xrstors
_TOP: Final = 11  #: the place of the stack's top in x87's status word


def _written(code: X86Code) -> int | None:
    """The number of the MMX register that an instruction writes."""
    first, second, third, fourth = code.opcode[:4]
    if first != 0x0F or not code.size:
        return None
    if code.mandatory:
        known = (code.mandatory == 0x66 and second in _CONVERSIONS) or (code.mandatory, second) == _MOVDQ2Q
        return third >> 3 & 7 if known else None
    if second in _REG:
        return third >> 3 & 7
    if second in _SSSE3:
        return fourth >> 3 & 7 if third in _SSSE3[second] else None
    return third & 7 if second in _RM and third >= 0xC0 else None


def judge(code: X86Code, found: Misrun | None, traps: Callable[[Guest], bool], settled: set[int]) -> Misrun | None:
    """The correction of an MMX instruction, given that `found` already; `traps`: whether MMX instructions trap.
    `settled`, which is updated: registers whose exponents are all ones after what comes before in the block.
    """
    number = _written(code)
    if number is None or (found is not None and found.run is None):
        first, second = code.opcode[:2]
        if first in _X87 or (first == 0x0F and second in _RESTORES):
            settled.clear()
        return found
    run = partial(_run, number, found.run if found is not None else None, traps)
    if found is not None:
        return replace(found, run=run)
    if number in settled:
        return None
    settled.add(number)
    return Misrun(code.address, code.size, run, guard=MmxExponent(number))


def _run(
    number: int,
    inner: Callable[[Guest], Outcome | Then | Spread] | None,
    traps: Callable[[Guest], bool],
    guest: Guest,
) -> Outcome | Then | Spread:
    name = f"st{number - (guest.read_register('fpsw') >> _TOP) & 7}"
    value = guest.read_register(name)
    if value & _EXPONENT != _EXPONENT and not traps(guest):
        guest.write_register(name, value | _EXPONENT)
    return inner(guest) if inner is not None else Outcome.PREPARED


def pattern(bits: int) -> bytes:
    """A regular expression for bytes of such instructions, but for SSSE3's."""
    rex = rb"[\x40-\x4f]?" if bits == 64 else b""
    bare = rb"(?<![\x66\xf2\xf3])" + (rb"(?<![\x66\xf2\xf3][\x40-\x4f])" if bits == 64 else b"")
    reg = rb"[\x60-\x6b\x6e-\x76\x2c\x2d\xc4\xd1-\xd5\xd8-\xe5\xe8-\xef\xf1-\xf6\xf8-\xfe]"
    others = rb"\x66" + rex + rb"\x0f[\x2c\x2d]|\xf2" + rex + rb"\x0f\xd6"
    return bare + rb"\x0f(?:" + reg + rb"|\x7f[\xc0-\xff])|" + others

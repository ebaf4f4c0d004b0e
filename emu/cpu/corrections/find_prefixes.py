"""x86 instructions with prefixes that are wrong in Unicorn.

- LOCK before what cannot be locked is invalid; Unicorn ignores it. `lock neg` leaves the flags of another number.
- Of F2 and F3 the last counts, and before SSE's opcodes they count and not 66; Unicorn decides otherwise: refused.
- An instruction of more than 15 bytes is refused by the engine itself.

Source: Intel SDM volume 2, "LOCK", 2.1.1; AMD64 Architecture Programmer's Manual volume 3, 1.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from emu.cpu.corrections.x86_code import X86Code
from emu.cpu.corrections.x86_flags import of_difference, set_flags
from emu.cpu.misrun import Guest, Misrun, Outcome

_LOCK, _NARROW, _REPEATS = 0xF0, 0x66, (0xF2, 0xF3)
_ALL: Final = frozenset(range(8))
_ARITHMETIC: Final = {base + kind: _ALL for base in range(0, 0x38, 8) for kind in (0, 1)}
_GROUP1: Final = frozenset(range(7))
#: Opcodes that can be locked -> values of ModRM's reg field, with a destination in memory.
_LOCKED: Final[Mapping[int, frozenset[int]]] = _ARITHMETIC | {
    **dict.fromkeys((0x80, 0x81, 0x82, 0x83), _GROUP1),
    **dict.fromkeys((0x86, 0x87), _ALL),
    **dict.fromkeys((0xF6, 0xF7), frozenset({2, 3})),
    **dict.fromkeys((0xFE, 0xFF), frozenset({0, 1})),
}
#: The same behind 0f.
_LOCKED_0F: Final[Mapping[int, frozenset[int]]] = {
    **dict.fromkeys((0xAB, 0xB3, 0xBB, 0xB0, 0xB1, 0xC0, 0xC1), _ALL),
    0xBA: frozenset({5, 6, 7}),
    0xC7: frozenset({1}),
}
_NEG: Final = (0xF6, 0xF7)
#: Opcodes behind 0f that are SSE's by F2 and F3, so that 66 does not count.
_SSE: Final = frozenset((0x10, 0x11, 0x12, 0x16, 0x2A, 0x2C, 0x2D, *range(0x51, 0x54), *range(0x58, 0x60))) | {
    0x6F, 0x70, 0x7C, 0x7D, 0x7E, 0x7F, 0xC2, 0xD0, 0xD6, 0xE6, 0xF0, 0x78, 0x79, 0x2B
}  # fmt: skip
#: Bytes of such instructions, as a regular expression.
PATTERN: Final = (
    rb"\xf0[\x26\x2e\x36\x3e\x64-\x67\xf2\xf3]*[\x40-\x4f]?(?!\x0f[\xb0\xb1\xc0\xc1])"
    rb"|[\xf2\xf3][\x26\x2e\x36\x3e\x64-\x67\xf0]*[\xf2\xf3]"
    rb"|\x66[\x26\x2e\x36\x3e\x64\x65\x67]*[\xf2\xf3]|[\xf2\xf3][\x26\x2e\x36\x3e\x64\x65\x67]*\x66"
)


def judge(code: X86Code) -> Misrun | None:
    """The replacement of one of these instructions."""
    prefixes, first, second = code.prefixes, code.opcode[0], code.opcode[1]
    repeats = [prefix for prefix in prefixes if prefix in _REPEATS]
    if len(set(repeats)) > 1 or (repeats and _NARROW in prefixes and first == 0x0F and second in _SSE):
        return code.refused()
    if _LOCK not in prefixes:
        return None
    operands = code.opcode[2 if first == 0x0F else 1]
    known = _LOCKED_0F.get(second) if first == 0x0F else _LOCKED.get(first)
    if known is None or operands >= 0xC0 or operands >> 3 & 7 not in known or (first == 0x82 and code.bits == 64):
        return code.refused()
    if first in _NEG and operands >> 3 & 7 == 3 and code.size:
        return code.replaced(partial(_negate, code))
    return None


def _negate(code: X86Code, guest: Guest) -> Outcome:
    """neg of memory."""
    size = 1 if code.opcode[0] == _NEG[0] else 8 if code.wide else 2 if _NARROW in code.prefixes else 4
    at = code.location(guest)
    value = int.from_bytes(guest.load(at, size), "little")
    guest.store(at, (-value & (1 << 8 * size) - 1).to_bytes(size, "little"))
    set_flags(guest, code.bits, of_difference(0, value, size))
    return Outcome.DONE

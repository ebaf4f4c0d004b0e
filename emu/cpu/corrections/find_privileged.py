"""x86 instructions that user code may not execute, and segment registers, as Linux has them.

Unicorn runs user code at privilege level 0, where privileged instructions do something: refused, as are those that
Linux lets fail (UMIP) or that tell the kernel's descriptors apart (lar, lsl, verr, verw). CS and SS have Linux's
values when they are read; of selectors only those of Linux's user segments can be loaded, and in 64-bit code none
but the null selector.

Also here: instructions of extensions that CPUID does not report, which Unicorn executes as something else (RTM's
xabort and xbegin, WAITPKG, shadow stacks).

Source: Intel SDM volume 3, 5.9 ("Privileged Instructions"), volume 2; Linux, arch/x86/include/asm/segment.h.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from emu.cpu.corrections.x86_code import GENERAL, X86Code
from emu.cpu.misrun import Guest, Misrun, Outcome

#: in, out, ins, outs, cli, sti.
_PRIVILEGED: Final = frozenset((*range(0x6C, 0x70), *range(0xE4, 0xE8), *range(0xEC, 0xF0), 0xFA, 0xFB))
#: Behind 0f: sldt and its like, lar, lsl, clts, invd, wbinvd, moves of control and debug registers, wrmsr, rdmsr.
_PRIVILEGED_0F: Final = frozenset((0x00, 0x02, 0x03, 0x06, 0x08, 0x09, *range(0x20, 0x24), 0x30, 0x32))
_GROUP7, _STATES, _SWAPGS = 0x01, 0xAE, 0xF8
#: Values of ModRM's reg field behind 0f 01: in memory sgdt, sidt, lgdt, lidt, invlpg; in either, smsw and lmsw.
_IN_MEMORY, _ANYWHERE = (0, 1, 2, 3, 7), (4, 6)
_BASES: Final = range(4)  #: the same behind f3 0f ae with registers: rdfsbase and its like
_INT, _INTERRUPTS = 0xCD, (3, 0x80)
_RTM: Final = (0xC6, 0xC7)  #: with f8: xabort and xbegin
_MOVE_FROM, _MOVE_TO = 0x8C, 0x8E
_ES, _CS, _SS, _DS, _FS, _GS = range(6)
_LOADABLE: Final = (_ES, _SS, _DS, _FS, _GS)
#: Opcodes -> the segment that they push and pop; the second ones behind 0f.
_PUSH: Final = {0x06: _ES, 0x0E: _CS, 0x16: _SS, 0x1E: _DS}
_POP, _POP_0F = {0x07: _ES, 0x17: _SS, 0x1F: _DS}, {0xA1: _FS, 0xA9: _GS}
_FAR, _FAR_0F = {0xC4: _ES, 0xC5: _DS}, {0xB2: _SS, 0xB4: _FS, 0xB5: _GS}
#: Selectors by bits: __USER_CS, __USER_DS, and those that the engine can load into DS, ES, FS and GS.
_CODE: Final = {64: 0x33, 32: 0x73}
_DATA: Final = {64: 0x2B, 32: 0x7B}
_LOADED: Final = {64: frozenset[int](), 32: frozenset((0x33, 0x7B))}
#: Bytes of such instructions, as a regular expression.
PATTERN: Final = (
    rb"[\x6c-\x6f\xe4-\xe7\xec-\xef\xfa\xfb\x8c\x8e]|\xcd[^\x03]|[\xc6\xc7]\xf8"
    rb"|\x0f[\x00-\x03\x06\x08\x09\x20-\x23\x30\x32\xa1\xa9\xb2\xb4\xb5]|[\x66\xf2\xf3][\x40-\x4f]?\x0f\xae"
)
PATTERN_32: Final = PATTERN + rb"|[\x06\x07\x0e\x16\x17\x1e\x1f]|[\xc4\xc5][\x00-\xbf]"


def judge(code: X86Code) -> Misrun | None:
    """The refusal or correction of one of these instructions; None for others."""
    return code.refused() if _is_refused(code) else _segment(code) if code.size else None


def _is_refused(code: X86Code) -> bool:
    first, second, operands = code.opcode[:3]
    if first != 0x0F:
        unknown = first == _INT and second not in (_INTERRUPTS if code.bits == 32 else _INTERRUPTS[:1])
        return first in _PRIVILEGED or unknown or (first in _RTM and second == 0xF8)
    if second == _GROUP7:
        group = operands >> 3 & 7
        return (operands < 0xC0 and group in _IN_MEMORY) or group in _ANYWHERE or operands == _SWAPGS
    if second == _STATES and operands >= 0xC0 and code.mandatory:
        return not (code.mandatory == 0xF3 and code.bits == 64 and operands >> 3 & 7 in _BASES)
    return second in _PRIVILEGED_0F


def _segment(code: X86Code) -> Misrun | None:
    first, second = code.opcode[:2]
    narrow = code.bits == 32
    if first in (_MOVE_FROM, _MOVE_TO):
        number = second >> 3 & 7
        if first == _MOVE_TO:
            return (
                code.replaced(partial(_load, code, number, partial(_moved, code))) if number in _LOADABLE else None
            )
        return code.replaced(partial(_move, code, number)) if number in (_CS, _SS) else None
    if narrow and first in _PUSH:
        return code.replaced(partial(_push, code, _PUSH[first])) if first in (0x0E, 0x16) else None
    popped = _POP_0F.get(second) if first == 0x0F else _POP.get(first) if narrow else None
    if popped is not None:
        return code.replaced(partial(_load, code, popped, partial(_top, code)))
    far = _FAR_0F.get(second) if first == 0x0F else _FAR.get(first) if narrow else None
    if far is None or code.opcode[2 if first == 0x0F else 1] >= 0xC0:
        return None
    return code.replaced(partial(_load, code, far, partial(_behind, code)))


def _value(code: X86Code, segment: int) -> int:
    return (_CODE if segment == _CS else _DATA)[code.bits]


def _move(code: X86Code, segment: int, guest: Guest) -> Outcome:
    """mov from CS or SS; to a register of 32 or 64 bits, with zeros above."""
    value, operands = _value(code, segment), code.opcode[1]
    if operands < 0xC0:
        guest.store(code.location(guest), value.to_bytes(2, "little"))
        return Outcome.DONE
    name = _register(code)
    kept = guest.read_register(name) & ~0xFFFF if 0x66 in code.prefixes and not code.wide else 0
    guest.write_register(name, kept | value)
    return Outcome.DONE


def _register(code: X86Code) -> str:
    """The operand of a mov, in a register."""
    name = GENERAL[code.opcode[1] & 7 | (code.rex & 1) << 3]
    return name if code.bits == 64 else f"e{name[1:]}"


def _moved(code: X86Code, guest: Guest) -> int:
    """The selector that a mov loads."""
    if code.opcode[1] >= 0xC0:
        return guest.read_register(_register(code))
    return int.from_bytes(guest.load(code.location(guest, 1), 2), "little")


def _push(code: X86Code, segment: int, guest: Guest) -> Outcome:
    """push of CS or SS: two bytes are written, of two or four."""
    size = 2 if 0x66 in code.prefixes else 4
    top = guest.read_register("esp") - size & 0xFFFF_FFFF
    guest.store(top, _value(code, segment).to_bytes(size, "little"))
    guest.write_register("esp", top)
    return Outcome.DONE


def _top(code: X86Code, guest: Guest) -> int:
    """The selector on the stack."""
    return int.from_bytes(guest.load(guest.read_register("rsp" if code.bits == 64 else "esp"), 2), "little")


def _behind(code: X86Code, guest: Guest) -> int:
    """The selector behind an offset."""
    size = 2 if 0x66 in code.prefixes and not code.wide else 8 if code.wide else 4
    return int.from_bytes(guest.load(code.location(guest, 1) + size, 2), "little")


def _load(code: X86Code, segment: int, selector: Callable[[Guest], int], guest: Guest) -> Outcome:
    """Load a segment register: SS keeps its only selector, others have what Linux allows."""
    value = selector(guest) & 0xFFFF
    if segment == _SS:
        same = value == _DATA[code.bits] and code.opcode[0] == _MOVE_TO
        return Outcome.DONE if same else Outcome.REFUSED
    null = value < 4 and (code.bits == 64 or segment in (_FS, _GS))
    return Outcome.PREPARED if null or value in _LOADED[code.bits] else Outcome.REFUSED

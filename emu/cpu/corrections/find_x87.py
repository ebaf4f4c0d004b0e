"""x87 instructions that Unicorn executes wrongly, and what replaces them.

- Transcendental functions and remainders: computed by `emu.cpu.corrections.x87`.
- Instructions that read or write the status word's flags: executed after `emu.cpu.unicorn.float_state` has updated
  them.
- fldcw, fldenv and frstor that unmask exceptions, which the engine would not raise: refused. In a block that
  converts to integers fldcw is not looked at: compilers change only the rounding mode there.
- fxtract of numbers that are not normal: computed.
- fisttp of a value out of range stores the nearest integer, fbstp of one that is not finite or a zero loses it:
  computed.
- fcomi and its like leave OF, SF and AF as they are: cleared, where the block looks at them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from emu.cpu.corrections import x87, x87_transfer
from emu.cpu.corrections.x86_code import X86Code
from emu.cpu.misrun import Guest, Misrun, Outcome, Then

#: First byte -> bits 3 to 5 of the next byte, for instructions with the status or control word in memory: fldenv,
#: fldcw, fnstenv; frstor, fnsave, fnstsw.
STATE: Final[Mapping[int, frozenset[int]]] = {0xD9: frozenset({4, 5, 6}), 0xDD: frozenset({4, 6, 7})}
_LOADS, _FLDCW, _FNSAVE = 4, (0xD9, 5), (0xDD, 6)  #: fldenv, frstor; others
_MASKS: Final = 0x3F  #: in the control word: exceptions that do not trap
#: Conversions to integers, around which compilers change the rounding mode.
_ROUNDING: Final = ("fist", "frndint")
_FNSTSW_AX, _FNCLEX, _FNINIT, _FXTRACT = b"\xdf\xe0", b"\xdb\xe2", b"\xdb\xe3", b"\xd9\xf4"
#: Instructions that use only ah of the status word, which has no exception flags: sahf; test or and with ah; test
#: ax or eax.
_CONDITIONS_ONLY = re.compile(rb"\x9e|\xf6\xc4|\x80\xe4|(\x66\xa9|\xa9)\x00", re.DOTALL)
FISTTP: Final = {0xDB: 4, 0xDD: 8, 0xDF: 2}  #: first byte -> size of the integer
FBSTP: Final = (0xDF, 6)
_ZERO_DIVISION: Final = 4
_ARITHMETIC_FLAGS: Final = 0x890  #: OF, SF, AF
#: Mnemonics that leave the flags as they are, and those that look at OF, SF or AF.
_KEEPS = ("mov", "f", "lea", "push", "pop", "nop", "j", "set", "cmov", "xchg", "ldmxcsr", "stmxcsr", "cvt")
_LOOKS = re.compile(r"(j|set|cmov)n?[osgl]e?$|pushf|lahf|into$|aa[as]$|da[as]$")
#: A comparison to flags, and behind it bytes of instructions that look at these flags.
COMPARISON: Final = (
    r"[\xdb\xdf][\xe8-\xf7].*(?:[\x9c\x9f\x70\x71\x78\x79\x7c-\x7f\xce\x27\x2f\x37\x3f]"
    r"|\x0f[\x40\x41\x48\x49\x4c-\x4f\x80\x81\x88\x89\x8c-\x8f\x90\x91\x98\x99\x9c-\x9f])"
)


def _settled(guest: Guest) -> Outcome:
    guest.settle_flags()
    return Outcome.PREPARED


def _cleared(guest: Guest) -> Outcome:
    """fnclex, fninit."""
    guest.settle_flags()
    guest.set_zero_division(False)
    return Outcome.PREPARED


def traps(control: int) -> bool:
    """Whether a control word unmasks exceptions, which the engine does not raise."""
    return bool(~control & _MASKS)


def _loaded(code: X86Code, guest: Guest) -> Outcome:
    """fldenv, frstor."""
    guest.settle_flags()
    short = 0x66 in code.prefixes
    content = guest.load(code.location(guest), 3 if short else 5)
    if traps(content[0]):
        return Outcome.REFUSED
    guest.set_zero_division(bool(content[-1] & _ZERO_DIVISION))
    return Outcome.PREPARED


def _control_loaded(code: X86Code, guest: Guest) -> Outcome:
    """fldcw."""
    return Outcome.REFUSED if traps(guest.load(code.location(guest), 1)[0]) else Outcome.PREPARED


def _saved(guest: Guest) -> Then:
    """fnsave, which initialises the registers."""
    guest.settle_flags()
    return Then(lambda guest: guest.set_zero_division(False))


def _extract(guest: Guest) -> Outcome:
    x87_transfer.extract(guest)
    return Outcome.DONE


def _compute(number: int, guest: Guest) -> Outcome:
    x87.execute(guest, number)
    return Outcome.DONE


def _truncate(code: X86Code, size: int, guest: Guest) -> Outcome:
    if x87_transfer.fits(guest.read_register("st0"), size):
        return Outcome.PREPARED
    guest.store(code.location(guest), (1 << 8 * size - 1).to_bytes(size, "little"))
    x87_transfer.discard(guest)
    return Outcome.DONE


def _to_decimal(code: X86Code, guest: Guest) -> Outcome:
    guest.store(code.location(guest), x87_transfer.decimal(guest).to_bytes(10, "little"))
    return Outcome.DONE


def _clear_flags(prefix: str, guest: Guest) -> None:
    flags = guest.read_register(f"{prefix}flags")
    guest.write_register(f"{prefix}flags", flags & ~_ARITHMETIC_FLAGS)


def looks_at_flags(following: Iterator[str]) -> bool:
    """Whether any of these instructions, by name, looks at OF, SF or AF before they change."""
    for name in following:
        if _LOOKS.match(name):
            return True
        if not name.startswith(_KEEPS):
            return False
    return False


def judge(code: X86Code, before: Sequence[str], following: Iterator[str]) -> Misrun | None:
    """The replacement of an instruction, if it needs one. The rest are the other mnemonics of the block."""
    pair = code.opcode[:2]
    first, second = pair
    group, in_memory = second >> 3 & 7, second < 0xC0
    if not code.size:
        return None
    if first == 0xD9 and second in x87.OPCODES:
        return code.replaced(partial(_compute, second))
    if pair == _FXTRACT:
        return code.replaced(_extract)
    if pair in (_FNCLEX, _FNINIT):
        return code.replaced(_cleared)
    if in_memory and (first, group) == _FLDCW:
        rounds = any(name.startswith(_ROUNDING) for name in (*before, *following))
        return None if rounds else code.replaced(partial(_control_loaded, code))
    if in_memory and group in STATE.get(first, ()):
        if group == _LOADS:
            return code.replaced(partial(_loaded, code))
        saves = (first, group) == _FNSAVE
        return code.replaced(_saved, corrected=True) if saves else code.replaced(_settled)
    if pair == _FNSTSW_AX and not _CONDITIONS_ONLY.match(code.opcode, 2):
        return code.replaced(_settled)
    if in_memory and group == 1 and first in FISTTP:
        return code.replaced(partial(_truncate, code, FISTTP[first]))
    if in_memory and (first, group) == FBSTP:
        return code.replaced(partial(_to_decimal, code))
    if first in (0xDB, 0xDF) and 0xE8 <= second <= 0xF7 and looks_at_flags(following):
        prefix = "r" if code.bits == 64 else "e"
        return code.replaced(lambda guest: Then(partial(_clear_flags, prefix)), corrected=True)
    return None

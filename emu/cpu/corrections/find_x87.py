"""x87 instructions that `hooks/native/x87.c` does not execute, and what replaces them.

- Transcendental functions and remainders: computed by `emu.cpu.corrections.x87`.
- fldenv and frstor that unmask exceptions, which the engine would not raise: refused, as fldcw is by the engine.
  Reserved bits of the control and status words are then as processors have them.
- fxtract and fbstp: computed.
- fstpnce, which no manual has: refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from emu.cpu.corrections.x86_code import X86Code
from emu.cpu.misrun import Guest, Misrun, Outcome, Then
from relink.errors import GuestAccessError

#: First byte -> bits 3 to 5 of the next byte, for instructions that load the environment: fldenv; frstor.
LOADS: Final[Mapping[int, int]] = {0xD9: 4, 0xDD: 4}
FBSTP: Final = (0xDF, 6)
_UNDOCUMENTED: Final = range(0xD8, 0xE0)  #: behind D9: fstpnce, which copies what is empty too
_FXTRACT: Final = b"\xd9\xf4"
_COMPUTED: Final = 0xF0  #: behind D9: the first of these, between which are some that the engine executes
_MASKS: Final = 0x3F  #: in the control word: exceptions that do not trap
_CONTROL: Final = 0x1F3F  #: bits of the control word that are kept
_ALWAYS_SET: Final = 0x40  #: one that is reserved
_SUMMARY: Final = 0x8080  #: bits of the status word: an exception that is not masked


def traps(control: int) -> bool:
    """Whether a control word unmasks exceptions, which the engine does not raise."""
    return bool(~control & _MASKS)


def clean(guest: Guest) -> None:
    """After the control and status words were loaded: what processors do not take from memory."""
    guest.write_register("fpcw", guest.read_register("fpcw") & _CONTROL | _ALWAYS_SET)
    guest.write_register("fpsw", guest.read_register("fpsw") & ~_SUMMARY)


def _loaded(code: X86Code, guest: Guest) -> Outcome | Then:
    """fldenv, frstor."""
    return Outcome.REFUSED if traps(guest.load(code.location(guest), 1)[0]) else Then(clean)


def _extract(guest: Guest) -> Outcome:
    from emu.cpu.corrections import x87_transfer  # with exact arithmetic, which few guests need

    x87_transfer.extract(guest)
    return Outcome.DONE


def _compute(number: int, guest: Guest) -> Outcome:
    from emu.cpu.corrections import x87

    x87.execute(guest, number)
    return Outcome.DONE


def _is_computed(number: int) -> bool:
    from emu.cpu.corrections import x87

    return number in x87.OPCODES


def _to_decimal(code: X86Code, guest: Guest) -> Outcome:
    from emu.cpu.corrections import x87_transfer

    before = {name: guest.read_register(name) for name in ("fpsw", "fptag")}
    number = x87_transfer.decimal(guest)
    try:
        guest.store(code.location(guest), number.to_bytes(10, "little"))
    except GuestAccessError:  # the engine executes it then
        for name, value in before.items():
            guest.write_register(name, value)
        raise
    return Outcome.DONE


def judge(code: X86Code) -> Misrun | None:
    """The replacement of an instruction, if it needs one."""
    first, second = code.opcode[:2]
    group, in_memory = second >> 3 & 7, second < 0xC0
    if not code.size:
        return None
    if first == 0xD9 and second in _UNDOCUMENTED:
        return code.refused()
    if first == 0xD9 and second >= _COMPUTED and _is_computed(second):
        return code.replaced(partial(_compute, second))
    if code.opcode[:2] == _FXTRACT:
        return code.replaced(_extract)
    if in_memory and LOADS.get(first) == group:
        return code.replaced(partial(_loaded, code), corrected=True)
    if in_memory and (first, group) == FBSTP:
        return code.replaced(partial(_to_decimal, code))
    return None

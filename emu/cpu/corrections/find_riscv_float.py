"""RISC-V's floating-point minimum and maximum, as Unicorn (QEMU 5) has them.

fmin and fmax of a signalling NaN and a number return the number since version 2.2 of the "F" extension; in Unicorn
a NaN: computed. The engine is stopped for them only if there is such an operand (`emu.cpu.hooks.guard_hook`).
fsgnj.s of a register with itself into itself, for which nothing is translated, is computed as well.

Source: RISC-V unprivileged ISA, 20.6. NaN boxing: `emu.cpu.unicorn.nan_boxing`.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from emu.cpu.misrun import Guest, Misrun, Outcome, SignallingNan

_ONES, _QUIET_SINGLE, _QUIET_DOUBLE = 0xFFFF_FFFF << 32, 0x7FC0_0000, 0x7FF8 << 48
_INVALID: Final = 0x10  #: in fcsr
#: Of fmin and fmax, single and double: the bits that are the same, and these.
_FIXED, _EXTREME = 0xFC00_607F, 0x2800_0053
#: fsgnj.s, and 1 in each of its three operands.
_SAME, _OPERANDS = 0x2000_0053, 1 << 7 | 1 << 15 | 1 << 20


def judge(word: int, address: int) -> Misrun | None:
    """The correction of a 32-bit instruction; None for one that needs none."""
    if word & _FIXED != _EXTREME:
        register = word >> 7 & 31
        return Misrun(address, 4, partial(_same, register)) if word == _SAME + register * _OPERANDS else None
    guard = SignallingNan((f"f{word >> 15 & 31}", f"f{word >> 20 & 31}"), bool(word >> 25 & 1))
    return Misrun(address, 4, partial(_run, word), guard=guard)


def _same(register: int, guest: Guest) -> Outcome:
    if guest.read_register(f"f{register}") < _ONES:
        guest.write_register(f"f{register}", _ONES | _QUIET_SINGLE)
    return Outcome.DONE


def _run(word: int, guest: Guest) -> Outcome:
    double = bool(word >> 25 & 1)
    infinity, sign = (0x7FF0 << 48, 1 << 63) if double else (0x7F80_0000, 1 << 31)
    quiet, ones = (1 << 51, 0) if double else (1 << 22, _ONES)
    registers = [guest.read_register(f"f{word >> at & 31}") for at in (15, 20)]
    values = [value - ones if value >= ones else _QUIET_SINGLE for value in registers]
    nans = [value & ~sign > infinity for value in values]
    if not any(nan and not value & quiet for nan, value in zip(nans, values, strict=True)):
        return Outcome.PREPARED
    numbers = [value for nan, value in zip(nans, values, strict=True) if not nan]
    result = numbers[0] if numbers else _QUIET_DOUBLE if double else _QUIET_SINGLE
    guest.write_register(f"f{word >> 7 & 31}", result | ones)
    guest.write_register("fcsr", guest.read_register("fcsr") | _INVALID)
    return Outcome.DONE

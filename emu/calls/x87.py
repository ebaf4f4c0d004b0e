"""Pushing and popping results on the x87 stack (i386; `long double` on x86-64).

Intel SDM volume 1, 8.1: TOP is bits 11..13 of the status word and names the physical register that is st0; the tag
word has two bits for each physical register, 3 meaning empty. A caller pops a result by emptying st0's register
and counting TOP up; skipping that overflows the stack after eight calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.errors import CallError
from emu.isa.convention import X87Stack

if TYPE_CHECKING:
    from emu.ports import Registers

_TOP = 7 << 11
_EMPTY = 3


def pop(cpu: Registers, names: X87Stack) -> int:
    """Pop the value on top of the stack: its 80 bits. Raises CallError if the stack is empty."""
    value, status, tags = cpu.read_registers(names)
    top = status >> 11 & 7
    if tags >> 2 * top & _EMPTY == _EMPTY:
        raise CallError("the function has left no value on the x87 stack: it returns no floating-point number")
    cpu.write_registers(
        (
            (names.status, status & ~_TOP | (top + 1 & 7) << 11),
            (names.tags, tags | _EMPTY << 2 * top),
        )
    )
    return value


def push(cpu: Registers, names: X87Stack, value: int) -> None:
    """Push 80 bits on the stack."""
    status, tags = cpu.read_registers((names.status, names.tags))
    top = (status >> 11) - 1 & 7
    # st0 is relative to TOP, so TOP is written first, separately.
    cpu.write_registers(
        (
            (names.status, status & ~_TOP | top << 11),
            (names.tags, tags & ~(_EMPTY << 2 * top)),
        )
    )
    cpu.write_registers(((names.top, value),))

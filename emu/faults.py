"""From a stopped CPU to a `GuestFault`: registers, disassembly and backtrace, as far as each can be had.

What has crashed may have done so because its stack, its registers or its code are nonsense. So nothing here
raises, everything is bounded, and each part is gathered by itself: one that fails is left out.

The callers are found, frame by frame, by the best means at hand: DWARF call-frame information; in the
innermost frame the return-address register (or, after a jump to nowhere, the top of the stack); the chain of
frame pointers. The last two are guesses, and are believed only when they lead to code the machine knows.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Final

from emu.cpu import Cpu, Stop
from emu.errors import Frame, GuestFault
from emu.unwind import DWARF_REGISTERS, CallFrameTable, Registers, caller_by_rules

__all__ = ["MAX_FRAMES", "CallFrameTable", "backtrace", "disassemble", "guest_fault"]

MAX_FRAMES: Final = 64
_LINES_BEFORE: Final = 4
_LINES_AFTER: Final = 3
_LONGEST_INSTRUCTION: Final = 15  # bytes, x86
_SYMBOL_REACH: Final = 4096  # bytes: from how far a function's start is disassembled to get the window right

#: Names the code at an address.
Symbolize = Callable[[int], Frame]
#: The call-frame information of the image an address lies in.
UnwindTables = Callable[[int], CallFrameTable | None]


def guest_fault(
    cpu: Cpu, stop: Stop, *, symbolize: Symbolize, unwind_tables: UnwindTables | None = None
) -> GuestFault:
    """The error that describes `stop`, which `cpu` has just come to. Never raises."""
    frame = _name(symbolize, stop.pc)
    registers: dict[str, int] = {}
    disassembly: tuple[str, ...] = ()
    callers: tuple[Frame, ...] = ()
    with contextlib.suppress(Exception):
        registers = dict(zip(cpu.registers, cpu.read_registers(cpu.registers), strict=True))
    with contextlib.suppress(Exception):
        disassembly = disassemble(cpu, stop.pc, frame)
    with contextlib.suppress(Exception):
        callers = backtrace(cpu, stop.pc, symbolize=symbolize, unwind_tables=unwind_tables)
    return GuestFault(
        stop.reason, stop.pc, stop.address, registers=registers, frame=frame, disassembly=disassembly,
        backtrace=callers,
    )  # fmt: skip


def _name(symbolize: Symbolize, address: int) -> Frame:
    with contextlib.suppress(Exception):
        return symbolize(address)
    return Frame(address)


# ---------------------------------------------------------------- backtrace


def backtrace(
    cpu: Cpu, pc: int, *, symbolize: Symbolize, unwind_tables: UnwindTables | None = None
) -> tuple[Frame, ...]:
    """The frame at `pc` and its callers, innermost first, at most `MAX_FRAMES`. Never raises."""
    frames = [_name(symbolize, pc)]
    with contextlib.suppress(Exception):
        for _, frame in zip(range(MAX_FRAMES - 1), _callers(cpu, pc, symbolize, unwind_tables), strict=False):
            frames.append(frame)
    return tuple(frames)


def _callers(
    cpu: Cpu, pc: int, symbolize: Symbolize, unwind_tables: UnwindTables | None
) -> Iterator[Frame]:
    frame = _innermost(cpu, pc)
    first = True
    while True:
        caller = None
        lookup = pc if first else frame.pc - 1
        table = None
        with contextlib.suppress(Exception):
            table = unwind_tables(lookup) if unwind_tables else None
        if table is not None:
            with contextlib.suppress(Exception):
                caller = caller_by_rules(frame, table, lookup, cpu.read)
            if caller is None and _covered(table, frame, lookup, cpu):
                return  # its rules say: outermost
        if caller is None:
            caller = _guess(frame, cpu, symbolize, first)
        if caller is None:
            return
        if frame.isa.names[:1] == ("r0",) and frame.isa.word == 4:
            caller.pc &= ~1  # the Thumb bit of a return address
        named = _name_return(symbolize, caller.pc)
        if (named.image is None and named.symbol is None) or _going_nowhere(frame, caller):
            return
        yield named
        frame, first = caller, False


def _covered(table: CallFrameTable, frame: Registers, lookup: int, cpu: Cpu) -> bool:
    """Whether the table describes the frame and yet names no caller."""
    from emu.unwind import _find

    with contextlib.suppress(Exception):
        return _find(table, lookup - table.load_bias, frame.isa.word) is not None
    return False

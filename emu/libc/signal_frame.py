"""Frames of signal handlers in guest memory, as Linux makes them (`emu.isa.signal_abi` has their layout).

A frame is all that is kept of the interrupted code: what a handler changes in it, registers and mask included,
takes effect when the handler returns, and a handler that is left by siglongjmp leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from emu.cpu.protocol import StopReason

if TYPE_CHECKING:
    from emu.cpu.protocol import Cpu
    from emu.isa.signal_abi import FloatArea, Saved, SignalAbi, SignalFrame

#: Exception numbers that frames have: x86's, of which Arm's kernel uses 6 and 14.
_TRAPS = {
    StopReason.ARITHMETIC: 0,
    StopReason.BREAKPOINT: 3,
    StopReason.INVALID_INSTRUCTION: 6,
    StopReason.UNALIGNED: 17,
}
_FETCHES = (StopReason.FETCH_UNMAPPED, StopReason.FETCH_PROTECTED)
_PROTECTED = (StopReason.READ_PROTECTED, StopReason.WRITE_PROTECTED, StopReason.FETCH_PROTECTED)
_WRITES = (StopReason.WRITE_UNMAPPED, StopReason.WRITE_PROTECTED)
_PAGE_FAULTS = frozenset({StopReason.READ_UNMAPPED, StopReason.FETCH_UNMAPPED, *_PROTECTED, *_WRITES})


class Stack(NamedTuple):
    """A stack_t: `flags` are SS_ONSTACK, SS_DISABLE, SS_AUTODISARM."""

    start: int
    flags: int
    size: int


class Interruption(NamedTuple):
    """The contents of a new frame."""

    number: int
    info: bytes  #: siginfo_t
    pc: int  #: where the guest continues after the handler, with bit 0 set in Thumb code
    mask: int
    stack: Stack
    fault: StopReason | None
    address: int  #: of a fault


def uses(abi: SignalAbi, info: bool) -> SignalFrame:
    """The kind of frame for a handler with SA_SIGINFO, or without."""
    return abi.frame if info or abi.plain is None else abi.plain


def push(cpu: Cpu, abi: SignalAbi, frame: SignalFrame, top: int, what: Interruption, word: int) -> int:
    """Make a frame below `top` of the registers as they are; return its address. `word`: the size of a pointer.

    Raises GuestAccessError where the stack has no room.
    """
    area = frame.floats
    if area is not None:
        top = (top - (area.size - area.lead) & -area.alignment) - area.lead
    start = (top - frame.size & -frame.alignment) - frame.skew
    values = _values(cpu, abi, frame, what)
    content = _fields(frame, frame.registers, values, bytearray(frame.size))
    if area is not None:
        content[area.pointer : area.pointer + word] = top.to_bytes(word, "little")
    for at, target in frame.pointers:
        content[at : at + word] = (start + target).to_bytes(word, "little")
    _describe(content, frame, what, word)
    if abi.frame_record is not None:
        register, at = abi.frame_record
        content[at : at + 2 * word] = _words((cpu.read_register(register), what.pc), word)
    if area is not None:
        above = _fields(area, area.registers, values, bytearray(area.size))
        cpu.store(top, bytes(above))
    cpu.store(start, bytes(content))
    return start


def _words(values: Iterable[int], size: int) -> bytes:
    return b"".join((value & (1 << 8 * size) - 1).to_bytes(size, "little") for value in values)


def _values(cpu: Cpu, abi: SignalAbi, frame: SignalFrame, what: Interruption) -> dict[str, int]:
    rows = (*frame.registers, *(frame.floats.registers if frame.floats else ()))
    names = list(dict.fromkeys(row.register for row in rows))
    values = dict(zip(names, cpu.read_registers(names), strict=True))
    values["pc"] = what.pc
    if abi.thumb is not None:
        register, bit = abi.thumb
        values["pc"] = what.pc & ~1
        values[register] = values[register] & ~bit | (bit if what.pc & 1 else 0)
    return values


def _fields(
    layout: SignalFrame | FloatArea, rows: Iterable[Saved], values: dict[str, int], content: bytearray
) -> bytearray:
    for at, data in layout.constants.items():
        content[at : at + len(data)] = data
    for row in rows:
        value = values[row.register]
        if row.register == "fptag" and row.size == 1:
            value = sum(1 << n for n in range(8) if value >> 2 * n & 3 != 3)
        content[row.offset : row.offset + row.size] = (value & (1 << 8 * row.size) - 1).to_bytes(
            row.size, "little"
        )
    return content


def _describe(content: bytearray, frame: SignalFrame, what: Interruption, word: int) -> None:
    """The signal's number and siginfo_t, the mask, the alternate stack, and words about a fault."""

    def put(field: tuple[int, int] | None, value: int) -> None:
        if field is not None:
            at, size = field
            content[at : at + size] = _words((value,), size)

    if frame.number is not None:
        put((frame.number, 4), what.number)
    if frame.info is not None:
        content[frame.info : frame.info + len(what.info)] = what.info
    if frame.stack is not None:
        stack = what.stack
        content[frame.stack : frame.stack + 3 * word] = _words((stack.start, stack.flags, stack.size), word)
    rest = what.mask
    for at, size in frame.mask:
        put((at, size), rest)
        rest >>= 8 * size
    if what.fault is None:
        return
    words = frame.fault
    put(words.trap, 14 if what.fault in _PAGE_FAULTS else _TRAPS.get(what.fault, 13))
    if what.fault in _PAGE_FAULTS:
        parts = words.page_fault
        error = parts.protected if what.fault in _PROTECTED else parts.unmapped
        error += (parts.write if what.fault in _WRITES else 0) + (parts.fetch if what.fault in _FETCHES else 0)
        put(words.address, what.address)
        put(words.error, error)
        for at, data in words.constants.items():
            content[at : at + len(data)] = data


class Restored(NamedTuple):
    """The contents of a frame when its handler has returned."""

    pc: int  #: with bit 0 set in Thumb code
    mask: int
    stack: Stack | None


def pop(cpu: Cpu, abi: SignalAbi, frame: SignalFrame, word: int) -> Restored:
    """Restore the registers from the frame at the stack pointer. Raises GuestAccessError."""
    start = cpu.read_register("sp") - frame.popped
    content = cpu.load(start, frame.size)
    values = dict(_restored(cpu, frame.registers, content))
    area = frame.floats
    if area is not None:
        at = int.from_bytes(content[area.pointer : area.pointer + word], "little")
        if at:
            values.update(_restored(cpu, area.registers, cpu.load(at, area.size)))
    pc = values.pop("pc")
    if abi.thumb is not None:
        register, bit = abi.thumb
        pc |= bool(values[register] & bit)
    cpu.write_registers(values)
    mask = shift = 0
    for at, size in frame.mask:
        mask |= int.from_bytes(content[at : at + size], "little") << shift
        shift += 8 * size
    if frame.stack is None:
        return Restored(pc, mask, None)
    pieces = content[frame.stack : frame.stack + 3 * word]
    start, flags, size = (int.from_bytes(pieces[n : n + word], "little") for n in range(0, 3 * word, word))
    return Restored(pc, mask, Stack(start, flags & 0xFFFF_FFFF, size))


def _restored(cpu: Cpu, rows: Iterable[Saved], content: bytes) -> Iterable[tuple[str, int]]:
    for row in rows:
        value = int.from_bytes(content[row.offset : row.offset + row.size], "little")
        if row.mask is not None:
            value = value & row.mask | cpu.read_register(row.register) & ~row.mask
        if row.register == "fptag" and row.size == 1:
            value = sum(3 << 2 * n for n in range(8) if not value >> n & 1)
        yield row.register, value

"""Making a `GuestFault` for a stopped CPU: registers, disassembly and backtrace, each as far as available.

The guest's stack, registers or code may be corrupt. Each part is therefore collected separately and with a limit,
and left out when the guest's state does not allow it (RelinkError: unmapped memory, damaged tables). Any other
exception is a bug in this project or in a user's callable, and is raised.

Callers are found, frame by frame, with the first method that works:

1. DWARF call-frame information;
2. in the innermost frame the return-address register (after a jump to an invalid address, the top of the stack);
3. the chain of frame pointers.

The last two are guesses, and are accepted only when they give an address of known code.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol, cast

from emu.cpu.protocol import Cpu, Stop
from emu.debug.call_frames import call_frames
from emu.debug.symbolizer import Symbolizer
from emu.debug.unwind import CallFrameTable, Registers, UnwindError, caller_by_rules
from emu.errors import Frame, GuestFault
from emu.isa.registry import ISAS
from emu.isa.spec import InstructionSet
from relink.errors import AddressSpaceError, RelinkError
from relink.records import replace

__all__ = ["MAX_FRAMES", "CallFrameTable", "backtrace", "describe_fault", "disassemble", "guest_fault"]

MAX_FRAMES: Final = 64
_LINES_BEFORE: Final = 4
_LINES_AFTER: Final = 3
_LONGEST_INSTRUCTION: Final = 15  # bytes, x86
_BELOW: Final = 4096  # bytes below the stack pointer that a function may access: a page
_SYMBOL_REACH: Final = 4096  # bytes: maximum distance from a function's start at which disassembly starts there

#: Describes the code at an address.
Symbolize = Callable[[int], Frame]
#: Returns the call-frame information of the image that contains an address.
UnwindTables = Callable[[int], CallFrameTable | None]


class WithSource(Protocol):
    """Adds a frame's source line; `returned_to`: its address is a return address."""

    def __call__(self, frame: Frame, *, returned_to: bool = False) -> Frame: ...


def guest_fault(
    cpu: Cpu,
    stop: Stop,
    *,
    symbolize: Symbolize,
    unwind_tables: UnwindTables | None = None,
    with_source: WithSource | None = None,
    stack_bottom: int = 0,
) -> GuestFault:
    """The exception for `stop`, at which `cpu` has just stopped. The guest's state never makes it raise.

    `stack_bottom`: the lowest address of the stack; 0: unknown.
    """
    frame = _name(symbolize, stop.pc)
    registers = dict(zip(cpu.registers, cpu.read_registers(cpu.registers), strict=True))
    disassembly: tuple[str, ...] = ()
    with contextlib.suppress(AddressSpaceError):
        disassembly = disassemble(cpu, stop.pc, frame)
    callers = backtrace(cpu, stop.pc, symbolize=symbolize, unwind_tables=unwind_tables)
    if with_source is not None:
        with contextlib.suppress(RelinkError):
            callers = tuple(with_source(each, returned_to=number > 0) for number, each in enumerate(callers))
            frame = with_source(frame)
    return GuestFault(
        stop.reason,
        stop.pc,
        stop.address,
        registers=registers,
        frame=frame,
        disassembly=disassembly,
        backtrace=callers,
        touched=_touched(symbolize, stop.address),
        stack_overflow=stop.address is not None and _is_below_stack(cpu, stop.address, stack_bottom),
    )


def describe_fault(cpu: Cpu, stop: Stop, symbolizer: Symbolizer, stack_bottom: int) -> GuestFault:
    """`guest_fault` with the symbols and unwind tables of all loaded images.

    An exception for a reason other than the guest's state gets a note about the fault.
    """

    def unwind_tables(address: int) -> CallFrameTable | None:
        image = symbolizer.image_at(address)
        return None if image is None else call_frames(image, address)

    try:
        return guest_fault(
            cpu, stop, symbolize=symbolizer.frame, unwind_tables=unwind_tables, with_source=symbolizer.with_source,
            stack_bottom=stack_bottom,
        )  # fmt: skip
    except Exception as error:
        error.add_note(f"while describing a fault of the guest: {stop}")
        raise


def _is_below_stack(cpu: Cpu, address: int, bottom: int) -> bool:
    """Whether a failed access is one of the stack beyond its end: the stack pointer is there, or has left the
    stack for where nothing is.
    """
    pointer = cpu.read_register("sp")
    if address >= bottom or address < pointer - _BELOW:
        return False
    if pointer >= bottom:
        return pointer - bottom < _BELOW
    try:
        cpu.read(pointer, 1)
    except AddressSpaceError:
        return True
    return False  # another stack


def _touched(symbolize: Symbolize, address: int | None) -> Frame | None:
    """The undefined symbol whose placeholder is at an address; None for any other address."""
    frame = Frame(0) if address is None else _name(symbolize, address)
    return frame if frame.symbol is not None and frame.symbol.startswith("[unresolved ") else None


def _name(symbolize: Symbolize, address: int) -> Frame:
    with contextlib.suppress(RelinkError):
        return symbolize(address)
    return Frame(address)


# ---------------------------------------------------------------- backtrace


def backtrace(
    cpu: Cpu, pc: int, *, symbolize: Symbolize, unwind_tables: UnwindTables | None = None
) -> tuple[Frame, ...]:
    """The frame at `pc` and its callers, as far as they can be found, innermost first, at most `MAX_FRAMES`."""
    callers = _callers(cpu, pc, symbolize, unwind_tables)
    return (_name(symbolize, pc), *itertools.islice(callers, MAX_FRAMES - 1))


def _callers(cpu: Cpu, pc: int, symbolize: Symbolize, unwind_tables: UnwindTables | None) -> Iterator[Frame]:
    frame = _innermost(cpu, pc)
    named = _name(symbolize, pc)
    first = True
    while True:
        # A return address may be the first byte after its function; the call instruction is before it.
        lookup = pc if first else frame.pc - 1
        try:
            table = unwind_tables(lookup) if unwind_tables else None
            if table is None:
                raise UnwindError(f"no image with call-frame information lies at {lookup:#x}")
            caller = caller_by_rules(frame, table, lookup, cpu.read)
        except (UnwindError, AddressSpaceError):
            caller = _guess(frame, named, cpu, symbolize, first)
        if caller is None or _leads_nowhere(frame, caller):
            return
        named = _name_return(symbolize, caller.pc)
        if not _known(named):
            return
        yield named
        frame, first = caller, False


def _innermost(cpu: Cpu, pc: int) -> Registers:
    dwarf = _instruction_set(cpu).dwarf
    return Registers(dwarf, pc, dict(enumerate(cpu.read_registers(dwarf.names))))


def _instruction_set(cpu: Cpu) -> InstructionSet:
    """The instruction set in which `cpu` has stopped."""
    return ISAS[cpu.arch].instruction_set(cpu.read_register("pc"))


def _known(frame: Frame) -> bool:
    return frame.image is not None or frame.symbol is not None


def _name_return(symbolize: Symbolize, address: int) -> Frame:
    """Describe a return address by the call before it: the byte there may belong to another function."""
    named = _name(symbolize, address)
    if named.image is None and named.symbol is not None:  # a trap: there is no code before it
        return named
    before = _name(symbolize, address - 1)
    return replace(before, address=address, offset=before.offset + 1) if _known(before) else named


def _leads_nowhere(frame: Registers, caller: Registers) -> bool:
    """Whether a caller's frame is invalid: below its callee's, as the stack grows down, or equal to it, which
    would loop.
    """
    sp = frame.isa.sp
    if caller.values[sp] == frame.values[sp]:
        return caller.pc == frame.pc
    return caller.values[sp] < frame.values[sp]


def _guess(frame: Registers, named: Frame, cpu: Cpu, symbolize: Symbolize, first: bool) -> Registers | None:
    """The caller by the calling convention alone, if its address is known code."""
    for caller in _just_called(frame, named, cpu) if first else ():
        there = _name_return(symbolize, caller.pc)
        # A return address in the same function was left by a call that has already returned.
        if _known(there) and (there.symbol is None or there.symbol != named.symbol):
            # When the frame is already set up, its record has the same address and allows further unwinding.
            return next((same for same in _by_frame_pointer(frame, cpu) if same.pc == caller.pc), caller)
    for caller in _by_frame_pointer(frame, cpu):
        if _known(_name_return(symbolize, caller.pc)):
            return caller
    return None


def _just_called(frame: Registers, named: Frame, cpu: Cpu) -> Iterator[Registers]:
    """The caller of a function that has not yet saved its return address."""
    isa = frame.isa
    if isa.link is not None:
        yield Registers(isa, frame.values[isa.link], frame.values)
    elif not _known(named):
        # on x86 the return address is certainly on top only after a jump to an invalid address
        with contextlib.suppress(AddressSpaceError):
            top = frame.values[isa.sp]
            back = int.from_bytes(cpu.read(top, isa.word), "little")
            yield Registers(isa, back, {**frame.values, isa.sp: top + isa.word})


def _by_frame_pointer(frame: Registers, cpu: Cpu) -> Iterator[Registers]:
    isa = frame.isa
    pointer = frame.values.get(isa.fp, 0)
    for saved_pointer, saved_return in isa.frame_records:
        with contextlib.suppress(AddressSpaceError):
            record = [
                int.from_bytes(cpu.read(pointer + offset & frame.mask, isa.word), "little")
                for offset in (saved_pointer, saved_return)
            ]
            above = pointer + max(saved_pointer, saved_return, -isa.word) + isa.word
            yield Registers(isa, record[1], {**frame.values, isa.fp: record[0], isa.sp: above})


# ---------------------------------------------------------------- disassembly


def disassemble(cpu: Cpu, pc: int, frame: Frame | None = None) -> tuple[str, ...]:
    """A few instructions around `pc`, with the one there marked; empty if it is unmapped.

    `frame` describes the code at `pc`: its start is needed to decode the instructions before `pc`. Instructions
    that capstone does not support are named by the ISA's own tables, where it has them, and else shown as data.
    Raises AddressSpaceError if `pc` is unmapped.
    """
    code = _instruction_set(cpu)
    after = _mapped(cpu, pc, _LINES_AFTER * _LONGEST_INSTRUCTION + _LONGEST_INSTRUCTION)
    if code.capstone is None:
        return _words_around(cpu, pc, code, after)
    engine = _engine(*code.capstone)
    before_lines = _lines_before(engine, code, cpu, pc, frame)
    following = _sweep(engine, code, after, pc)
    chosen = [*before_lines[-_LINES_BEFORE:], *following[: 1 + _LINES_AFTER]]
    return tuple(_line(line, pc) for line in chosen)


def _words_around(cpu: Cpu, pc: int, code: InstructionSet, after: bytes) -> tuple[str, ...]:
    """The instructions, all of one size, by their names or as words."""
    size = code.shortest
    before = _mapped_before(cpu, pc, size * _LINES_BEFORE)
    content, start = before + after[: size * (1 + _LINES_AFTER)], pc - len(before)
    lines = []
    for at in range(0, len(content), size):
        word = content[at : at + size]
        text = _named(code, word, start + at) or f".word {int.from_bytes(word, 'little'):#0{2 + 2 * size}x}"
        lines.append((start + at, word, text))
    return tuple(_line(line, pc) for line in lines)


def _named(code: InstructionSet, content: bytes, address: int) -> str | None:
    """The instruction at the start of `content`, by the ISA's own tables."""
    if code.names is None:
        return None
    tables = importlib.import_module(code.names)
    if code.shortest == 2 and content[0] & 3 != 3:
        return cast("str | None", tables.short(int.from_bytes(content[:2], "little")))
    return cast("str | None", tables.instruction(int.from_bytes(content[:4], "little"), address))


_Line = tuple[int, bytes, str]


def _line(line: _Line, pc: int) -> str:
    address, code, text = line
    return f"{'=>' if address == pc else '  '} {address:#x}  {code.hex():<16}  {text}"


def _engine(arch: str, modes: Sequence[str]) -> Any:
    import capstone

    mode = sum(getattr(capstone, f"CS_MODE_{name}") for name in modes)
    return capstone.Cs(getattr(capstone, f"CS_ARCH_{arch}"), mode)


def _sweep(engine: Any, state: InstructionSet, code: bytes, address: int) -> list[_Line]:
    """All of `code`, instruction by instruction; undecodable bytes as data."""
    shortest = state.shortest
    lines: list[_Line] = []
    at = 0
    while at < len(code):
        decoded = False
        for _, size, mnemonic, operands in engine.disasm_lite(code[at:], address + at):
            lines.append((address + at, code[at : at + size], f"{mnemonic} {operands}".rstrip()))
            at += size
            decoded = True
        if at < len(code) and not decoded:
            piece = code[at : at + shortest]
            text = f".byte {', '.join(f'{byte:#04x}' for byte in piece)}"
            if (named := _named(state, code[at : at + 4], address + at)) is not None:
                text, piece = named, code[at : at + (2 if piece[0] & 3 != 3 else 4)]  # RISC-V
            lines.append((address + at, piece, text))
            at += len(piece)
    return lines


def _lines_before(engine: Any, code: InstructionSet, cpu: Cpu, pc: int, frame: Frame | None) -> list[_Line]:
    """The instructions that end exactly at `pc`: decoded from the start of the function, or from an address where
    decoding agrees.
    """
    starts = [pc - size for size in range(_LINES_BEFORE * _LONGEST_INSTRUCTION // 2, 0, -code.shortest)]
    if frame is not None and frame.symbol and 0 < frame.offset <= _SYMBOL_REACH:
        starts.insert(0, pc - frame.offset)
    for start in (start for start in starts if start >= 0):
        with contextlib.suppress(AddressSpaceError):
            lines = _sweep(engine, code, cpu.read(start, pc - start), start)
            if lines and all(not text.startswith(".byte") for _, _, text in lines):
                return lines
    return []


def _mapped(cpu: Cpu, address: int, size: int) -> bytes:
    """The mapped bytes at the start of [address, address + size). Raises AddressSpaceError if the first is
    unmapped.
    """
    try:
        return cpu.read(address, size)
    except AddressSpaceError:
        return cpu.read(address, min(size, -address % cpu.page_size or cpu.page_size))


def _mapped_before(cpu: Cpu, address: int, size: int) -> bytes:
    size = min(size, address)
    try:
        return cpu.read(address - size, size)
    except AddressSpaceError:
        size = min(size, address % cpu.page_size)
        return cpu.read(address - size, size)

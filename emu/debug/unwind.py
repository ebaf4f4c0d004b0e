"""Unwinding a frame by DWARF call-frame information (DWARF 5, section 6.4).

This module finds the entry for an address and evaluates its rules on the frame's registers, which gives the
caller's registers; pyelftools parses the entry. The search table of .eh_frame_hdr tells which entry. Without one,
only the lengths and start addresses of all entries are read, because a large library has thousands of them and
pyelftools takes some 60 µs for each.
"""

from __future__ import annotations

import io
import operator
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple

import numpy as np

from emu.isa.spec import DwarfRegisters
from relink.arrays import I64, U64
from relink.errors import RelinkError
from relink.records import dataclass

#: Reads guest memory: (address, size) -> bytes. Raises AddressSpaceError if it is unmapped.
ReadMemory = Callable[[int, int], bytes]
#: The start addresses of functions, ascending, and the offset of the entry (FDE) of each.
Functions = tuple[U64, I64]


class UnwindError(RelinkError):
    """Call-frame information that is missing or damaged, or does not fit the stack."""


@dataclass(eq=False)
class CallFrameTable:
    """The call-frame information of one image.

    `data` is the contents of .eh_frame (at `address`) or, with `eh_frame` False, of .debug_frame. Where its
    addresses are link-time addresses, `load_bias` is added for guest addresses.
    """

    data: bytes | memoryview
    address: int = 0
    eh_frame: bool = True
    load_bias: int = 0
    functions: Functions | None = None  #: None: found in `data` when they are needed


def table_by_index(
    index: int, segments: Iterable[tuple[int, int]], word: int, read: Callable[[int, int], bytes | memoryview]
) -> CallFrameTable | None:
    """The .eh_frame of an image, found through its .eh_frame_hdr, whose search table is used if it is in order.

    `index` is the address of .eh_frame_hdr (PT_GNU_EH_FRAME), `segments` are the (address, bytes) of the image's
    segments, `word` is the size of a pointer in bytes. .eh_frame ends with a terminator. None if the index does
    not refer to a segment. (LSB core specification, ".eh_frame_hdr".)
    """
    header = CallFrameTable(read(index, 4 + word), index)
    if header.data[0] != 1:
        return None
    start = _pointer(header, 4, header.data[1], word)
    for address, size in segments:
        if start is not None and address <= start < address + size:
            table = CallFrameTable(read(start, address + size - start), start)
            if tuple(header.data[1:4]) == _USUAL_INDEX:
                with suppress(RelinkError):  # the section is shorter than the table
                    table.functions = _search_table(index, table, word, read)
            return table
    return None


#: DW_EH_PE_pcrel | sdata4 for the pointer to .eh_frame, udata4 for the count, datarel | sdata4 for the table.
_USUAL_INDEX: Final = (0x1B, 0x03, 0x3B)


def _search_table(
    index: int, table: CallFrameTable, word: int, read: Callable[[int, int], bytes | memoryview]
) -> Functions | None:
    """The search table of the .eh_frame_hdr at `index`: pairs of words relative to it. None if it is not in order.

    An entry that does not belong to its address is found out when it is used.
    """
    count = int.from_bytes(read(index + 8, 4), "little")
    pairs = np.frombuffer(read(index + 12, 8 * count), "<i4").reshape(-1, 2).astype(np.int64).view(np.uint64)
    starts = pairs[:, 0] + np.uint64(index) & np.uint64((1 << 8 * word) - 1)
    entries = pairs[:, 1] + np.uint64((index - table.address) % (1 << 64))
    ordered = (starts[:-1] <= starts[1:]).all() and (entries + np.uint64(8) <= len(table.data)).all()
    return (starts, entries.view(np.int64)) if count and ordered else None


class Registers:
    """The known registers of a frame by DWARF number, and its pc (without `code_bits`)."""

    def __init__(self, isa: DwarfRegisters, pc: int, values: Mapping[int, int]) -> None:
        self.isa = isa
        self.pc = pc & ~isa.code_bits
        self.values = dict(values)
        self.mask = (1 << 8 * isa.word) - 1


def caller_by_rules(frame: Registers, table: CallFrameTable, lookup: int, read: ReadMemory) -> Registers | None:
    """The caller's registers by the rules for `lookup`; None if there is no caller.

    `lookup` is the pc of the innermost frame, and one less than the return address of any other, so that a call at
    the end of a function is looked up in that function. Raises UnwindError if no entry covers `lookup` or the
    entry is invalid, AddressSpaceError if the rules refer to unmapped memory.
    """
    rules, return_column = _find(table, lookup - table.load_bias & frame.mask, frame.isa.word)
    cfa = _canonical_address(rules, frame, read)
    values = dict(frame.values)
    if frame.isa.link is None:
        values.pop(return_column, None)
    values[frame.isa.sp] = cfa
    for number, rule in rules.items():
        if isinstance(number, int):
            value = _recover(rule, number, cfa, frame, read)
            if value is None:
                values.pop(number, None)
            else:
                values[number] = value & frame.mask
    if frame.isa.sp not in values:
        raise UnwindError("the caller's stack pointer cannot be known")
    pc = values.get(return_column)
    return None if pc is None else Registers(frame.isa, pc, values)


def _canonical_address(rules: Mapping[Any, Any], frame: Registers, read: ReadMemory) -> int:
    """The canonical frame address (DWARF 5, 6.4.1): the caller's stack pointer, unless a rule says otherwise."""
    rule = rules.get("cfa")
    if rule is None:
        raise UnwindError("a row without a rule for the canonical frame address")
    if rule.expr is not None:
        return _evaluate(rule.expr, frame, read, None)
    return _known(frame, rule.reg) + int(rule.offset) & frame.mask


def _known(frame: Registers, number: int) -> int:
    value = frame.values.get(number)
    if value is None:
        raise UnwindError(f"a rule uses register {number}, whose value is not known")
    return value


def _recover(rule: Any, number: int, cfa: int, frame: Registers, read: ReadMemory) -> int | None:
    """A register of the caller by its rule (DWARF 5, 6.4.1); None if it is unknown."""
    word = frame.isa.word
    match rule.type:
        case "OFFSET":
            return int.from_bytes(read(cfa + rule.arg & frame.mask, word), "little")
        case "VAL_OFFSET":
            return cfa + int(rule.arg)
        case "REGISTER":
            return frame.values.get(int(rule.arg))
        case "EXPRESSION":
            return int.from_bytes(read(_evaluate(rule.arg, frame, read, cfa), word), "little")
        case "VAL_EXPRESSION":
            return _evaluate(rule.arg, frame, read, cfa)
        case "SAME_VALUE":
            return frame.values.get(number)
        case _:
            return None


# ---------------------------------------------------------------- finding the entry


def _find(table: CallFrameTable, pc: int, word: int) -> tuple[dict[Any, Any], int]:
    """The row of rules in force at `pc`, and the column of the return address."""
    starts, entries = _functions(table, word)
    nearest = int(np.searchsorted(starts, np.uint64(pc), side="right"))
    for fde_offset in entries[nearest - 1 : nearest].tolist() if nearest else ():
        with _damage_as_unwind_error():
            fde = _parse(table, (_cie_of(table, fde_offset), fde_offset), word)[1]
            start = fde.header["initial_location"] & (1 << 8 * word) - 1
            if start <= pc < start + fde.header["address_range"]:
                into = pc - start + fde.header["initial_location"]
                rows = [row for row in fde.get_decoded().table if row["pc"] <= into]
                return rows[-1], fde.cie.header["return_address_register"]
    raise UnwindError(f"no call-frame information covers {pc:#x}")


@contextmanager
def _damage_as_unwind_error() -> Iterator[None]:
    """Convert the exceptions that pyelftools raises for damaged tables into UnwindError."""
    from elftools.common.exceptions import DWARFError, ELFParseError

    try:
        yield
    except (
        DWARFError,
        ELFParseError,
        struct.error,
        ValueError,
        LookupError,
        AssertionError,
        RecursionError,
    ) as error:
        raise UnwindError(f"damaged call-frame information: {error!r}") from error


class _Raw(NamedTuple):
    offset: int
    end: int
    identifier: int  #: the field that marks a CIE, or is the FDE's offset of its CIE
    body: int  #: offset of the data after that field


def _raw_entries(table: CallFrameTable) -> Iterator[_Raw]:
    data, offset = table.data, 0
    while offset + 8 <= len(data):
        length, identifier = struct.unpack_from("<II", data, offset)
        if length == 0 and table.eh_frame:
            return  # the terminator
        if length < 4 or length >= 0xFFFFFFF0 or offset + 4 + length > len(data):
            return  # 64-bit DWARF is not emitted for these ISAs; other values are damage
        yield _Raw(offset, offset + 4 + length, identifier, offset + 8)
        offset += 4 + length


def _cie_of(table: CallFrameTable, fde: int) -> int:
    """The offset of the CIE to which an FDE refers."""
    identifier: int = struct.unpack_from("<I", table.data, fde + 4)[0]
    return fde + 4 - identifier if table.eh_frame else identifier


def _functions(table: CallFrameTable, word: int) -> Functions:
    """The functions that a table describes. `word` is the bytes in a pointer."""
    if table.functions is None:
        table.functions = _all_entries(table, word)
    return table.functions


def _all_entries(table: CallFrameTable, word: int) -> Functions:
    """The functions of a table without a search table."""
    encodings: dict[int, int | None] = {}
    found = []
    mark = 0 if table.eh_frame else 0xFFFFFFFF
    for entry in _raw_entries(table):
        if entry.identifier == mark:
            continue
        cie = _cie_of(table, entry.offset)
        if cie not in encodings:
            encodings[cie] = _pointer_encoding(table, cie, word)
        encoding = encodings[cie]
        start = None if encoding is None else _pointer(table, entry.body, encoding, word)
        if start is not None:
            found.append((start, entry.offset))
    found.sort()
    return np.array([start for start, _ in found], np.uint64), np.array([entry for _, entry in found], np.int64)


def function_entries(table: CallFrameTable, word: int) -> list[tuple[int, int]]:
    """(start address, offset of its FDE) of every function a table describes, in address order.

    `word` is the bytes in a pointer. Damage ends the list early.
    """
    starts, entries = _functions(table, word)
    return list(zip(starts.tolist(), entries.tolist(), strict=True))


def _pointer_encoding(table: CallFrameTable, cie: int, word: int) -> int | None:
    """The DW_EH_PE_* encoding of addresses in the FDEs of a CIE; None if the CIE cannot be read."""
    try:
        with _damage_as_unwind_error():
            return int(_parse(table, (cie,), word)[0].augmentation_dict.get("FDE_encoding", 0))
    except UnwindError:
        return None


#: The low four bits of a DW_EH_PE_* encoding (LSB core specification, "DWARF Exception Header Encoding").
_POINTER_FORMATS: Final = {0x2: "<H", 0x3: "<I", 0x4: "<Q", 0xA: "<h", 0xB: "<i", 0xC: "<q"}


def _pointer(table: CallFrameTable, offset: int, encoding: int, word: int) -> int | None:
    layout = _POINTER_FORMATS.get(encoding & 0xF, "<Q" if word == 8 else "<I")
    if encoding & 0x70 not in (0, 0x10) or offset + struct.calcsize(layout) > len(table.data):
        return None
    value: int = struct.unpack_from(layout, table.data, offset)[0]
    if encoding & 0x10:  # DW_EH_PE_pcrel
        value += table.address + offset
    return value & (1 << 8 * word) - 1


def _parse(table: CallFrameTable, offsets: Sequence[int], word: int) -> list[Any]:
    """Let pyelftools parse a CIE, or a CIE and one of its FDEs, as a separate section.

    Raises ValueError when an offset has another kind of entry, and the exceptions of pyelftools.
    """
    from elftools.dwarf.callframe import CIE, FDE, CallFrameInfo
    from elftools.dwarf.structs import DWARFStructs

    pieces = []
    for offset in offsets:
        (length,) = struct.unpack_from("<I", table.data, offset)
        pieces.append(bytearray(table.data[offset : offset + 4 + length]))
    address = table.address
    if len(pieces) == 2:
        # The FDE's CIE is now directly before it; the FDE keeps its address, because its pointers are relative.
        struct.pack_into("<I", pieces[1], 4, len(pieces[0]) + 4 if table.eh_frame else 0)
        address += offsets[1] - len(pieces[0])
    section = b"".join(pieces)
    structs = DWARFStructs(little_endian=True, dwarf_format=32, address_size=word)
    entries: list[Any] = CallFrameInfo(
        io.BytesIO(section), len(section), address, structs, for_eh_frame=table.eh_frame
    ).get_entries()
    if [type(entry) for entry in entries] != [CIE, FDE][: len(offsets)]:
        raise ValueError("no CIE, or no FDE of it")
    return entries


# ---------------------------------------------------------------- DWARF expressions, as far as CFI uses them


def _shift_left(value: int, count: int) -> int:
    return value << count if count < 64 else 0  # a damaged count would exhaust the host's memory


_BINARY: Final[Mapping[int, Callable[[int, int], int]]] = {
    0x1A: operator.and_, 0x1C: operator.sub, 0x1E: operator.mul, 0x21: operator.or_, 0x22: operator.add,
    0x24: _shift_left, 0x25: operator.rshift, 0x27: operator.xor, 0x29: operator.eq, 0x2A: operator.ge,
    0x2B: operator.gt, 0x2C: operator.le, 0x2D: operator.lt, 0x2E: operator.ne,
}  # fmt: skip
_CONSTANTS: Final = {
    0x08: "<B", 0x09: "<b", 0x0A: "<H", 0x0B: "<h", 0x0C: "<I", 0x0D: "<i", 0x0E: "<Q", 0x0F: "<q",
}  # fmt: skip


def _evaluate(expression: Sequence[int], frame: Registers, read: ReadMemory, initial: int | None) -> int:
    """Run a DWARF expression (DWARF 5, 2.5). `initial` is the initial stack. Raises UnwindError, and
    AddressSpaceError for a dereference of unmapped memory.
    """
    try:
        return _run(bytes(expression), frame, read, initial)
    except (IndexError, struct.error) as error:  # the stack or the expression ends early
        raise UnwindError(f"damaged DWARF expression {bytes(expression).hex()}") from error


def _run(code: bytes, frame: Registers, read: ReadMemory, initial: int | None) -> int:
    stack = [] if initial is None else [initial]
    at = 0
    while at < len(code):
        op = code[at]
        at += 1
        if 0x30 <= op <= 0x4F:  # DW_OP_lit0…
            stack.append(op - 0x30)
        elif 0x70 <= op <= 0x8F:  # DW_OP_breg0…
            offset, at = _leb128(code, at, signed=True)
            # On x86 the return-address column means the frame's own pc (PLT entries use it so).
            number = op - 0x70
            is_pc = number < len(frame.isa.names) and frame.isa.names[number] == "pc"
            stack.append((frame.pc if is_pc else _known(frame, number)) + offset)
        elif op in _CONSTANTS:
            stack.append(struct.unpack_from(_CONSTANTS[op], code, at)[0])
            at += struct.calcsize(_CONSTANTS[op])
        elif op == 0x03:  # addr
            stack.append(int.from_bytes(code[at : at + frame.isa.word], "little"))
            at += frame.isa.word
        elif op in (0x10, 0x11, 0x23):  # constu, consts, plus_uconst
            value, at = _leb128(code, at, signed=op == 0x11)
            stack.append(stack.pop() + value if op == 0x23 else value)
        elif op in _BINARY:
            right = stack.pop()
            stack.append(int(_BINARY[op](stack.pop(), right)))
        elif op == 0x06:  # deref
            stack.append(int.from_bytes(read(stack.pop(), frame.isa.word), "little"))
        elif op == 0x12:  # dup
            stack.append(stack[-1])
        else:
            raise UnwindError(f"DWARF operation {op:#x} is not one that call-frame information uses")
        stack[-1] &= frame.mask
    return stack[-1]


def _leb128(code: bytes, at: int, *, signed: bool) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = code[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    if signed and byte & 0x40:
        value -= 1 << shift
    return value, at

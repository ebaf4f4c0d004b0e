"""Line numbers from DWARF: the source file and line of an address.

Only .debug_line is read (versions 2 to 5), with the two string sections it may refer to: a line table does not
need the other debug sections. Units are read in order until one covers the address, and cached. A damaged table
only makes the result incomplete. Source: DWARF 5, section 6.2.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right, insort
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple
from weakref import WeakKeyDictionary

from relink.elf.debug_lock import forget_in_child, one_thread
from relink.elf.decoded import Decoded
from relink.elf.dwarf_info import debug_section
from relink.errors import printable
from relink.records import dataclass, field

__all__ = ["LineRange", "LineTable", "SourceLine", "source_line"]

_SECTIONS = (".debug_line", ".debug_line_str", ".debug_str")
_MAX_OPCODES = 8_000_000  #: opcodes read for one image (some seconds); line tables beyond that are ignored


class SourceLine(NamedTuple):
    """A line of a source file. The file name is the one given to the compiler; lines count from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{printable(self.file)}:{self.line}"


class LineRange(NamedTuple):
    """Code [start, end) that comes from one line; link-time addresses."""

    start: int
    end: int
    file: str  #: as given to the compiler
    line: int
    unit: int  #: offset of the line table in .debug_line, to which DW_AT_stmt_list of its unit refers
    folder: str  #: the compilation directory, where the line table has it


_KNOWN: WeakKeyDictionary[Decoded, LineTable] = WeakKeyDictionary()
forget_in_child(_KNOWN)


@one_thread
def source_line(decoded: Decoded, vaddr: int) -> SourceLine | None:
    """The source line of the instruction at a link-time address; None when unknown. Never raises."""
    table = _KNOWN.get(decoded)
    if table is None:
        try:
            lines, line_strings, strings = (debug_section(decoded, name) for name in _SECTIONS)
        except Exception:  # source lines are optional: no line instead of an error
            lines = line_strings = strings = b""
        table = _KNOWN[decoded] = LineTable(lines, line_strings, strings, decoded.header.bits // 8)
    return table.find(vaddr)


class _DamagedError(Exception):
    """A line number program that is inconsistent."""


@dataclass
class _Sequence:
    """Rows in ascending address order; the last one marks the end of the sequence."""

    files: list[str]
    unit: int = 0  #: offset of its unit in .debug_line
    folder: str = ""  #: the compilation directory, where the line table has it (DWARF 5)
    addresses: list[int] = field(default_factory=list)
    rows: list[tuple[int, int]] = field(default_factory=list)  # (file, line)

    def find(self, address: int) -> SourceLine | None:
        if not self.addresses[0] <= address < self.addresses[-1]:
            return None
        number, line = self.rows[bisect_right(self.addresses, address) - 1]
        known = 0 <= number < len(self.files) and line > 0
        return SourceLine(self.files[number], line) if known else None


class LineTable:
    """The line tables of one image. `sections` are the contents of its debug sections; addresses have `word_size`
    bytes.
    """

    def __init__(self, lines: bytes, line_strings: bytes, strings: bytes, word_size: int) -> None:
        self._sections = lines, line_strings, strings
        self._word_size = word_size
        self._sequences: list[_Sequence] = []
        self._by_address: list[tuple[int, int]] = []  #: (address, number) of each sequence, by address
        self._units = self._read()

    def find(self, address: int) -> SourceLine | None:
        """The source line of the instruction at an address, or None."""
        at = bisect_right(self._by_address, (address, len(self._sequences))) - 1
        found = self._sequences[self._by_address[at][1]].find(address) if at >= 0 else None
        while found is None and (unit := self._next()) is not None:
            found = next(filter(None, (sequence.find(address) for sequence in unit)), None)
        return found

    def _next(self) -> list[_Sequence] | None:
        """Read the sequences of another unit."""
        unit = next(self._units, None)
        for sequence in unit or ():
            insort(self._by_address, (sequence.addresses[0], len(self._sequences)))
            self._sequences.append(sequence)
        return unit

    def ranges(self) -> Iterator[LineRange]:
        """All ranges of code that come from one source line, unit by unit."""
        while self._next() is not None:
            pass
        for sequence in self._sequences:
            starts, files = sequence.addresses, sequence.files
            for at, (start, end) in enumerate(itertools.pairwise(starts)):
                number, line = sequence.rows[at]
                if start < end and line > 0 and 0 <= number < len(files):
                    yield LineRange(start, end, files[number], line, sequence.unit, sequence.folder)

    def files_by_unit(self) -> dict[int, list[str]]:
        """The file table of each unit read so far, by its offset in .debug_line."""
        return {sequence.unit: sequence.files for sequence in self._sequences}

    def _read(self) -> Iterator[list[_Sequence]]:
        """The sequences of each unit. A unit has a length field, so a damaged one does not affect those after
        it.
        """
        lines = self._sections[0]
        at, left = 0, _MAX_OPCODES
        while at + 4 <= len(lines) and left > 0:
            width, length = 4, int.from_bytes(lines[at : at + 4], "little")
            at += 4
            if length == 0xFFFFFFFF:
                width, length = 8, int.from_bytes(lines[at : at + 8], "little")
                at += 8
            end, start = at + length, at - width - (4 if width == 8 else 0)
            unit = _Unit(lines[at:end], width, self._sections[1], self._sections[2], self._word_size)
            with suppress(_DamagedError, IndexError):  # sequences read before the damage are kept
                unit.run(left)
            left -= unit.executed
            for sequence in unit.sequences:
                sequence.unit, sequence.folder = start, unit.folder
            # Linkers set the address of discarded code to 0; such a sequence would cover other code there.
            yield [s for s in unit.sequences if len(s.addresses) > 1 and s.addresses[0]]
            at = end


class _Unit:
    """One line number program and the machine that runs it (6.2.2 to 6.2.5)."""

    def __init__(self, data: bytes, width: int, line_strings: bytes, strings: bytes, word_size: int) -> None:
        self.data, self.width, self.word_size = data, width, word_size
        self.line_strings, self.strings = line_strings, strings
        self.at = 0
        self.executed = 0
        self.sequences: list[_Sequence] = []
        self.files: list[str] = []
        self.folder = ""

    # ------------------------------------------------------------ reading

    def uint(self, size: int) -> int:
        value = int.from_bytes(self.data[self.at : self.at + size], "little")
        self.at += size
        if self.at > len(self.data):
            raise _DamagedError
        return value

    def uleb(self) -> int:
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 70:
                raise _DamagedError

    def sleb(self) -> int:
        start = self.at
        value = self.uleb()
        bits = 7 * (self.at - start)
        return value - (1 << bits) if value >> (bits - 1) else value

    def string(self) -> str:
        end = self.data.find(b"\0", self.at)
        if end < 0:
            raise _DamagedError
        text = self.data[self.at : end].decode("utf-8", "replace")
        self.at = end + 1
        return text

    # ------------------------------------------------------------ the header

    def header(self) -> None:
        version = self.uint(2)
        if not 2 <= version <= 5:
            raise _DamagedError
        if version >= 5:
            self.word_size = self.uint(1)
            self.uint(1)  # segment selectors
        length = self.uint(self.width)
        program = self.at + length
        self.step = self.uint(1)
        if version >= 4:
            self.uint(1)  # maximum_operations_per_instruction, for VLIW machines
        self.uint(1)  # default_is_stmt
        self.line_base = (self.uint(1) ^ 0x80) - 0x80
        self.line_range = self.uint(1)
        self.opcode_base = self.uint(1)
        self.operands = [0, *(self.uint(1) for _ in range(self.opcode_base - 1))]
        if not self.line_range or program > len(self.data):
            raise _DamagedError
        if version >= 5:
            folders = [path for path, _ in self.entries()]
            self.folder = folders[0] if folders else ""
            named = self.entries()
            self.files = [_joined(folders, folder, name) for name, folder in named]
        else:
            self.tables()
        self.at = program

    def tables(self) -> None:
        """Read the folder and file tables of versions up to 4. Folder 0 is the compilation directory; files count
        from 1.
        """
        folders = [""]
        while folder := self.string():
            folders.append(folder)
        self.files = [""]
        while name := self.string():
            self.files.append(_joined(folders, self.uleb(), name))
            self.uleb()  # modification time
            self.uleb()  # file size

    def entries(self) -> list[tuple[str, int]]:
        """(path, folder) of each entry of a version 5 table (6.2.4.1)."""
        formats = [(self.uleb(), self.uleb()) for _ in range(self.uint(1))]
        found = []
        count = self.uleb()
        if count > len(self.data) or not formats:
            count = 0
        for _ in range(count):
            path, folder = "", 0
            for content, form in formats:
                if form not in _FORMS:
                    raise _DamagedError
                value = _FORMS[form](self)
                if content == 1 and isinstance(value, str):
                    path = value
                elif content == 2 and isinstance(value, int):
                    folder = value
            found.append((path, folder))
        return found

    def indirect(self, strings: bytes) -> str:
        offset = self.uint(self.width)
        end = strings.find(b"\0", offset)
        if end < 0:
            raise _DamagedError
        return strings[offset:end].decode("utf-8", "replace")

    def skip(self, size: int) -> int:
        self.at += size
        return 0

    # ------------------------------------------------------------ the program

    def run(self, most: int) -> None:
        """Execute up to `most` opcodes. Raises _DamagedError, IndexError."""
        self.header()
        data, end = self.data, len(self.data)
        self.reset()
        while self.at < end and self.executed < most:
            opcode = data[self.at]
            self.at += 1
            self.executed += 1
            if opcode >= self.opcode_base:
                advance, line = divmod(opcode - self.opcode_base, self.line_range)
                self.address += self.step * advance
                self.line += self.line_base + line
                self.emit()
            elif opcode == 0:
                self.extended()
            else:
                self.standard(opcode)

    def reset(self) -> None:
        self.address, self.file, self.line = 0, 1, 1
        self.sequence = _Sequence(self.files)

    def emit(self) -> None:
        addresses = self.sequence.addresses
        if addresses and self.address < addresses[-1]:  # DWARF requires ascending addresses within a sequence
            raise _DamagedError
        addresses.append(self.address)
        self.sequence.rows.append((self.file, self.line))

    def extended(self) -> None:
        length = self.uleb()
        after = self.at + length
        opcode = self.data[self.at] if length else 0
        self.at += 1
        if opcode == 1:  # DW_LNE_end_sequence
            self.emit()
            self.sequences.append(self.sequence)
            self.reset()
        elif opcode == 2:  # DW_LNE_set_address
            self.address = self.uint(min(length - 1, 8))
        elif opcode == 3:  # DW_LNE_define_file
            self.files.append(self.string())
        self.at = after

    def standard(self, opcode: int) -> None:
        if opcode == 1:  # DW_LNS_copy
            self.emit()
        elif opcode == 2:  # DW_LNS_advance_pc
            self.address += self.step * self.uleb()
        elif opcode == 3:  # DW_LNS_advance_line
            self.line += self.sleb()
        elif opcode == 4:  # DW_LNS_set_file
            self.file = self.uleb()
        elif opcode == 8:  # DW_LNS_const_add_pc
            self.address += self.step * ((255 - self.opcode_base) // self.line_range)
        elif opcode == 9:  # DW_LNS_fixed_advance_pc
            self.address += self.uint(2)
        else:
            for _ in range(self.operands[opcode]):
                self.uleb()


#: Readers of the DW_FORM_* that a version 5 table may use (7.5.6); a form whose value is not needed is skipped.
_FORMS: dict[int, Callable[[_Unit], str | int]] = {
    0x05: lambda unit: unit.uint(2), 0x06: lambda unit: unit.uint(4), 0x07: lambda unit: unit.uint(8),
    0x08: _Unit.string, 0x09: lambda unit: unit.skip(unit.uleb()), 0x0B: lambda unit: unit.uint(1),
    0x0E: lambda unit: unit.indirect(unit.strings), 0x0F: _Unit.uleb, 0x1E: lambda unit: unit.skip(16),
    0x1F: lambda unit: unit.indirect(unit.line_strings),
}  # fmt: skip


def _joined(folders: list[str], number: int, name: str) -> str:
    """A file's path: its folder and name, or the name alone in the compilation directory (folder 0)."""
    folder = folders[number] if 0 < number < len(folders) else ""
    return name if not folder or name.startswith("/") else f"{folder}/{name}"

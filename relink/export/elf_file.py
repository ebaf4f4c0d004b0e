"""Writing ELF executables: what gdb, readelf and programmers of devices read.

A file has the program headers (p_paddr is where bytes are stored), the sections they consist of, debug sections
and symbols. Nothing in it is needed to load it but the program headers.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from relink.elf.constants import SHN_ABS, FileType, SectionFlag, SectionType, SegmentType, SymbolBind
from relink.elf.headers import Header
from relink.records import dataclass, field

_IDENT = struct.Struct("<4sBBBBB7x")
_STT_TLS = 6


@dataclass(frozen=True)
class OutSection:
    """A section to write. `data` None: it has no bytes (SHT_NOBITS). Sections without SHF_ALLOC have address 0."""

    name: str
    type: int
    flags: int
    address: int
    size: int
    align: int
    data: bytes | None
    entsize: int = 0
    load_address: int = 0
    fill: int = 0  #: the byte between it and the section before it in its segment


class OutSymbol(NamedTuple):
    """A symbol to write. `absolute`: it has no section."""

    name: str
    value: int
    size: int
    info: int
    other: int
    absolute: bool = False


@dataclass
class ElfFile:
    """An executable in the making. Sections are allocated ones by address, then others."""

    header: Header
    entry: int
    flags: int
    sections: list[OutSection] = field(default_factory=list)
    symbols: list[OutSymbol] = field(default_factory=list)
    #: Of the allocated sections of one program header: (p_flags, first section, section after the last).
    segments: list[tuple[int, int, int]] = field(default_factory=list)
    tls: tuple[int, int, int, int] | None = None  #: PT_TLS: address, file size, size, alignment

    def to_bytes(self) -> bytes:
        """The file."""
        return _Writer(self).run()


class _Writer:
    def __init__(self, file: ElfFile) -> None:
        self.file = file
        self.layout = file.header.layout
        self.out = bytearray()
        self.offsets: list[int] = []  # of the sections

    def run(self) -> bytes:
        file = self.file
        count = len(file.segments) + (file.tls is not None)
        self.out += bytes(_IDENT.size + self.layout.header.size + self.layout.program_header.size * count)
        self._place_sections()
        extra = self._tables()
        names = _Strings()
        for section in (*file.sections, *extra):
            names.add(section.name)
        names.add(".shstrtab")
        self._align(1)
        strings_at = len(self.out)
        self.out += names.data
        strings = OutSection(".shstrtab", SectionType.STRTAB, 0, 0, len(names.data), 1, b"")
        self.offsets.append(strings_at)
        self._align(8)
        table_at = len(self.out)
        everything = [*file.sections, *extra, strings]
        self.out += bytes(self.layout.section_header.size)
        links = {".symtab": (len(everything) - 1, self.first_global)}
        for section, offset in zip(everything, self.offsets, strict=True):
            self.out += self._section(section, offset, names.of[section.name], *links.get(section.name, (0, 0)))
        self._write_heads(table_at, len(everything) + 1)
        return bytes(self.out)

    def _align(self, align: int, remainder: int = 0) -> None:
        self.out += bytes((remainder - len(self.out)) % max(align, 1))

    def _place_sections(self) -> None:
        """Write the sections' bytes. Those of a segment keep their distances, and its offset in the file is
        congruent to its address.
        """
        starts = {first: (first, last) for _, first, last in self.file.segments}
        base = address = 0
        for index, section in enumerate(self.file.sections):
            if index in starts:
                align = max(s.align for s in self.file.sections[slice(*starts[index])])
                self._align(align, section.address % max(align, 1))
                base, address = len(self.out), section.address
            if section.flags & SectionFlag.ALLOC:
                offset = base + section.address - address
                if section.data is not None:
                    self.out += bytes([section.fill]) * (offset - len(self.out)) + section.data
            else:
                self._align(section.align)
                offset = len(self.out)
                self.out += section.data or b""
            self.offsets.append(offset)

    def _tables(self) -> list[OutSection]:
        """Write the symbol table and its strings."""
        layout = self.layout
        ordered = sorted(self.file.symbols, key=lambda s: s.info >> 4 != SymbolBind.LOCAL)
        self.first_global = 1 + sum(s.info >> 4 == SymbolBind.LOCAL for s in ordered)
        records = np.zeros(len(ordered) + 1, layout.symbol)
        strings = _Strings()
        allocated = [(n, s) for n, s in enumerate(self.file.sections, 1) if s.flags & SectionFlag.ALLOC]
        for row, symbol in enumerate(ordered, 1):
            index = SHN_ABS if symbol.absolute else _section_of(symbol, allocated)
            values = {**symbol._asdict(), "name": strings.add(symbol.name), "shndx": index}
            records[row] = tuple(values[column] for column in layout.symbol.names or ())
        self._align(8)
        self.offsets.append(len(self.out))
        data = records.tobytes()
        self.out += data
        self.offsets.append(len(self.out))
        self.out += strings.data
        word = layout.word_size
        return [
            OutSection(".symtab", SectionType.SYMTAB, 0, 0, len(data), word, b"", layout.symbol.itemsize),
            OutSection(".strtab", SectionType.STRTAB, 0, 0, len(strings.data), 1, b""),
        ]

    def _section(self, section: OutSection, offset: int, name: int, link: int, info: int) -> bytes:
        shape = self.layout.section_header
        flags, address, align = section.flags, section.address, section.align
        return shape.pack(
            name, section.type, flags, address, offset, section.size, link, info, align, section.entsize
        )

    def _write_heads(self, table_at: int, sections: int) -> None:
        """Write the ELF header and the program headers, at the start."""
        file, layout = self.file, self.layout
        heads = [self._segment(*segment) for segment in file.segments]
        if file.tls is not None:
            address, filled, size, align = file.tls
            offset = next(o for s, o in zip(file.sections, self.offsets, strict=False) if s.address == address)
            heads.append(self._program_header(SegmentType.TLS, 4, offset, address, address, filled, size, align))
        size = _IDENT.size + layout.header.size
        shapes = layout.program_header.size, len(heads), layout.section_header.size, sections, sections - 1
        start = _IDENT.pack(b"\x7fELF", layout.bits // 32, 1, 1, file.header.os_abi, file.header.abi_version)
        start += layout.header.pack(
            FileType.EXEC, file.header.machine, 1, file.entry, size, table_at, file.flags, size, *shapes
        )
        start += b"".join(heads)
        self.out[: len(start)] = start

    def _segment(self, flags: int, first: int, after: int) -> bytes:
        sections = self.file.sections[first:after]
        start, last = sections[0], sections[-1]
        with_bytes = [s for s in sections if s.data is not None]
        filled = with_bytes[-1].address + with_bytes[-1].size - start.address if with_bytes else 0
        size = last.address + last.size - start.address
        align = max(s.align for s in sections)
        where = self.offsets[first], start.address, start.load_address
        return self._program_header(SegmentType.LOAD, flags, *where, filled, size, align)

    def _program_header(self, kind: int, flags: int, *rest: int) -> bytes:
        names = ("offset", "vaddr", "paddr", "filesz", "memsz", "align")
        values = {"type": kind, "flags": flags, **dict(zip(names, rest, strict=True))}
        return self.layout.program_header.pack(*(values[name] for name in self.layout.program_header_fields))


class _Strings:
    """A string table."""

    def __init__(self) -> None:
        self.data = bytearray(b"\0")
        self.of: dict[str, int] = {"": 0}

    def add(self, text: str) -> int:
        if text not in self.of:
            self.of[text] = len(self.data)
            self.data += text.encode("utf-8", "surrogateescape") + b"\0"
        return self.of[text]


def _section_of(symbol: OutSymbol, allocated: Sequence[tuple[int, OutSection]]) -> int:
    """The index of the section with a symbol's place; of the section that ends there; else of none (SHN_ABS)."""
    tls = [(n, s) for n, s in allocated if s.flags & SectionFlag.TLS]
    if symbol.info & 15 == _STT_TLS:
        place = symbol.value + min((s.address for _, s in tls), default=0)
        last = tls[-1][0] if tls else SHN_ABS
        return next((n for n, s in tls if s.address <= place < s.address + s.size), last)
    usual = [(n, s) for n, s in allocated if not s.flags & SectionFlag.TLS]
    inside = next((n for n, s in usual if s.address <= symbol.value < s.address + s.size), None)
    ends = next((n for n, s in usual if symbol.value == s.address + s.size), None)
    return inside if inside is not None else ends if ends is not None else SHN_ABS

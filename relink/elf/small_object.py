"""Reading a small relocatable object by numbers instead of arrays.

Array operations cost microseconds however short the arrays are, and reading an object as `relink.elf.objects` does
takes some hundred of them. An object with few sections, symbols and relocations is read here in a tenth of the
time. Only plain objects are: whatever is rare, or that `relink.elf.objects` may refuse, raises `Unusual`, and has
to be read there.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import Final

from relink.arch import Architecture
from relink.elf.constants import PAGE, SHN_ABS, SHN_LORESERVE, FileType, SectionFlag, SectionType, SymbolType
from relink.elf.headers import Header
from relink.elf.layout import ELF32, ELF64
from relink.elf.object_symbols import ABSOLUTE
from relink.elf.section_checks import OVERLAP
from relink.records.tuples import NamedTuple

#: Larger objects are read as arrays: bytes, sections, symbols, relocations.
MOST_BYTES, MOST_SECTIONS, MOST_SYMBOLS, MOST_RELOCATIONS = 1 << 16, 48, 256, 128

_REL_FILE, _CURRENT = int(FileType.REL), 1
_PROGBITS, _SYMTAB, _STRTAB, _RELA, _NOTE, _NOBITS, _REL = (
    int(type_)
    for type_ in (
        SectionType.PROGBITS,
        SectionType.SYMTAB,
        SectionType.STRTAB,
        SectionType.RELA,
        SectionType.NOTE,
        SectionType.NOBITS,
        SectionType.REL,
    )
)
_ALLOC = int(SectionFlag.ALLOC)
#: Flags of plain sections: those that are loaded, and others. (SHF_WRITE, EXECINSTR, MERGE, STRINGS; INFO_LINK;
#: EXCLUDE.)
_LOADED_FLAGS, _OTHER_FLAGS = 0x37, 0x8000_0070
#: SHT_LLVM_ADDRSIG, and the build attributes of Arm and RISC-V.
_OTHER_TYPES = frozenset({_PROGBITS, _SYMTAB, _STRTAB, _RELA, _REL, _NOTE, _NOBITS, 0x6FFF4C03, 0x70000003})
_LOADED_TYPES = frozenset({_PROGBITS, _NOTE, _NOBITS})
_INFO_LINK, _LINK_ORDER = int(SectionFlag.INFO_LINK), int(SectionFlag.LINK_ORDER)
#: e_machine -> the type of unwind tables (SHT_X86_64_UNWIND, SHT_ARM_EXIDX), which are like PROGBITS.
_ARM = 40
_UNWIND: Mapping[int, int] = {62: 0x70000001, _ARM: 0x70000001}
#: Names of sections with rules of their own: constructors, parts of one function, copies, compressed and LTO.
_ODD_NAMES = re.compile(rb"\.(?:zdebug_|gnu\.l|[cd]tors|(?:preinit|init|fini)|jcr)")
_INDEX_TABLE = b".ARM.exidx"  #: about another section; those of Arm have that type
_LAST_TYPE = int(SymbolType.FILE)  #: of the symbol types that are no common, thread-local or indirect ones
_BINDINGS = frozenset({0, 1, 2})
_LONG = 64  #: bytes of a name, beyond which names that overlap may be refused

HEADERS: Final = {32: (ELF32, b"\x7fELF\x01\x01\x01"), 64: (ELF64, b"\x7fELF\x02\x01\x01")}
_SYMBOLS: Final = {32: struct.Struct("<IIIBBH"), 64: struct.Struct("<IBBHQQ")}
#: (class, type of the section) -> the format of an entry.
_ENTRIES: Final = {
    (32, _REL): struct.Struct("<II"),
    (32, _RELA): struct.Struct("<IIi"),
    (64, _REL): struct.Struct("<QII"),
    (64, _RELA): struct.Struct("<QIIq"),
}


class Unusual(Exception):
    """The object is to be read, and linked, by arrays."""


class SmallSection(NamedTuple):
    """A section header, as in `relink.elf.headers.Section`."""

    name: bytes
    type: int
    flags: int
    offset: int
    size: int
    align: int  #: at least 1
    about: int  #: index of the section that it is about (SHF_LINK_ORDER), or 0


class SmallSymbol(NamedTuple):
    """A symbol; `section` as in `ObjectSymbols.section`."""

    name: bytes
    name_at: int
    value: int
    size: int
    info: int
    other: int
    section: int


class SmallTable(NamedTuple):
    """The entries of a relocation section: (offset, type, symbol, addend or None)."""

    name: bytes
    target: int  #: index of the section that it patches
    entries: list[tuple[int, int, int, int | None]]


class SmallFile(NamedTuple):
    """A small object, whose parts have been checked as in `relink.elf.objects`."""

    header: Header
    sections: list[SmallSection]
    symbols: list[SmallSymbol]
    first_global: int
    strings: bytes
    symbol_rows: bytes
    tables: list[SmallTable]  #: those of sections that are loaded
    attributes: bytes


def read_small(data: bytes, arch: Architecture) -> SmallFile:
    """Read a small and plain object for `arch`. Raises Unusual for any other file."""
    header = _header(data, arch)
    rows = [*header.layout.section_header.iter_unpack(_part(data, header.shoff, header.shnum * header.shentsize))]
    names = rows[header.shstrndx]
    if any(rows[0]) or names[1] != _STRTAB or not names[5] > 0:
        raise Unusual
    blob = data[names[4] : names[4] + names[5]]
    if _ODD_NAMES.search(blob) or blob[-1:] != b"\0":
        raise Unusual
    sections, symtab = _sections(data, arch, rows, blob)
    symbol_rows, strings, symbols = _symbols(data, arch.bits, rows, symtab)
    tables = _tables(data, arch.bits, rows, sections, symtab, len(symbols))
    wanted = arch.attributes_section
    found = (section for section in sections[1:] if wanted and section.type == wanted)
    build = next((data[section.offset : section.offset + section.size] for section in found), b"")
    return SmallFile(header, sections, symbols, rows[symtab][7], strings, symbol_rows, tables, build)


def _header(data: bytes, arch: Architecture) -> Header:
    layout, ident = HEADERS[arch.bits]
    if (
        not 16 + layout.header.size <= len(data) <= MOST_BYTES
        or data[:7] != ident
        or data[7] not in (0, 3)
        or data[8]
    ):
        raise Unusual
    type_, machine, version, entry, phoff, shoff, flags, _, phentsize, phnum, entsize, shnum, names = (
        layout.header.unpack_from(data, 16)
    )
    if (type_, machine, version, phnum) != (_REL_FILE, arch.machine, _CURRENT, 0):
        raise Unusual
    if entsize != layout.section_header.size or not shoff or not 0 < names < shnum <= MOST_SECTIONS:
        raise Unusual
    if arch.flags_problem(flags):
        raise Unusual
    where = entry, data[7], 0, phoff, phentsize, phnum, shoff, entsize, shnum, names
    return Header(arch.bits, machine, type_, flags, *where)


def _part(data: bytes, offset: int, size: int) -> bytes:
    if offset + size > len(data):
        raise Unusual
    return data[offset : offset + size]


def _sections(
    data: bytes, arch: Architecture, rows: list[tuple[int, ...]], names: bytes
) -> tuple[list[SmallSection], int]:
    """The sections, and the index of the symbol table."""
    sections, symtab, in_file, filled = [SmallSection(b"", 0, 0, 0, 0, 1, 0)], 0, 0, False
    end, unwind = len(data), _UNWIND.get(arch.machine, _PROGBITS)
    for name, type_, flags, _, offset, size, link, info, align, _ in rows[1:]:
        if align & (align - 1) or align > PAGE or name >= len(names):
            raise Unusual
        text, about = names[name : names.index(0, name)], 0
        if len(text) > _LONG:
            raise Unusual
        if flags & _ALLOC:
            if flags & ~_LOADED_FLAGS or not (type_ in _LOADED_TYPES or type_ == unwind):
                about = _about(arch, text, type_, flags, link)
            filled = filled or (size > 0 and type_ not in (_NOBITS, _NOTE))
        elif flags & ~_OTHER_FLAGS or type_ not in _OTHER_TYPES or (flags & _INFO_LINK and info >= len(rows)):
            raise Unusual
        elif type_ == _SYMTAB:
            if symtab:
                raise Unusual
            symtab = len(sections)
        if type_ != _NOBITS:
            in_file += size
            if offset + size > end:
                raise Unusual
        sections.append(SmallSection(text, type_, flags, offset, size, align or 1, about))
    if not symtab or not filled or in_file > OVERLAP * end:
        raise Unusual
    if b".ARM.ex" in names:
        _check_about(arch, sections)
    return sections, symtab


def _about(arch: Architecture, name: bytes, type_: int, flags: int, link: int) -> int:
    """The index of the section that an index table of Arm is about. Raises Unusual for another section."""
    if arch.machine != _ARM or type_ != _UNWIND[_ARM] or flags != _ALLOC | _LINK_ORDER:
        raise Unusual
    if not link or not name.startswith(_INDEX_TABLE):
        raise Unusual
    return link


def _check_about(arch: Architecture, sections: list[SmallSection]) -> None:
    """Raise Unusual where an index table is not about code, or in another form."""
    for section in sections:
        about = section.about
        if section.name.startswith(_INDEX_TABLE) and not about:
            raise Unusual
        if about and not (about < len(sections) and sections[about].flags & 6 == 6 and not sections[about].about):
            raise Unusual


def _symbols(
    data: bytes, bits: int, rows: list[tuple[int, ...]], symtab: int
) -> tuple[bytes, bytes, list[SmallSymbol]]:
    """(the symbol table, the string table of the names, the symbols)."""
    _, _, _, _, offset, size, link, first_global, _, entry = rows[symtab]
    record = _SYMBOLS[bits]
    if entry != record.size or size % entry or not 0 < size <= MOST_SYMBOLS * entry or not 0 < link < len(rows):
        raise Unusual
    _, type_, _, _, text_at, text_size, *_ = rows[link]
    strings = data[text_at : text_at + text_size]
    if type_ != _STRTAB or strings[:1] != b"\0" or strings[-1:] != b"\0" or b"@" in strings:
        raise Unusual
    content = data[offset : offset + size]
    found, count, spent = [], len(rows), 0
    for number, row in enumerate(record.iter_unpack(content)):
        if bits == 64:
            name, info, other, section, value, extent = row
        else:
            name, value, extent, info, other, section = row
        if section >= SHN_LORESERVE:
            if section != SHN_ABS:
                raise Unusual
            section = ABSOLUTE
        bind = info >> 4
        if section >= count or info & 15 > _LAST_TYPE or bind not in _BINDINGS or name >= text_size:
            raise Unusual
        if (bind == 0) != (number < first_global):
            raise Unusual
        text = strings[name : strings.index(0, name)] if name else b""
        spent += len(text) > _LONG and len(text)
        found.append(SmallSymbol(text, name, value, extent, info, other, section))
    if first_global > len(found) or spent > OVERLAP * text_size:
        raise Unusual
    return content, strings, found


def _tables(
    data: bytes,
    bits: int,
    rows: list[tuple[int, ...]],
    sections: list[SmallSection],
    symtab: int,
    symbol_count: int,
) -> list[SmallTable]:
    """The relocations of the sections that are loaded."""
    tables, left = [], MOST_RELOCATIONS
    for number, (_, type_, _, _, offset, size, link, info, _, entry) in enumerate(rows):
        if type_ not in (_REL, _RELA):
            continue
        record = _ENTRIES[bits, type_]
        if not 0 < info < len(rows) or info == number:
            raise Unusual
        target = sections[info]
        if not target.flags & _ALLOC:
            continue
        if entry != record.size or size % entry or link != symtab:
            raise Unusual
        left -= size // entry
        if left < 0:
            raise Unusual
        room = 0 if target.type == _NOBITS else target.size
        found = [_entry(bits, row) for row in record.iter_unpack(data[offset : offset + size])]
        if any(at >= room or symbol >= symbol_count for at, _, symbol, _ in found):
            raise Unusual
        if found:
            tables.append(SmallTable(sections[number].name, info, found))
    return tables


def _entry(bits: int, row: tuple[int, ...]) -> tuple[int, int, int, int | None]:
    """(offset, type, symbol, addend or None) of an entry as it is stored."""
    addend = row[-1] if len(row) == (4 if bits == 64 else 3) else None
    if bits == 64:
        return row[0], row[1], row[2], addend
    return row[0], row[1] & 0xFF, row[1] >> 8, addend

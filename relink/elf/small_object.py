"""Reading a small relocatable object by numbers instead of arrays.

Array operations cost microseconds however short the arrays are, and reading an object as `relink.elf.objects`
does takes some hundred of them. Here the tables of a small object become columns of numbers, each checked by
itself. Whatever is rare, or that `relink.elf.objects` may refuse, raises `Unusual`: the object has to be read
there.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from operator import add
from typing import Final, TypeAlias

from relink.arch import Architecture
from relink.elf.constants import SHN_ABS, FileType, SectionType
from relink.elf.headers import Header
from relink.elf.layout import ELF32, ELF64
from relink.elf.section_checks import OVERLAP
from relink.records.tuples import NamedTuple

#: Larger objects are read as arrays: bytes, sections, symbols, relocations. So many relocations take half the time
#: that arrays take.
MOST_BYTES, MOST_SECTIONS, MOST_SYMBOLS, MOST_RELOCATIONS = 1 << 16, 96, 256, 256

_REL_FILE, _CURRENT, _STRTAB, _NOBITS = int(FileType.REL), 1, int(SectionType.STRTAB), int(SectionType.NOBITS)
#: st_info of plain symbols: local, and global or weak ones; of the types up to STT_FILE, which are no common,
#: thread-local or indirect ones.
_LOCAL = frozenset(range(5))
_GLOBAL = frozenset(bind << 4 | type_ for bind in (1, 2) for type_ in range(5))
_RESERVED = frozenset({SHN_ABS})
_LONG = 64  #: bytes of a name, beyond which names that overlap may be refused
_COMDAT = struct.pack("<I", 1)  #: the flag word of a group

HEADERS: Final = {32: (ELF32, b"\x7fELF\x01\x01\x01"), 64: (ELF64, b"\x7fELF\x02\x01\x01")}
SYMBOLS: Final = {32: struct.Struct("<IIIBBH"), 64: struct.Struct("<IBBHQQ")}
#: (class, type of the section) -> the format of an entry.
ENTRIES: Final = {
    (32, int(SectionType.REL)): struct.Struct("<II"),
    (32, int(SectionType.RELA)): struct.Struct("<IIi"),
    (64, int(SectionType.REL)): struct.Struct("<QII"),
    (64, int(SectionType.RELA)): struct.Struct("<QIIq"),
}

#: An entry of a relocation section: (offset, type, symbol, addend or None for one in place).
Entry: TypeAlias = tuple[int, int, int, int | None]


class Unusual(Exception):
    """The object is to be read, and linked, by arrays."""


class SmallSections(NamedTuple):
    """The section headers in columns, with number 0."""

    names: Sequence[bytes]
    types: tuple[int, ...]
    flags: tuple[int, ...]
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    links: tuple[int, ...]
    infos: tuple[int, ...]
    aligns: tuple[int, ...]
    entry_sizes: tuple[int, ...]

    def content(self, data: bytes, number: int) -> bytes:
        """The bytes of a section that has some in the file."""
        offset = self.offsets[number]
        return data[offset : offset + self.sizes[number]]


class SmallSymbols(NamedTuple):
    """The symbols in columns, with number 0."""

    names_at: tuple[int, ...]
    values: tuple[int, ...]
    sizes: tuple[int, ...]
    infos: tuple[int, ...]
    others: tuple[int, ...]
    sections: tuple[int, ...]  #: st_shndx: an index, 0, or SHN_ABS
    names: Sequence[bytes]  #: of the global ones, from number `first_global` on
    first_global: int
    strings: bytes  #: the string table


def read_header(data: bytes, arch: Architecture) -> Header:
    """The ELF header. Raises Unusual unless the file is an object for `arch`."""
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
    if (type_, machine, version, phnum) != (_REL_FILE, arch.machine, _CURRENT, 0) or arch.flags_problem(flags):
        raise Unusual
    if entsize != layout.section_header.size or not shoff or not 0 < names < shnum <= MOST_SECTIONS:
        raise Unusual
    where = entry, data[7], 0, phoff, phentsize, phnum, shoff, entsize, shnum, names
    return Header(arch.bits, machine, type_, flags, *where)


def read_sections(data: bytes, header: Header) -> SmallSections:
    """The section headers, whose names and bytes are in the file."""
    table, number = data[header.shoff : header.shoff + header.shnum * header.shentsize], header.shstrndx
    if len(table) != header.shnum * header.shentsize or any(table[: header.shentsize]):
        raise Unusual
    record = HEADERS[header.bits][0].section_header
    names_at, types, flags, _, offsets, sizes, *rest = zip(*record.iter_unpack(table), strict=True)
    _check_extents(types, offsets, sizes, len(data))
    strings = data[offsets[number] : offsets[number] + sizes[number]]
    if types[number] != _STRTAB or strings[-1:] != b"\0" or b".gnu.l" in strings:  # LTO, or copies
        raise Unusual
    names = _texts(strings, names_at)
    if sum(map(len, names)) > OVERLAP * len(strings):
        raise Unusual
    return SmallSections(names, types, flags, offsets, sizes, *rest)


def _check_extents(types: tuple[int, ...], offsets: tuple[int, ...], sizes: tuple[int, ...], end: int) -> None:
    """Raise Unusual for sections outside the file, or that overlap so much that they may be refused."""
    if max(map(add, offsets, sizes)) <= end and sum(sizes) <= OVERLAP * end:
        return
    rows = [row for row in zip(types, offsets, sizes, strict=True) if row[0] != _NOBITS]
    if sum(size for _, _, size in rows) > OVERLAP * end or max(at + size for _, at, size in rows) > end:
        raise Unusual


def _texts(strings: bytes, offsets: Sequence[int]) -> list[bytes]:
    """The strings at offsets of a string table."""
    try:
        return [strings[at : strings.index(0, at)] for at in offsets]
    except ValueError:
        raise Unusual from None


def read_symbols(data: bytes, bits: int, sections: SmallSections, number: int) -> SmallSymbols:
    """The symbols of section `number`, none of which is special."""
    record, link, first = SYMBOLS[bits], sections.links[number], sections.infos[number]
    size, count = sections.sizes[number], len(sections.types)
    if sections.entry_sizes[number] != record.size or size % record.size or not 0 < link < count:
        raise Unusual
    if not 0 < size <= MOST_SYMBOLS * record.size or first * record.size > size:
        raise Unusual
    strings = sections.content(data, link)
    if sections.types[link] != _STRTAB or strings[:1] != b"\0" or strings[-1:] != b"\0" or b"@" in strings:
        raise Unusual
    columns = zip(*record.iter_unpack(sections.content(data, number)), strict=True)
    if bits == 64:
        names_at, infos, others, homes, values, extents = columns
    else:
        names_at, values, extents, infos, others, homes = columns
    if not (_LOCAL.issuperset(infos[:first]) and _GLOBAL.issuperset(infos[first:])):
        raise Unusual
    if max({*homes} - _RESERVED, default=0) >= count or max(names_at) >= len(strings):
        raise Unusual
    has_long = len(max(strings.split(b"\0"), key=len)) > _LONG
    if has_long and sum(map(len, _texts(strings, names_at))) > OVERLAP * len(strings):
        raise Unusual
    return SmallSymbols(
        names_at, values, extents, infos, others, homes, _texts(strings, names_at[first:]), first, strings
    )


def read_entries(data: bytes, bits: int, sections: SmallSections, number: int) -> Sequence[Entry]:
    """The entries of relocation section `number`, whose entry size has been checked."""
    record = ENTRIES[bits, sections.types[number]]
    if sections.sizes[number] % record.size:
        raise Unusual
    rows = record.iter_unpack(sections.content(data, number))
    if bits == 32:
        return [(at, info & 0xFF, info >> 8, addend[0] if addend else None) for at, info, *addend in rows]
    if sections.types[number] == SectionType.RELA:
        return [*rows]
    return [(at, type_, symbol, None) for at, type_, symbol in rows]


def group_members(data: bytes, sections: SmallSections, number: int) -> tuple[int, ...]:
    """The members of a COMDAT group (gABI, "Section Groups")."""
    content = sections.content(data, number)
    if len(content) % 4 or content[:4] != _COMDAT:
        raise Unusual
    return struct.unpack_from(f"<{len(content) // 4 - 1}I", content, 4)

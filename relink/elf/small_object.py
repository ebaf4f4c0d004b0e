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
from relink.records.tuples import NamedTuple, maker

#: Larger objects are read as arrays: bytes, sections, symbols, relocations. So many relocations take half the time
#: that arrays take.
MOST_BYTES, MOST_SECTIONS, MOST_SYMBOLS, MOST_RELOCATIONS = 1 << 16, 96, 512, 384

_REL_FILE, _RELA, _CURRENT = int(FileType.REL), int(SectionType.RELA), 1
_SYMTAB, _STRTAB, _NOBITS = int(SectionType.SYMTAB), int(SectionType.STRTAB), int(SectionType.NOBITS)
#: st_info of plain symbols: local, and global or weak ones; of the types up to STT_FILE, which are no common,
#: thread-local or indirect ones.
_LOCAL = frozenset(range(5))
_GLOBAL = frozenset(bind << 4 | type_ for bind in (1, 2) for type_ in range(5))
_RESERVED = frozenset({SHN_ABS})
_LONG = 64  #: bytes of a name that do not count where overlapping names are refused
_COMDAT = struct.pack("<I", 1)  #: the flag word of a group

_HEADER = maker(Header)

HEADERS: Final = {32: (ELF32, b"\x7fELF\x01\x01\x01"), 64: (ELF64, b"\x7fELF\x02\x01\x01")}


class _Tables(dict[int, struct.Struct]):
    """The formats of whole tables by the number of their rows: one `unpack` takes a third of the time of `zip` of
    rows. Tables have at most some hundred rows.
    """

    def __init__(self, row: str) -> None:
        self.row = row

    def __missing__(self, count: int) -> struct.Struct:
        made = self[count] = struct.Struct("<" + self.row * count)
        return made


#: class -> the columns of `SmallSections` in a section header, and where sh_info is in it.
_SECTIONS_OF: Final = {32: (_Tables("II8xII4xI8x"), 28), 64: (_Tables("II16xQQ4xI16x"), 44)}
_SYMBOLS_OF: Final = {32: _Tables("IIIBBH"), 64: _Tables("IBBHQQ")}
#: class -> the bits of so many section headers that are in `SmallSections.alike`.
_ALIKE: Final = {
    bits: int.from_bytes(row * MOST_SECTIONS, "little")
    for bits, row in (
        (32, bytes(4) + b"\xff" * 12 + bytes(8) + b"\xff" * 16),
        (64, bytes(4) + b"\xff" * 20 + bytes(16) + b"\xff" * 24),
    )
}
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
    """The section headers, with number 0: in columns what differs between objects that are otherwise alike, and
    the rest as one number, by which what follows from it is found.
    """

    names_at: tuple[int, ...]
    types: tuple[int, ...]
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    infos: tuple[int, ...]
    strings: bytes  #: the string table of the names
    longest: int  #: bytes of the longest string in it
    symtab: int  #: the number of the first symbol table
    alike: int  #: the table without names, offsets, sizes, and the number of the symbol table's local symbols

    def content(self, data: bytes, number: int) -> bytes:
        """The bytes of a section that has some in the file."""
        offset = self.offsets[number]
        return data[offset : offset + self.sizes[number]]

    def names(self, numbers: Sequence[int]) -> list[bytes]:
        """The names of some sections."""
        return texts(self.strings, [self.names_at[number] for number in numbers])


_SECTIONS = maker(SmallSections)


class SectionColumns(NamedTuple):
    """The columns of `SmallSections.alike`, where nothing of the symbol table's sh_info is left."""

    types: tuple[int, ...]
    flags: tuple[int, ...]
    links: tuple[int, ...]
    infos: tuple[int, ...]
    aligns: tuple[int, ...]
    entry_sizes: tuple[int, ...]


def columns_of(alike: int, bits: int, count: int) -> SectionColumns:
    """Raises Unusual unless header 0 is empty."""
    record = HEADERS[bits][0].section_header
    table = alike.to_bytes(count * record.size, "little")
    if any(table[: record.size]):
        raise Unusual
    _, types, flags, _, _, _, *rest = zip(*record.iter_unpack(table), strict=True)
    return SectionColumns(types, flags, *rest)


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


_SYMBOLS = maker(SmallSymbols)


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
    return _HEADER((arch.bits, machine, type_, flags, *where))


def read_sections(data: bytes, header: Header) -> SmallSections:
    """The section headers, whose bytes are in the file, and whose names are in the string table."""
    size, count, number, (tables, info_at) = (
        header.shentsize,
        header.shnum,
        header.shstrndx,
        _SECTIONS_OF[header.bits],
    )
    table = data[header.shoff : header.shoff + count * size]
    if len(table) != count * size:
        raise Unusual
    fields = tables[count].unpack(table)
    names_at, types, offsets, sizes, infos = (
        fields[::5],
        fields[1::5],
        fields[2::5],
        fields[3::5],
        fields[4::5],
    )
    end = len(data)
    if max(map(add, offsets, sizes)) > end or sum(sizes) > OVERLAP * end:
        _check_extents(types, offsets, sizes, end)
    strings = data[offsets[number] : offsets[number] + sizes[number]]
    if types[number] != _STRTAB or strings[-1:] != b"\0" or b".gnu.l" in strings:  # LTO, or copies
        raise Unusual
    if _SYMTAB not in types or names_at[0] or offsets[0] or sizes[0]:
        raise Unusual
    longest, symtab = len(max(strings.split(b"\0"), key=len)), types.index(_SYMTAB)
    if max(names_at) >= len(strings) or (longest > _LONG and _overlap(strings, longest, names_at)):
        raise Unusual
    alike = int.from_bytes(table, "little") & _ALIKE[header.bits]
    alike -= infos[symtab] << 8 * (symtab * size + info_at)
    return _SECTIONS((names_at, types, offsets, sizes, infos, strings, longest, symtab, alike))


def _check_extents(types: tuple[int, ...], offsets: tuple[int, ...], sizes: tuple[int, ...], end: int) -> None:
    """Raise Unusual for sections outside the file, or that overlap so much that they may be refused."""
    rows = [row for row in zip(types, offsets, sizes, strict=True) if row[0] != _NOBITS]
    if sum(size for _, _, size in rows) > OVERLAP * end or max(at + size for _, at, size in rows) > end:
        raise Unusual


def _overlap(strings: bytes, longest: int, names_at: Sequence[int]) -> bool:
    """Whether names in a string table overlap so much that they may be refused."""
    most = OVERLAP * len(strings)
    return (longest - _LONG) * (len(names_at) - names_at.count(0)) > most and (
        sum(map(len, texts(strings, names_at))) > most
    )


def texts(strings: bytes, offsets: Sequence[int]) -> list[bytes]:
    """The strings at offsets of a string table."""
    try:
        return [strings[at : strings.index(0, at)] for at in offsets]
    except ValueError:
        raise Unusual from None


def read_symbols(data: bytes, bits: int, sections: SmallSections, link: int, named: int) -> SmallSymbols:
    """The symbols, none of which is special: `link` is the section of their names, `named` that of sections'."""
    record, first, number = SYMBOLS[bits], sections.infos[sections.symtab], sections.symtab
    size, count, strings, longest = sections.sizes[number], len(sections.sizes), sections.strings, sections.longest
    if not 0 < size <= MOST_SYMBOLS * record.size or size % record.size or first * record.size > size:
        raise Unusual
    if link != named:
        strings = sections.content(data, link)
        longest = len(max(strings.split(b"\0"), key=len))
    if strings[:1] != b"\0" or strings[-1:] != b"\0" or b"@" in strings:
        raise Unusual
    fields = _SYMBOLS_OF[bits][size // record.size].unpack(sections.content(data, number))
    a, b, c, d, e, f = fields[::6], fields[1::6], fields[2::6], fields[3::6], fields[4::6], fields[5::6]
    if bits == 64:
        names_at, infos, others, homes, values, extents = a, b, c, d, e, f
    else:
        names_at, values, extents, infos, others, homes = a, b, c, d, e, f
    if not (_LOCAL.issuperset(infos[:first]) and _GLOBAL.issuperset(infos[first:])):
        raise Unusual
    if max({*homes} - _RESERVED, default=0) >= count:
        raise Unusual
    if max(names_at) >= len(strings) or (longest > _LONG and _overlap(strings, longest, names_at)):
        raise Unusual
    names = texts(strings, names_at[first:])
    return _SYMBOLS((names_at, values, extents, infos, others, homes, names, first, strings))


def read_entries(data: bytes, bits: int, sections: SmallSections, number: int) -> Sequence[Entry]:
    """The entries of relocation section `number`, whose entry size has been checked."""
    record = ENTRIES[bits, sections.types[number]]
    if sections.sizes[number] % record.size:
        raise Unusual
    rows = record.iter_unpack(sections.content(data, number))
    if bits == 32:
        return [(at, info & 0xFF, info >> 8, addend[0] if addend else None) for at, info, *addend in rows]
    if sections.types[number] == _RELA:
        return [*rows]
    return [(at, type_, symbol, None) for at, type_, symbol in rows]


def group_members(data: bytes, sections: SmallSections, number: int) -> tuple[int, ...]:
    """The members of a COMDAT group (gABI, "Section Groups")."""
    content = sections.content(data, number)
    if len(content) % 4 or content[:4] != _COMDAT:
        raise Unusual
    return struct.unpack_from(f"<{len(content) // 4 - 1}I", content, 4)

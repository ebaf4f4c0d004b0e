"""Decoding a relocatable object (ET_REL) into an `ObjectFile`: its checked content, without addresses.

    from relink.elf.objects import decode_object

    object_file = decode_object("plugin.o")
    [section.name for section in object_file.sections], object_file.symbols.names.texts()
    [(table.name, table.section, len(table)) for table in object_file.relocations]

Section headers are read and checked at once; symbols, relocations and groups on first access. A bad file raises an
`ElfError` whose `source` names the object, and its archive for a member. Source: System V gABI, chapter 4.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from relink.arch import architecture_of
from relink.arrays import U8, U32, AnyArray
from relink.elf.compression import Compressed, compressed, decompress, gnu_compressed
from relink.elf.constants import GRP_COMDAT, FileType, SectionFlag, SectionType, SymbolType
from relink.elf.decoded import Decoded
from relink.elf.findings import Findings
from relink.elf.foreign import LTO_SECTION, lto_problem
from relink.elf.headers import Header, Section, read_header
from relink.elf.object_relocations import RELOCATION_SECTIONS, ObjectRelocations, read_object_relocations
from relink.elf.object_symbols import (
    ABSOLUTE,
    COMMON,
    UNDEFINED,
    ObjectSymbols,
    check_order,
    no_symbols,
    symbol_sections,
)
from relink.elf.section_checks import check_sections, with_bytes
from relink.elf.section_table import SectionTable, read_sections
from relink.elf.segments import check_not_debug_file
from relink.elf.source import Source, open_source
from relink.elf.strings import StringTable
from relink.errors import MalformedElf, Truncated, UnsupportedElf
from relink.records import cached_property, dataclass

__all__ = [
    "ABSOLUTE", "COMMON", "UNDEFINED", "Group", "ObjectFile", "ObjectRelocations", "ObjectSymbols",
    "decode_object",
]  # fmt: skip

# Plain integers: with enumeration members, reading sections spends most of its time in enum lookups.
_ALLOC, _COMPRESSED = int(SectionFlag.ALLOC), int(SectionFlag.COMPRESSED)
_NOBITS, _GROUP, _SYMTAB, _SYMTAB_SHNDX = (
    int(type_) for type_ in (SectionType.NOBITS, SectionType.GROUP, SectionType.SYMTAB, SectionType.SYMTAB_SHNDX)
)
_EMPTY = (_NOBITS, int(SectionType.NULL))


@dataclass(frozen=True)
class Group:
    """A section group (SHT_GROUP): sections that are kept or discarded together.

    `signature` is the group's name; a link keeps the first of all `comdat` groups with the same signature.
    `members` are section indices, `index` is that of the group section itself.
    """

    signature: str
    comdat: bool
    members: tuple[int, ...]
    index: int


class ObjectFile:
    """A relocatable object, decoded as far as it has been asked; arrays are read-only views or copies.

    `name` is the object's name in errors ("libz.a(adler32.o)" for a member of an archive), `path` the file it is
    mapped from, if any, `data` its bytes. Its header and its section headers are correct: `check` has passed.
    """

    _checked = False

    def __init__(self, name: str, path: Path | None, data: U8) -> None:
        self.name, self.path, self.data = name, path, data

    @cached_property
    def _plain(self) -> dict[int, U8]:
        """The content of compressed sections."""
        return {}

    @cached_property
    def _tables(self) -> dict[int, ObjectRelocations]:
        return {}

    def __repr__(self) -> str:
        return f"ObjectFile({self.name!r})"

    @cached_property
    def header(self) -> Header:
        """The ELF header."""
        if len(self.data) == 0:
            raise Truncated(self.name, "the file is empty", 0)
        return read_header(self.name, self.data[:64].tobytes())

    @cached_property
    def sections(self) -> SectionTable:
        """All section headers, including number 0."""
        return read_sections(self.name, self.header, self.data)

    def check(self) -> None:
        """Check the header and the section headers, once. Raises as `decode_object` does."""
        if self._checked:
            return
        name, header, data = self.name, self.header, self.data
        if header.type != FileType.REL:
            raise UnsupportedElf(name, f"e_type is {FileType(header.type).name}, not a relocatable object", 16)
        sections = self.sections
        check_sections(name, sections, len(data))
        if not with_bytes(sections.rows).any():
            check_not_debug_file(header, data, Findings(name))
        if problem := lto_problem(sections.prefixed(LTO_SECTION), self.section_bytes):
            raise UnsupportedElf(name, problem)
        self._checked = True

    # ---------------------------------------------------------- sections

    def section_bytes(self, index: int) -> U8:
        """The bytes of section `index`: a view of the file, empty for SHT_NOBITS and SHT_NULL.

        A compressed section (SHF_COMPRESSED, .zdebug) is decompressed once and cached. Raises MalformedElf when
        that fails, UnsupportedElf for an unknown compression.
        """
        section = self.sections[index]
        if section.type in _EMPTY:
            return self.data[:0]
        raw = self.data[section.offset : section.offset + section.size]
        if index in self._plain:
            return self._plain[index]
        header = self._compressed(index)
        if header is None:
            return raw
        spent = sum(len(plain) for plain in self._plain.values())
        self._plain[index] = decompress(self._where(index), raw, header, len(self.data), spent)
        return self._plain[index]

    def section_size(self, index: int) -> int:
        """The size of section `index` in memory, in bytes: sh_size, or the decompressed size."""
        header = self._compressed(index)
        return self.sections[index].size if header is None else header.size

    def section_align(self, index: int) -> int:
        """The alignment of section `index` in memory, at least 1: sh_addralign, or ch_addralign when
        compressed.
        """
        header = self._compressed(index)
        align = self.sections[index].addralign if header is None else header.addralign
        return max(align, 1) if align & (align - 1) == 0 else 1

    def section(self, name: str) -> int | None:
        """The index of the first section named `name`, None without one."""
        return self.sections.named(name)

    def _compressed(self, index: int) -> Compressed | None:
        """The compression header of a section; None for one that is not compressed. Raises Truncated."""
        section = self.sections[index]
        gnu = not section.flags & _COMPRESSED and section.name.startswith(".zdebug_")
        if not (section.flags & _COMPRESSED or gnu) or section.type in _EMPTY:
            return None
        raw = self.data[section.offset : section.offset + section.size]
        return gnu_compressed(raw) if gnu else compressed(self._where(index), raw, self.header.layout)

    def _where(self, index: int) -> str:
        return f"{self.name}: section {index} ({self.sections.name(index)})"

    # ---------------------------------------------------------- symbols

    @cached_property
    def _symbol_table(self) -> int | None:
        """The index of the SHT_SYMTAB section, None without one."""
        found = self.sections.of_type(_SYMTAB)
        if len(found) > 1:
            raise MalformedElf(self.name, f"sections {found[0]} and {found[1]} are both symbol tables")
        return found[0] if found else None

    @cached_property
    def symbols(self) -> ObjectSymbols:
        """The symbol table. Raises MalformedElf, and UnsupportedElf for an unknown reserved section index."""
        index, arch = self._symbol_table, architecture_of(self.header.machine, self.header.bits)
        if index is None:
            return no_symbols(self.name, arch)
        section, where = self.sections[index], self._where(index)
        records = self._rows(index, self.header.layout.symbol)
        if section.info > len(records):
            raise MalformedElf(
                where, f"sh_info gives {section.info} local symbols, the table has {len(records)} symbols"
            )
        check_order(where, records["info"], section.info)
        self._check_link(index, "its string table", SectionType.STRTAB)
        strings = StringTable(where, self.section_bytes(section.link))
        sections = symbol_sections(
            where, records, self._extended_indices(index, len(records)), len(self.sections), arch
        )
        return ObjectSymbols(records, strings, sections, section.info, arch)

    def _extended_indices(self, symbol_table: int, count: int) -> U32 | None:
        """The rows of the SHT_SYMTAB_SHNDX section of the symbol table."""
        found = self.sections.of_type(_SYMTAB_SHNDX)
        tables = [index for index in found if self.sections[index].link == symbol_table]
        if not tables:
            return None
        rows: U32 = self._rows(tables[0], np.dtype("<u4"))
        if len(rows) < count:
            raise MalformedElf(
                self._where(tables[0]), f"section indices for {len(rows)} symbols, the table has {count}"
            )
        return rows

    @property
    def first_global(self) -> int:
        """The index of the first symbol that is not local."""
        return self.symbols.first_global

    def symbol_name(self, symbol: int) -> str:
        """A symbol's name. For an unnamed section symbol, the name of its section, as in binutils."""
        symbols = self.symbols
        name = symbols.names.text(symbol)
        section = int(symbols.section[symbol])
        if not name and section > 0 and symbols.type[symbol] == SymbolType.SECTION:
            return self.sections.name(section)
        return name

    # ---------------------------------------------------------- relocations

    @cached_property
    def relocations(self) -> tuple[ObjectRelocations, ...]:
        """Every relocation section, in file order; several may patch the same section.

        Raises MalformedElf for a symbol or offset out of range (see `ObjectRelocations`).
        """
        return tuple(map(self.relocation_table, self.sections.of_type(*RELOCATION_SECTIONS)))

    @cached_property
    def loaded_relocations(self) -> tuple[ObjectRelocations, ...]:
        """The relocation sections of allocated sections (SHF_ALLOC); relocations of other sections are not
        checked.

        Raises MalformedElf for a symbol or offset out of range (see `ObjectRelocations`), and for a bad sh_info.
        """
        return tuple(
            self.relocation_table(index)
            for index in self.sections.of_type(*RELOCATION_SECTIONS)
            if self._target(index).flags & _ALLOC
        )

    def debug_relocations(self, index: int) -> tuple[ObjectRelocations, ...]:
        """The relocation sections that patch section `index`. Raises as `relocations` does."""
        tables = self.sections.of_type(*RELOCATION_SECTIONS)
        return tuple(self.relocation_table(table) for table in tables if self.sections[table].info == index)

    def relocation_table(self, index: int) -> ObjectRelocations:
        """Relocation section `index`, read once and cached. Raises as `relocations` does."""
        if index not in self._tables:
            section = self.sections[index]
            self._check_target(index)
            self._tables[index] = read_object_relocations(
                self.name,
                self.header.layout,
                index,
                section,
                self.section_bytes(index),
                self._relocatable_size(section.info),
                len(self.symbols),
            )
        return self._tables[index]

    def _target(self, index: int) -> Section:
        """The section that relocation section `index` patches. Raises MalformedElf."""
        info = self.sections[index].info
        if not 0 < info < len(self.sections) or info == index:
            raise MalformedElf(
                self._where(index),
                f"sh_info is {info}, not a section to relocate; there are {len(self.sections)} sections",
            )
        return self.sections[info]

    def _relocatable_size(self, index: int) -> int:
        return 0 if self.sections[index].type == _NOBITS else self.section_size(index)

    def _check_target(self, index: int) -> None:
        section = self.sections[index]
        self._target(index)
        if section.link != (self._symbol_table or 0) and section.link != 0:
            raise MalformedElf(
                self._where(index),
                f"sh_link is {section.link}, which is not the symbol table",
            )
        if section.link == 0 and self._symbol_table is not None and section.size:
            raise MalformedElf(self._where(index), "sh_link is 0: it has no symbol table")

    @cached_property
    def has_unset_flags(self) -> bool:
        """Whether e_flags say nothing: 0 in an object without code, as from `objcopy -I binary` and `ld -b binary`
        for every machine.
        """
        rows = self.sections.rows
        code = rows["flags"] & rows["flags"].dtype.type(SectionFlag.EXECINSTR)
        return not self.header.flags and not ((code != 0) & (rows["size"] != 0)).any()

    # ---------------------------------------------------------- groups

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The section groups, in file order. Raises MalformedElf where they contradict each other."""
        owners: dict[int, int] = {}
        return tuple(self._group(index, owners) for index in self.sections.of_type(_GROUP))

    def _group(self, index: int, owners: dict[int, int]) -> Group:
        section, where = self.sections[index], self._where(index)
        self._check_link(index, "the symbol table of its signature", SectionType.SYMTAB)
        if section.info >= len(self.symbols):
            raise MalformedElf(
                where,
                f"its signature is symbol {section.info} (sh_info), the table has {len(self.symbols)} symbols",
            )
        words = self._rows(index, np.dtype("<u4")).tolist()
        if not words:
            raise MalformedElf(where, "a section group without its flag word", section.offset)
        flags, members = words[0], tuple(words[1:])
        if flags & ~GRP_COMDAT:
            raise UnsupportedElf(where, f"a section group has the flags {flags:#x}; only GRP_COMDAT is known")
        for position, member in enumerate(members, 1):
            at = section.offset + 4 * position
            if not 0 < member < len(self.sections):
                raise MalformedElf(
                    where, f"lists section {member} as a member, there are {len(self.sections)} sections", at
                )
            if member == index or self.sections[member].type == SectionType.GROUP:
                raise MalformedElf(where, f"lists section {member}, itself a group, as a member", at)
            if member in owners:
                raise MalformedElf(where, f"section {member} is already a member of group {owners[member]}", at)
            owners[member] = index
        return Group(self.symbol_name(section.info), bool(flags & GRP_COMDAT), members, index)

    # ---------------------------------------------------------- checks

    def _check_link(self, index: int, role: str, type_: SectionType) -> None:
        link = self.sections[index].link
        if not 0 < link < len(self.sections):
            raise MalformedElf(
                self._where(index),
                f"sh_link is {link} for {role}, there are {len(self.sections)} sections",
            )
        if self.sections[link].type != type_:
            raise MalformedElf(
                self._where(index),
                f"sh_link is {link} for {role}, which is not of type SHT_{type_.name}",
            )

    def _rows(self, index: int, dtype: np.dtype[np.void] | np.dtype[np.uint32]) -> AnyArray:
        """Read a section that is a table of `dtype` rows."""
        section, where = self.sections[index], self._where(index)
        if section.entsize != dtype.itemsize:
            raise MalformedElf(where, f"sh_entsize is {section.entsize}, an entry has {dtype.itemsize} bytes")
        data = self.section_bytes(index)
        if len(data) % dtype.itemsize:
            raise MalformedElf(
                where, f"{len(data):#x} bytes are not a multiple of the entry size {dtype.itemsize}"
            )
        return data.view(dtype)


def decode_object(source: Source | Decoded, *, name: str | None = None) -> ObjectFile:
    """Read a relocatable object.

    `source` is as in `decode`, or a `Decoded` of type ET_REL; `name` is the object's name in errors. Raises
    ElfError when the file cannot be read; NotElf, Truncated, MalformedElf; UnsupportedElf for other types of ELF
    file, and for sections larger than MAX_SPAN or aligned to more than MAX_ALIGN.
    """
    if isinstance(source, Decoded):
        return decode_opened_object(name or source.name, source.path, source.data, source.header)
    return decode_opened_object(*open_source(source, name))


def decode_opened_object(name: str, path: Path | None, data: U8, header: Header | None = None) -> ObjectFile:
    """`decode_object` for a file that `open_source` has opened, and whose header may have been read already."""
    file = ObjectFile(name, path, data)
    if header is not None:
        file.header = header
    file.check()
    return file

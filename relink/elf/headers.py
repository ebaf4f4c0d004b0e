"""The ELF header, program headers and section headers, read and checked.

gABI chapters 4 (ELF header, sections) and 5 (program header).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from relink.arrays import U8
from relink.elf.constants import (
    ELF_MAGIC,
    ELFCLASS32,
    ELFCLASS64,
    ELFDATA2LSB,
    ELFDATA2MSB,
    EV_CURRENT,
    PAGE,
    SHN_XINDEX,
    FileType,
    SectionType,
    SegmentType,
)
from relink.elf.contents import ProgramHeader
from relink.elf.layout import ELF32, ELF64, Layout
from relink.elf.strings import StringTable
from relink.errors import MalformedElf, NotElf, Truncated, UnsupportedElf

#: The widest image (bytes, first to last segment) that is taken on; beyond it p_vaddr or p_memsz is nonsense.
MAX_SPAN = 2 << 30
#: The greatest alignment a segment may ask for, in bytes.
MAX_ALIGN = 1 << 30

_IDENT_SIZE = 16
_PN_XNUM = 0xFFFF


@dataclass(frozen=True, slots=True)
class Header:
    """The ELF header. `bits` is 32 or 64, `type` an e_type, `machine` an e_machine; `flags` is e_flags."""

    bits: int
    machine: int
    type: int
    flags: int
    entry: int
    os_abi: int
    abi_version: int
    phoff: int
    phentsize: int
    phnum: int
    shoff: int
    shentsize: int
    shnum: int
    shstrndx: int

    @property
    def layout(self) -> Layout:
        """The record formats of this file's class."""
        return ELF64 if self.bits == 64 else ELF32


@dataclass(frozen=True, slots=True)
class Section:
    """One section header, fields as in the gABI without their `sh_`; `name` is resolved."""

    name: str
    type: int
    flags: int
    addr: int
    offset: int
    size: int
    link: int
    info: int
    addralign: int
    entsize: int


def read_header(name: str, data: bytes, *, core: bool = False) -> Header:
    """The header from the first bytes of a file, 64 at most; of a core file only where `core` says so."""
    if data[:4] != ELF_MAGIC:
        raise NotElf(name, "not an ELF file: it does not begin with the bytes 7f 45 4c 46", 0)
    if len(data) < _IDENT_SIZE:
        raise Truncated(name, f"the ELF header is cut short: {len(data)} bytes", len(data))
    elf_class, byte_order, version, os_abi, abi_version = data[4:9]
    if elf_class not in (ELFCLASS32, ELFCLASS64):
        raise MalformedElf(name, f"EI_CLASS is {elf_class}, neither 32-bit nor 64-bit", 4)
    if byte_order == ELFDATA2MSB:
        raise UnsupportedElf(name, "a big-endian file (ELFDATA2MSB); every supported target is little-endian", 5)
    if byte_order != ELFDATA2LSB:
        raise MalformedElf(name, f"EI_DATA is {byte_order}, no known byte order", 5)
    if version != EV_CURRENT:
        raise MalformedElf(name, f"EI_VERSION is {version}, not 1", 6)
    layout = ELF64 if elf_class == ELFCLASS64 else ELF32
    if len(data) < _IDENT_SIZE + layout.header.size:
        raise Truncated(name, f"the ELF header is cut short: {len(data)} bytes", len(data))
    (
        type_,
        machine,
        version,
        entry,
        phoff,
        shoff,
        flags,
        _ehsize,
        phentsize,
        phnum,
        shentsize,
        shnum,
        shstrndx,
    ) = layout.header.unpack_from(data, _IDENT_SIZE)
    if version != EV_CURRENT:
        raise MalformedElf(name, f"e_version is {version}, not 1", 20)
    if type_ not in (FileType.REL, FileType.EXEC, FileType.DYN) and not (core and type_ == FileType.CORE):
        kind = "a core file" if type_ == FileType.CORE else f"of e_type {type_:#x}"
        raise UnsupportedElf(name, f"{kind}; only relocatable, executable and shared objects can be linked", 16)
    return Header(
        bits=layout.bits,
        machine=machine,
        type=type_,
        flags=flags,
        entry=entry,
        os_abi=os_abi,
        abi_version=abi_version,
        phoff=phoff,
        phentsize=phentsize,
        phnum=phnum,
        shoff=shoff,
        shentsize=shentsize,
        shnum=shnum,
        shstrndx=shstrndx,
    )


def read_program_headers(
    name: str,
    header: Header,
    read: Callable[[int, int], bytes],
) -> tuple[ProgramHeader, ...]:
    """The program headers; `read(offset, size)` yields file bytes, fewer where the file ends."""
    if header.phnum == 0:
        return ()
    if header.phnum == _PN_XNUM:
        raise UnsupportedElf(name, "e_phnum is PN_XNUM: more program headers than a linkable file has", 0)
    layout = header.layout
    if header.phentsize != layout.program_header.size:
        raise MalformedElf(
            name, f"e_phentsize is {header.phentsize}, ELF{header.bits} has {layout.program_header.size}", 0
        )
    size = header.phnum * layout.program_header.size
    table = read(header.phoff, size)
    if len(table) < size:
        raise Truncated(
            name,
            f"{header.phnum} program headers at {header.phoff:#x} reach past the end of the file",
            header.phoff,
        )
    fields = layout.program_header_fields
    order = [fields.index(field) for field in ProgramHeader.__dataclass_fields__]
    return tuple(
        ProgramHeader(*(values[position] for position in order))
        for values in layout.program_header.iter_unpack(table)
    )


def loadable_segments(
    name: str,
    header: Header,
    program_headers: Sequence[ProgramHeader],
    file_size: int | None,
) -> tuple[ProgramHeader, ...]:
    """The PT_LOADs in vaddr order, each sound by itself and none overlapping another.

    `file_size` is None for an image in memory. Empty segments (p_memsz 0) are left out. Raises MalformedElf,
    Truncated for bytes past the end of the file, UnsupportedElf for an image wider than MAX_SPAN.
    """
    segments = sorted(
        (entry for entry in program_headers if entry.type == SegmentType.LOAD and (entry.memsz or entry.filesz)),
        key=lambda entry: entry.vaddr,
    )
    if not segments:
        raise MalformedElf(name, "no loadable segment (PT_LOAD), nothing to link")
    for segment in segments:
        _check_extent(name, header, segment, file_size)
        _check_alignment(name, segment)
    for before, after in pairwise(segments):
        if before.vaddr + before.memsz > after.vaddr:
            raise MalformedElf(
                name,
                f"segments overlap: {before.vaddr:#x}+{before.memsz:#x} and {after.vaddr:#x}+{after.memsz:#x}",
            )
    span = segments[-1].vaddr + segments[-1].memsz - segments[0].vaddr
    if span > MAX_SPAN:
        raise UnsupportedElf(
            name, f"the segments span {span:#x} bytes, more than {MAX_SPAN:#x}, the most taken on"
        )
    return tuple(segments)


def _check_extent(name: str, header: Header, segment: ProgramHeader, file_size: int | None) -> None:
    kind = _kind(segment)
    if segment.filesz > segment.memsz:
        raise MalformedElf(
            name,
            f"{kind} at {segment.vaddr:#x}: p_filesz {segment.filesz:#x} exceeds p_memsz {segment.memsz:#x}",
        )
    if segment.vaddr + segment.memsz > header.layout.address_limit:
        raise MalformedElf(
            name, f"{kind} at {segment.vaddr:#x}: p_memsz {segment.memsz:#x} wraps past {header.bits} bits"
        )
    if segment.memsz > MAX_SPAN:
        raise UnsupportedElf(
            name,
            f"{kind} at {segment.vaddr:#x}: p_memsz {segment.memsz:#x} is more than {MAX_SPAN:#x}, "
            "the most taken on",
        )
    # A segment without bytes (.bss, .tbss alone) may have its offset anywhere.
    if file_size is not None and segment.filesz and segment.offset + segment.filesz > file_size:
        raise Truncated(
            name,
            f"{kind} at {segment.vaddr:#x} wants file bytes {segment.offset:#x}+{segment.filesz:#x}, "
            f"the file has {file_size:#x}",
            segment.offset,
        )


def _check_alignment(name: str, segment: ProgramHeader) -> None:
    align = segment.align or 1
    if align & (align - 1):
        raise MalformedElf(name, f"{_kind(segment)} at {segment.vaddr:#x}: p_align {align:#x} is no power of two")
    if align > MAX_ALIGN:
        raise UnsupportedElf(name, f"{_kind(segment)} at {segment.vaddr:#x}: p_align {align:#x} is beyond reason")
    unit = max(align, PAGE) if segment.type == SegmentType.LOAD else 1
    if (segment.vaddr - segment.offset) % unit:
        raise MalformedElf(
            name,
            f"segment at {segment.vaddr:#x}: p_vaddr and p_offset {segment.offset:#x} differ modulo "
            f"{unit:#x}, so no page of the file can be mapped there",
        )


def _kind(segment: ProgramHeader) -> str:
    return "segment" if segment.type == SegmentType.LOAD else f"{SegmentType(segment.type).name} segment"


def find_program_header(
    name: str,
    program_headers: Sequence[ProgramHeader],
    type_: SegmentType,
) -> ProgramHeader | None:
    """The one program header of `type_`, None without one. Two contradict each other: MalformedElf."""
    found = [entry for entry in program_headers if entry.type == type_]
    if len(found) > 1:
        raise MalformedElf(
            name, f"{len(found)} program headers of type PT_{type_.name}, one at most is meaningful"
        )
    return found[0] if found else None


def check_special_segment(
    name: str,
    header: Header,
    segment: ProgramHeader | None,
    loaded: Sequence[ProgramHeader],
    file_size: int | None,
) -> None:
    """PT_TLS, PT_GNU_RELRO, PT_DYNAMIC: sound by itself, and inside one PT_LOAD.

    Of PT_TLS only the file-backed bytes are: .tbss has no place in the image. PT_GNU_RELRO is, to the end of
    its last page: linkers round it up.
    """
    if segment is None:
        return
    _check_extent(name, header, segment, file_size)
    _check_alignment(name, segment)
    relro = segment.type == SegmentType.GNU_RELRO
    size, unit = (segment.memsz, PAGE) if relro else (segment.filesz, 1)
    end = segment.vaddr + size
    if size and not any(
        load.vaddr <= segment.vaddr and end <= -(-(load.vaddr + load.memsz) // unit) * unit for load in loaded
    ):
        raise MalformedElf(name, f"{_kind(segment)} {segment.vaddr:#x}+{size:#x} lies in no loadable segment")


def read_sections(name: str, header: Header, data: U8) -> tuple[Section, ...]:
    """The section headers of a file (empty when it has none). Raises Truncated or MalformedElf."""
    if header.shoff == 0:
        return ()
    layout = header.layout
    entry = layout.section_header
    if header.shentsize != entry.size:
        raise MalformedElf(name, f"e_shentsize is {header.shentsize}, ELF{header.bits} has {entry.size}", 0)
    if header.shoff + entry.size > len(data):
        raise Truncated(name, "the section header table lies past the end of the file", header.shoff)
    first = entry.unpack(data[header.shoff : header.shoff + entry.size].tobytes())
    # Section 0 holds what does not fit e_shnum and e_shstrndx (gABI, "Special Section Indexes").
    count = header.shnum or first[5]
    names_index = first[6] if header.shstrndx == SHN_XINDEX else header.shstrndx
    end = header.shoff + count * entry.size
    if end > len(data):
        raise Truncated(name, f"{count} section headers at {header.shoff:#x} reach past the end", header.shoff)
    rows = list(entry.iter_unpack(data[header.shoff : end].tobytes()))
    names = StringTable(name, data[:0])  # which also keeps names that overlap from costing without bound
    if names_index:
        if names_index >= count:
            raise MalformedElf(name, f"section names are said to be in section {names_index} of {count}", 0)
        names = StringTable(name, section_bytes(name, data, rows[names_index][1], *rows[names_index][4:6]))
    elif not any(row[0] for row in rows):
        return tuple(Section("", *row[1:]) for row in rows)
    return tuple(Section(names.text(row[0], "a section name"), *row[1:]) for row in rows)


def section_bytes(name: str, data: U8, type_: int, offset: int, size: int) -> U8:
    """A section's bytes in the file: a view; empty for SHT_NOBITS. Raises Truncated."""
    if type_ in (SectionType.NOBITS, SectionType.NULL):
        return data[:0]
    if offset + size > len(data):
        raise Truncated(name, f"a section {offset:#x}+{size:#x} reaches past the end of the file", offset)
    return data[offset : offset + size]

"""The ELF header, program headers and section headers, read and checked.

gABI chapters 4 (ELF header, sections) and 5 (program header).
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Final

import numpy as np

from relink.arrays import U8, AnyArray
from relink.elf.constants import (
    ELF_MAGIC,
    ELFCLASS32,
    ELFCLASS64,
    ELFDATA2LSB,
    ELFDATA2MSB,
    EV_CURRENT,
    SHN_XINDEX,
    FileType,
    SectionType,
)
from relink.elf.contents import ProgramHeader
from relink.elf.findings import Findings
from relink.elf.layout import ELF32, ELF64, Layout
from relink.elf.linker_script import script_kind
from relink.elf.source import check_not_cut
from relink.elf.strings import StringTable
from relink.errors import MalformedElf, NotElf, Truncated, UnsupportedElf
from relink.records.tuples import NamedTuple, maker

#: Limit for the size of an image (bytes, first to last segment); beyond it p_vaddr or p_memsz is taken to be
#: damaged.
MAX_SPAN = 2 << 30
#: Limit for the alignment of a segment, in bytes.
MAX_ALIGN = 1 << 30

_IDENT_SIZE = 16
_LINKED = frozenset({int(FileType.REL), int(FileType.EXEC), int(FileType.DYN)})
_PN_XNUM = 0xFFFF

_LINUX = (0, 3)  #: System V, and GNU's extensions to it
_ARM = 40  #: e_machine
_ARM_FDPIC = 65
_FIRST_OF_PROCESSOR = 64  #: from here on the meaning is defined by the psABI, mostly for bare-metal systems
#: EI_OSABI (gABI chapter 4, and the registry kept for it).
OS_ABIS = {
    0: "System V", 1: "HP-UX", 2: "NetBSD", 3: "GNU/Linux", 4: "GNU/Hurd", 6: "Solaris", 7: "AIX", 8: "IRIX",
    9: "FreeBSD", 10: "Tru64", 11: "Novell Modesto", 12: "OpenBSD", 13: "OpenVMS", 14: "HP NonStop", 15: "AROS",
    16: "FenixOS", 17: "CloudABI", 18: "OpenVOS", 64: "Arm EABI", 97: "Arm", 255: "a bare machine",
}  # fmt: skip


class Header(NamedTuple):
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
        """The record formats of the file's class."""
        return ELF64 if self.bits == 64 else ELF32


class Section(NamedTuple):
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


def read_header(name: str, data: bytes, findings: Findings | None = None, *, core: bool = False) -> Header:
    """Read the ELF header from the first bytes of a file (at most 64). `core` accepts core files too."""
    findings = findings or Findings(name)
    layout = _layout(name, data, findings)
    type_, machine, version, entry, phoff, shoff, flags, _, phentsize, phnum, shentsize, shnum, shstrndx = (
        layout.header.unpack_from(data, _IDENT_SIZE)
    )
    where = phoff, phentsize, phnum, shoff, shentsize, shnum, shstrndx
    header = Header(layout.bits, machine, type_, flags, entry, data[7], data[8], *where)
    if version != EV_CURRENT:
        findings.warn(f"e_version is {version}, not {EV_CURRENT}", 20)
    if type_ not in _LINKED and not (core and type_ == FileType.CORE):
        kind = "a core file" if header.type == FileType.CORE else f"of e_type {header.type:#x}"
        problem = f"{kind}; only relocatable, executable and shared objects can be linked"
        findings.refuse(UnsupportedElf(name, problem, 16))
    _check_os_abi(header, findings)
    return header


def _layout(name: str, data: bytes, findings: Findings) -> Layout:
    """The record formats for the class and byte order in e_ident."""
    if data[:4] != ELF_MAGIC:
        from relink.elf.foreign import foreign_kind

        foreign = foreign_kind(data) or script_kind(data)
        raise NotElf(name, foreign or "not an ELF file: it does not begin with the bytes 7f 45 4c 46", 0)
    if len(data) < _IDENT_SIZE:
        raise Truncated(name, f"the ELF header is cut short: {len(data)} bytes", len(data))
    elf_class, byte_order, version = data[4:7]
    if elf_class not in (ELFCLASS32, ELFCLASS64):
        raise MalformedElf(name, f"EI_CLASS is {elf_class}, neither 32-bit nor 64-bit", 4)
    if byte_order == ELFDATA2MSB:
        raise UnsupportedElf(name, _big_endian(data, elf_class), 5)
    if byte_order != ELFDATA2LSB:
        raise MalformedElf(name, f"EI_DATA is {byte_order}, which is neither ELFDATA2LSB nor ELFDATA2MSB", 5)
    if version != EV_CURRENT:
        findings.warn(f"EI_VERSION is {version}, not {EV_CURRENT}", 6)
    layout = ELF64 if elf_class == ELFCLASS64 else ELF32
    if len(data) < _IDENT_SIZE + layout.header.size:
        raise Truncated(name, f"the ELF header is cut short: {len(data)} bytes", len(data))
    return layout


def _big_endian(data: bytes, elf_class: int) -> str:
    from relink.elf.machines import machine_text

    what = "a big-endian file (ELFDATA2MSB)"
    if len(data) >= _IDENT_SIZE + 4:
        machine = int.from_bytes(data[_IDENT_SIZE + 2 : _IDENT_SIZE + 4], "big")
        what += f" for {machine_text(machine, 64 if elf_class == ELFCLASS64 else 32, big_endian=True)}"
    return f"{what}; every supported target is little-endian"


def _check_os_abi(header: Header, findings: Findings) -> None:
    """Refuse images for another operating system, because its system calls and libraries are not emulated.

    Relocatable objects are accepted, as they make no calls themselves, except those for Arm FDPIC, which have
    different relocations.
    """
    if header.os_abi == _ARM_FDPIC and header.machine == _ARM:
        problem = "is for Arm FDPIC (EI_OSABI 65): its function descriptors and segment maps are not supported"
        findings.refuse(UnsupportedElf(findings.name, problem, 7))
    elif header.os_abi not in _LINUX and header.os_abi < _FIRST_OF_PROCESSOR:
        if header.type == FileType.REL:
            findings.warn(f"is for {os_abi_name(header)} (EI_OSABI {header.os_abi})", 7)
        else:
            problem = f"is for {os_abi_name(header)} (EI_OSABI {header.os_abi}), not for Linux"
            findings.refuse(UnsupportedElf(findings.name, problem, 7))
    elif header.abi_version and header.os_abi == 0:
        findings.warn(f"EI_ABIVERSION is {header.abi_version}, which System V does not define", 8)


def os_abi_name(header: Header) -> str:
    """The name of the operating system in EI_OSABI."""
    if header.os_abi == _ARM_FDPIC and header.machine == _ARM:
        return "Arm FDPIC"
    return OS_ABIS.get(header.os_abi, f"an unknown system (EI_OSABI {header.os_abi})")


#: The fields of a layout's program headers -> what takes their values in the order of `ProgramHeader`.
_IN_ORDER: Final = {
    fields: itemgetter(*map(fields.index, ProgramHeader._fields))
    for fields in (ELF32.program_header_fields, ELF64.program_header_fields)
}


_MADE: Final = maker(ProgramHeader)


def read_program_headers(
    header: Header, read: Callable[[int, int], bytes], findings: Findings
) -> tuple[ProgramHeader, ...]:
    """Read the program headers; `read(offset, size)` returns file bytes, fewer at the end of the file.

    Entries are e_phentsize bytes apart, as in musl; glibc and Linux require the size of their own structure.
    """
    if header.phnum == 0:
        return ()
    name, layout = findings.name, header.layout
    record = layout.program_header
    if header.phnum == _PN_XNUM:
        problem = "e_phnum is PN_XNUM: more program headers than a linkable file has"
        findings.refuse(UnsupportedElf(name, problem, 0))
    if header.phentsize != record.size:
        problem = f"e_phentsize is {header.phentsize}, not {record.size} as ELF{header.bits} requires"
        if header.phentsize < record.size:
            findings.refuse(MalformedElf(name, problem, 0))
            return ()
        findings.warn(problem, 0)
    size = (header.phnum - 1) * header.phentsize + record.size
    table = read(header.phoff, size)
    if len(table) < size:
        problem = f"{header.phnum} program headers at {header.phoff:#x} reach past the end of the file"
        findings.refuse(Truncated(name, problem, header.phoff))
    in_order = _IN_ORDER[layout.program_header_fields]
    if header.phentsize == record.size:  # the usual case
        whole = len(table) - len(table) % record.size
        rows = record.iter_unpack(table[:whole])
    else:
        places = range(0, len(table) - record.size + 1, header.phentsize)
        rows = iter([record.unpack_from(table, at) for at in places])
    return tuple(map(_MADE, map(in_order, rows)))


def read_section_rows(name: str, header: Header, data: U8) -> tuple[AnyArray, StringTable | None]:
    """The section headers of a file (`Layout.section_record`, none when it has none) and the string table of their
    names; None where none of them has one. Raises Truncated or MalformedElf.
    """
    layout = header.layout
    entry = layout.section_header
    if header.shoff == 0:
        return np.empty(0, layout.section_record), None
    check_not_cut(data)
    if header.shentsize != entry.size:
        raise MalformedElf(name, f"e_shentsize is {header.shentsize}, ELF{header.bits} has {entry.size}", 0)
    if header.shoff + entry.size > len(data):
        raise Truncated(name, "the section header table lies past the end of the file", header.shoff)
    first = entry.unpack(data[header.shoff : header.shoff + entry.size].tobytes())
    # Section 0 has the values that do not fit e_shnum and e_shstrndx (gABI, "Special Section Indexes").
    count = header.shnum or first[5]
    names_index = first[6] if header.shstrndx == SHN_XINDEX else header.shstrndx
    end = header.shoff + count * entry.size
    if end > len(data):
        raise Truncated(name, f"{count} section headers at {header.shoff:#x} reach past the end", header.shoff)
    rows = np.frombuffer(data[header.shoff : end].tobytes(), layout.section_record)
    if names_index:
        if names_index >= count:
            raise MalformedElf(name, f"e_shstrndx is {names_index}, the file has {count} sections", 0)
        found = rows[names_index].item()
        return rows, StringTable(name, section_bytes(name, data, found[1], *found[4:6]))
    # An empty table refuses any name.
    return rows, StringTable(name, data[:0]) if rows["name"].any() else None


def section_bytes(name: str, data: U8, type_: int, offset: int, size: int) -> U8:
    """A section's bytes: a view of the file, empty for SHT_NOBITS. Raises Truncated."""
    if type_ in (SectionType.NOBITS, SectionType.NULL):
        return data[:0]
    if offset + size > len(data):
        raise Truncated(name, f"a section {offset:#x}+{size:#x} reaches past the end of the file", offset)
    check_not_cut(data)
    return data[offset : offset + size]

"""The checks of the section headers of relocatable objects."""

from __future__ import annotations

from collections.abc import Sequence

from relink.elf.constants import SectionFlag, SectionType
from relink.elf.headers import MAX_ALIGN, MAX_SPAN, Section
from relink.errors import MalformedElf, Truncated, UnsupportedElf

#: Sections may overlap, but their total size is limited to this multiple of the file's size.
_OVERLAP = 2
# Plain integers: with enumeration members, the checks spend most of their time in enum lookups.
_ALLOC, _INFO_LINK, _LINK_ORDER, _COMPRESSED = (
    int(flag)
    for flag in (SectionFlag.ALLOC, SectionFlag.INFO_LINK, SectionFlag.LINK_ORDER, SectionFlag.COMPRESSED)
)
_NULL, _NOBITS = int(SectionType.NULL), int(SectionType.NOBITS)
_WITHOUT_BYTES = (_NOBITS, int(SectionType.NOTE))
_CHECKED = _INFO_LINK | _LINK_ORDER | _COMPRESSED


def has_bytes(section: Section) -> bool:
    """Whether it is a section whose bytes a separate debug file lacks."""
    return bool(section.flags & _ALLOC and section.size) and section.type not in _WITHOUT_BYTES


def check_sections(name: str, sections: Sequence[Section], file_size: int) -> None:
    """Check each section header, and the total size against the file's size and MAX_SPAN."""
    in_file = without_bytes = 0
    for index, section in enumerate(sections):
        if section.type == _NULL:
            continue
        if section.type == _NOBITS:
            without_bytes += section.size
        else:
            in_file += section.size
            if section.offset + section.size > file_size and section.size:
                raise Truncated(
                    name,
                    f"section {index} ({section.name}) has file bytes {section.offset:#x}+{section.size:#x}, "
                    f"the file has {file_size:#x}",
                    section.offset,
                )
        if section.addralign & (section.addralign - 1) or section.addralign > MAX_ALIGN:
            _refuse_alignment(name, index, section)
        if section.flags & _CHECKED:
            _check_flags(name, index, section, len(sections))
    if without_bytes > MAX_SPAN:
        problem = f"the SHT_NOBITS sections have {without_bytes:#x} bytes together, the limit is {MAX_SPAN:#x}"
        raise UnsupportedElf(name, problem)
    if in_file > _OVERLAP * file_size:
        raise MalformedElf(
            name, f"the sections overlap: together they have {in_file:#x} bytes, the file has {file_size:#x}"
        )


def _refuse_alignment(name: str, index: int, section: Section) -> None:
    where = f"section {index} ({section.name})"
    if section.addralign & (section.addralign - 1):
        raise MalformedElf(name, f"{where}: sh_addralign {section.addralign:#x} is not a power of two")
    raise UnsupportedElf(name, f"{where}: sh_addralign {section.addralign:#x} exceeds the limit {MAX_ALIGN:#x}")


def _check_flags(name: str, index: int, section: Section, count: int) -> None:
    """Check the fields that SHF_LINK_ORDER, SHF_INFO_LINK and SHF_COMPRESSED define."""
    where = f"{name}: section {index} ({section.name})"
    if section.flags & _LINK_ORDER and section.link >= count:
        raise MalformedElf(where, f"SHF_LINK_ORDER with sh_link {section.link}, there are {count} sections")
    if section.flags & _INFO_LINK and section.info >= count:
        raise MalformedElf(where, f"SHF_INFO_LINK with sh_info {section.info}, there are {count} sections")
    if section.flags & _COMPRESSED and section.flags & _ALLOC:
        raise MalformedElf(where, "SHF_COMPRESSED with SHF_ALLOC: a loaded section cannot be compressed")

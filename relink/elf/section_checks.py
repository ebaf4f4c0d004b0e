"""The checks of the section headers of relocatable objects."""

from __future__ import annotations

import numpy as np

from relink.arrays import I64, U64, AnyArray, Bools, indices_where
from relink.elf.constants import SectionFlag, SectionType
from relink.elf.headers import MAX_ALIGN, MAX_SPAN, Section
from relink.elf.section_table import SectionTable
from relink.errors import MalformedElf, Truncated, UnsupportedElf

#: Sections may overlap, but their total size is limited to this multiple of the file's size.
OVERLAP = 2
# Plain integers: with enumeration members, the checks spend most of their time in enum lookups.
_ALLOC, _INFO_LINK, _LINK_ORDER, _COMPRESSED = (
    int(flag)
    for flag in (SectionFlag.ALLOC, SectionFlag.INFO_LINK, SectionFlag.LINK_ORDER, SectionFlag.COMPRESSED)
)
_NULL, _NOBITS, _NOTE = int(SectionType.NULL), int(SectionType.NOBITS), int(SectionType.NOTE)
_CHECKED = _INFO_LINK | _LINK_ORDER | _COMPRESSED


def with_bytes(rows: AnyArray) -> Bools:
    """Which sections have bytes that a separate debug file lacks."""
    loaded = (rows["flags"] & rows["flags"].dtype.type(_ALLOC) != 0) & (rows["size"] != 0)
    found: Bools = loaded & (rows["type"] != _NOBITS) & (rows["type"] != _NOTE)
    return found


def suspects(rows: AnyArray, file_sizes: int | U64, counts: int | I64) -> Bools:
    """Which section headers `check_sections` may refuse, given the size of the file and its number of sections (of
    each row, or of all).
    """
    flags, type_, align = rows["flags"].astype(np.uint64), rows["type"], rows["addralign"].astype(np.uint64)
    offset, size = rows["offset"].astype(np.uint64), rows["size"].astype(np.uint64)
    used = type_ != _NULL
    limit = np.asarray(file_sizes, np.uint64)
    outside = (type_ != _NOBITS) & (size != 0) & ((offset > limit) | (size > limit - np.minimum(offset, limit)))
    found: Bools = used & (
        outside
        | ((type_ == _NOBITS) & (size > np.uint64(MAX_SPAN)))
        | (align & (align - np.uint64(1)) != 0)
        | (align > np.uint64(MAX_ALIGN))
    )
    checked = indices_where(flags & np.uint64(_CHECKED))
    if len(checked):
        most = np.broadcast_to(np.asarray(counts, np.int64), len(rows))[checked]
        some = rows[checked]
        odd = (some["link"] >= most) | (some["info"] >= most) | (flags[checked] & np.uint64(_COMPRESSED) != 0)
        found[checked] |= used[checked] & odd
    return found


def check_sections(name: str, sections: SectionTable, file_size: int) -> None:
    """Check each section header, and the total size against the file's size and MAX_SPAN."""
    rows = sections.rows
    for index in indices_where(suspects(rows, file_size, len(rows))).tolist():
        _check(name, index, sections[index], len(rows), file_size)
    size, type_ = rows["size"], rows["type"]
    # No single size is over a limit, so that the sums do not overflow.
    without_bytes = int(size[type_ == _NOBITS].sum(dtype=np.uint64))
    in_file = int(size[(type_ != _NOBITS) & (type_ != _NULL)].sum(dtype=np.uint64))
    if without_bytes > MAX_SPAN:
        problem = f"the SHT_NOBITS sections have {without_bytes:#x} bytes together, the limit is {MAX_SPAN:#x}"
        raise UnsupportedElf(name, problem)
    if in_file > OVERLAP * file_size:
        raise MalformedElf(
            name, f"the sections overlap: together they have {in_file:#x} bytes, the file has {file_size:#x}"
        )


def _check(name: str, index: int, section: Section, count: int, file_size: int) -> None:
    """Check one section header."""
    if section.type == _NULL:
        return
    if section.type != _NOBITS and section.offset + section.size > file_size and section.size:
        raise Truncated(
            name,
            f"section {index} ({section.name}) has file bytes {section.offset:#x}+{section.size:#x}, "
            f"the file has {file_size:#x}",
            section.offset,
        )
    if section.addralign & (section.addralign - 1) or section.addralign > MAX_ALIGN:
        _refuse_alignment(name, index, section)
    if section.flags & _CHECKED:
        _check_flags(name, index, section, count)


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

"""Checks of program headers: a violation that prevents loading is an error, any other a warning.

The checks of the loaders: glibc, elf/dl-load.c (`_dl_map_object_from_fd`) and elf/dl-map-segments.h; musl,
ldso/dynlink.c (`map_library`); bionic, linker_phdr.cpp; Linux, fs/binfmt_elf.c. None of them sorts segments,
refuses overlapping ones, or counts PT_GNU_RELRO. A p_align that is not a power of two is ignored.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from itertools import islice, pairwise
from typing import Final

import numpy as np

from relink.arrays import U8
from relink.elf.constants import PAGE, FileType, SectionFlag, SectionType, SegmentType
from relink.elf.contents import ProgramHeader
from relink.elf.findings import Findings
from relink.elf.headers import MAX_ALIGN, MAX_SPAN, Header
from relink.errors import MalformedElf, Truncated, UnsupportedElf

_FAR_APART = 1 << 20
# Numbers: to name an enum's member takes longer than to compare.
_LOAD, _RELRO = int(SegmentType.LOAD), int(SegmentType.GNU_RELRO)
_DYNAMIC, _TLS, _INTERP = int(SegmentType.DYNAMIC), int(SegmentType.TLS), int(SegmentType.INTERP)
_ALLOC_AND_CODE = (int(SectionFlag.ALLOC), int(SectionFlag.EXECINSTR))
_NOTE, _NOBITS = int(SectionType.NOTE), int(SectionType.NOBITS)
_FIRST_SECTIONS: Final = 16  #: sections that are looked at one by one


def loadable_segments(
    header: Header, program_headers: Sequence[ProgramHeader], file_size: int | None, findings: Findings
) -> tuple[ProgramHeader, ...]:
    """The PT_LOADs in file order, with checked sizes and alignments.

    `file_size` is None for an image in memory. Empty segments (p_memsz and p_filesz 0) are left out. Raises an
    ElfError when there is no segment, when a segment wraps around or is larger than MAX_SPAN, and when the file
    does not have a segment's pages.
    """
    segments = [entry for entry in program_headers if entry.type == _LOAD and (entry.memsz or entry.filesz)]
    if not segments:
        findings.refuse(MalformedElf(findings.name, "no loadable segment (PT_LOAD), nothing to link"))
    if _are_usual(segments, header.layout.address_limit, file_size):
        return tuple(segments)
    sound = [_sound(segment, header, file_size, findings) for segment in segments]
    kept = [segment for segment in sound if segment is not None]
    ordered = sorted(kept, key=lambda segment: segment.vaddr)
    for before, after in pairwise(ordered):
        if before.vaddr + before.memsz > after.vaddr:
            findings.warn(
                f"segments overlap: {before.vaddr:#x}+{before.memsz:#x} and {after.vaddr:#x}+{after.memsz:#x}; "
                "the later in the file replaces the earlier"
            )
    _check_span(ordered, findings)
    return tuple(kept)


def _are_usual(segments: Sequence[ProgramHeader], limit: int, file_size: int | None) -> bool:
    """Whether there is nothing to check one by one: segments as linkers write them, in the order of their
    addresses, all their bytes in the file.
    """
    begin = end = segments[0].vaddr if segments else 0
    for _, _, offset, vaddr, _, filesz, memsz, align in segments:
        sized = filesz <= memsz and end <= vaddr and 0 < align <= MAX_ALIGN and not align & (align - 1)
        if not sized or (file_size is not None and filesz and offset + filesz > file_size):
            return False
        if filesz and (vaddr - offset) % max(align, PAGE):
            return False
        end = vaddr + memsz
    return end <= limit and end - begin <= MAX_SPAN


def _check_span(ordered: Sequence[ProgramHeader], findings: Findings) -> None:
    if not ordered:
        return
    end, used = ordered[0].vaddr, 0
    for segment in ordered:
        used += segment.memsz + (segment.vaddr - end if 0 < segment.vaddr - end < _FAR_APART else 0)
        end = max(end, segment.vaddr + segment.memsz)
    if used > MAX_SPAN:
        problem = f"the segments take {used:#x} bytes, the limit is {MAX_SPAN:#x}"
        findings.refuse(UnsupportedElf(findings.name, problem))


def _sound(
    segment: ProgramHeader, header: Header, file_size: int | None, findings: Findings
) -> ProgramHeader | None:
    """The segment as loaders map it; None when they cannot."""
    before = len(findings.problems)
    memsz = max(segment.memsz, segment.filesz)
    if memsz != segment.memsz:
        findings.warn(
            f"segment at {segment.vaddr:#x}: p_filesz {segment.filesz:#x} exceeds p_memsz {segment.memsz:#x}; "
            "p_filesz bytes are mapped"
        )
    align = usable_alignment(segment, findings)
    if (memsz, align) != (segment.memsz, segment.align):
        segment = segment._replace(memsz=memsz, align=align)
    check_extent(segment, header, findings)
    filesz = _backed(segment, file_size, findings)
    _check_congruence(segment, findings)
    if len(findings.problems) > before:
        return None
    return segment if filesz == segment.filesz else segment._replace(filesz=filesz)


def usable_alignment(segment: ProgramHeader, findings: Findings) -> int:
    """p_align, or 1 where loaders ignore it: not a power of two, or larger than MAX_ALIGN."""
    align = segment.align or 1
    if align & (align - 1):
        findings.warn(f"{kind(segment)} at {segment.vaddr:#x}: p_align {align:#x} is not a power of two")
        return 1
    if align > MAX_ALIGN:
        findings.warn(
            f"{kind(segment)} at {segment.vaddr:#x}: p_align {align:#x} exceeds the limit {MAX_ALIGN:#x}"
        )
        return 1
    return align


def check_extent(segment: ProgramHeader, header: Header, findings: Findings) -> None:
    """Check that a segment does not wrap around and is not larger than MAX_SPAN."""
    name = findings.name
    if segment.vaddr + segment.memsz > header.layout.address_limit:
        problem = f"p_memsz {segment.memsz:#x} wraps past {header.bits} bits"
        findings.refuse(MalformedElf(name, f"{kind(segment)} at {segment.vaddr:#x}: {problem}"))
    if segment.memsz > MAX_SPAN:
        problem = f"p_memsz {segment.memsz:#x} exceeds the limit {MAX_SPAN:#x}"
        findings.refuse(UnsupportedElf(name, f"{kind(segment)} at {segment.vaddr:#x}: {problem}"))


def _backed(segment: ProgramHeader, file_size: int | None, findings: Findings) -> int:
    """The number of bytes the file has for a segment.

    The rest of the file's last page reads as zeros when mapped; access to a page beyond the end of the file
    faults.
    """
    end = segment.offset + segment.filesz
    if file_size is None or not segment.filesz or end <= file_size:
        return segment.filesz
    wanted = f"{segment.offset:#x}+{segment.filesz:#x}"
    problem = f"{kind(segment)} at {segment.vaddr:#x} has file bytes {wanted}, the file has {file_size:#x}"
    if segment.offset >= file_size or (end - 1) // PAGE > (file_size - 1) // PAGE:
        findings.refuse(Truncated(findings.name, problem, segment.offset))
    else:
        findings.warn(f"{problem}; the rest of the page reads as zeros", segment.offset)
    return max(file_size - segment.offset, 0)


def _check_congruence(segment: ProgramHeader, findings: Findings) -> None:
    """gABI, "Program Header": p_vaddr and p_offset are congruent modulo p_align. Loaders require it modulo the
    page size.
    """
    difference = segment.vaddr - segment.offset
    if not segment.filesz or difference % max(segment.align, PAGE) == 0:
        return
    unit, so = (PAGE, "it is copied") if difference % PAGE else (segment.align, "loaders ask for a page's worth")
    findings.warn(
        f"segment at {segment.vaddr:#x}: p_vaddr and p_offset {segment.offset:#x} differ modulo {unit:#x}; {so}"
    )


def kind(segment: ProgramHeader) -> str:
    """The name of a segment's type in messages."""
    return "segment" if segment.type == SegmentType.LOAD else f"{SegmentType(segment.type).name} segment"


def special_segment(
    type_: SegmentType, program_headers: Sequence[ProgramHeader], findings: Findings
) -> ProgramHeader | None:
    """The program header of a type that may occur once. When there are several, the last counts, as in glibc and
    musl; of PT_INTERP the first, as in Linux. A PT_DYNAMIC with p_filesz 0 is ignored when there is another (glibc
    `_dl_process_phdr`); musl uses p_vaddr only.
    """
    found = [entry for entry in program_headers if entry.type == type_]
    if len(found) > 1 and type_ != _RELRO:
        findings.warn(f"{len(found)} program headers of type PT_{type_.name}, only one is used")
    if type_ == _DYNAMIC:
        found = [entry for entry in found if entry.filesz] or [entry for entry in found if entry.memsz]
    if type_ == _TLS:
        found = [entry for entry in found if entry.memsz or entry.filesz]
    if not found:
        return None
    return found[0] if type_ == _INTERP else found[-1]


def check_special(
    header: Header,
    program_headers: Sequence[ProgramHeader],
    types: Collection[int],
    loaded: Sequence[ProgramHeader],
    findings: Findings,
) -> None:
    """Check that PT_TLS and PT_DYNAMIC lie inside PT_LOADs, and PT_GNU_RELRO inside the image.

    `types` are those of the headers, `loaded` are the PT_LOADs in vaddr order. Of PT_TLS only the file-backed
    bytes are checked: .tbss is not in the image. A PT_GNU_RELRO may cover pages between segments, which belong to
    the image.
    """
    for type_ in (SegmentType.TLS, SegmentType.DYNAMIC):
        segment = special_segment(type_, program_headers, findings) if type_ in types else None
        if segment is not None and not _is_plain(segment, loaded, 1):
            _check_bytes(segment, header, loaded, findings)
    relros = [entry for entry in program_headers if entry.type == _RELRO] if _RELRO in types else []
    if len(relros) > 1:
        findings.warn(f"{len(relros)} program headers of type PT_GNU_RELRO; all are made read-only")
    for segment in relros:
        if not _is_plain(segment, loaded, PAGE):
            _check_relro(segment, header, loaded, findings)


def _is_plain(segment: ProgramHeader, loaded: Sequence[ProgramHeader], unit: int) -> bool:
    """Whether all of a special segment lies in one PT_LOAD, whose end is rounded up to a multiple of `unit`, and
    its sizes and alignment are usual: then there is nothing to check.
    """
    _, _, _, vaddr, _, filesz, memsz, align = segment
    if filesz > memsz or memsz > MAX_SPAN or align > MAX_ALIGN or align & (align - 1):
        return False
    end = vaddr + memsz
    ends = [-(-(load.vaddr + load.memsz) // unit) * unit for load in loaded if load.vaddr <= vaddr]
    return end <= max(ends, default=-1)


def _check_bytes(
    segment: ProgramHeader, header: Header, loaded: Sequence[ProgramHeader], findings: Findings
) -> None:
    name, what = findings.name, f"{kind(segment)} at {segment.vaddr:#x}"
    if segment.filesz > segment.memsz and segment.type == SegmentType.TLS:
        problem = f"p_filesz {segment.filesz:#x} exceeds p_memsz {segment.memsz:#x}"
        findings.refuse(MalformedElf(name, f"{what}: {problem}"))
    check_extent(segment, header, findings)
    usable_alignment(segment, findings)
    if not _holds(loaded, segment.vaddr, segment.filesz):
        extent = f"{segment.vaddr:#x}+{segment.filesz:#x}"
        if segment.type == SegmentType.DYNAMIC and _holds(loaded, segment.vaddr, 1):
            findings.warn(f"{kind(segment)} {extent} lies only partly in a loadable segment")
        else:
            findings.refuse(MalformedElf(name, f"{kind(segment)} {extent} lies in no loadable segment"))


def _check_relro(
    segment: ProgramHeader, header: Header, loaded: Sequence[ProgramHeader], findings: Findings
) -> None:
    """Check PT_GNU_RELRO: pages are protected from the one it begins in up to the last one it fills (glibc,
    `_dl_protect_relro`).
    """
    check_extent(segment, header, findings)
    usable_alignment(segment, findings)
    first, last = segment.vaddr // PAGE, (segment.vaddr + segment.memsz) // PAGE
    extent = f"{kind(segment)} {segment.vaddr:#x}+{segment.memsz:#x}"
    if not loaded:
        return
    low, high = loaded[0].vaddr // PAGE, -(-max(load.vaddr + load.memsz for load in loaded) // PAGE)
    if first < last and (first < low or last > high):
        findings.refuse(MalformedElf(findings.name, f"{extent} lies in no loadable segment"))
    elif not any(
        load.vaddr <= segment.vaddr
        and segment.vaddr + segment.memsz <= -(-(load.vaddr + load.memsz) // PAGE) * PAGE
        for load in loaded
    ):
        findings.warn(f"{extent} does not lie in one loadable segment")


def _holds(loaded: Sequence[ProgramHeader], vaddr: int, size: int) -> bool:
    """Whether one segment contains all these bytes."""
    last = bisect_right(loaded, vaddr, key=lambda load: load.vaddr)
    return not size or any(vaddr + size <= load.vaddr + load.memsz for load in loaded[:last])


def check_not_debug_file(header: Header, data: U8, findings: Findings) -> None:
    """Refuse separate debug files, which `objcopy --only-keep-debug`, `strip --only-keep-debug` and `eu-strip -f`
    write.

    They have the headers of the image but not its bytes: all allocated sections except notes are SHT_NOBITS.
    Files of symbols only, which `objcopy --extract-symbol` writes, are refused too: there all sizes are 0.
    """
    layout, entry = header.layout, header.layout.section_header
    end = header.shoff + header.shnum * entry.size
    if not header.shoff or not header.shnum or header.shentsize != entry.size or end > len(data):
        return
    content = data[header.shoff : end].tobytes()
    for _, type_, flags, _, _, size, *_ in islice(entry.iter_unpack(content), _FIRST_SECTIONS):
        if flags & _ALLOC_AND_CODE[0] and size and type_ not in (_NOTE, _NOBITS):
            return  # the usual case: it has bytes
    rows = np.frombuffer(content, layout.section_record)
    alloc, code = (rows["flags"] & rows["flags"].dtype.type(flag) != 0 for flag in _ALLOC_AND_CODE)
    if header.type != FileType.REL and (alloc & code).any() and not rows["size"][alloc].any():
        problem = "has the symbols of a library or program whose code and data are in another file"
        findings.refuse(UnsupportedElf(findings.name, problem))
    allocated = alloc & (rows["size"] != 0) & (rows["type"] != _NOTE)
    if (allocated & code).any() and (rows["type"][allocated] == _NOBITS).all():
        of = "an object" if header.type == FileType.REL else "a library or program"
        findings.refuse(
            UnsupportedElf(
                findings.name,
                f"is a separate debug file: the debug information of {of} whose code and data are in another file",
            )
        )

"""Program headers checked for what a loader needs: what must hold is an error, what ought to a warning.

What the loaders look at: glibc, elf/dl-load.c (`_dl_map_object_from_fd`) and elf/dl-map-segments.h; musl,
ldso/dynlink.c (`map_library`); bionic, linker_phdr.cpp; Linux, fs/binfmt_elf.c. None of them sorts segments, asks
that they do not overlap, or counts PT_GNU_RELRO; of p_align only powers of two mean anything.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from relink.arrays import U8
from relink.elf.constants import PAGE, FileType, SectionFlag, SectionType, SegmentType
from relink.elf.contents import ProgramHeader
from relink.elf.findings import Findings
from relink.elf.headers import MAX_ALIGN, MAX_SPAN, Header
from relink.errors import MalformedElf, Truncated, UnsupportedElf
from relink.records import replace

#: The widest image of segments that lie far apart, bytes; what lies between them costs no memory.
_MAX_SPREAD = 64 << 30
_FAR_APART = 1 << 20
_ALLOC_AND_CODE = (SectionFlag.ALLOC, SectionFlag.EXECINSTR)


def loadable_segments(
    header: Header, program_headers: Sequence[ProgramHeader], file_size: int | None, findings: Findings
) -> tuple[ProgramHeader, ...]:
    """The PT_LOADs in the order of the file, with sizes and alignments that can be relied on.

    `file_size` is None for an image in memory. Empty segments (p_memsz and p_filesz 0) are left out. Refused are:
    no segment, one that wraps or is larger than MAX_SPAN, one whose pages the file does not have.
    """
    segments = [
        entry for entry in program_headers if entry.type == SegmentType.LOAD and (entry.memsz or entry.filesz)
    ]
    if not segments:
        findings.refuse(MalformedElf(findings.name, "no loadable segment (PT_LOAD), nothing to link"))
    sound = [_sound(segment, header, file_size, findings) for segment in segments]
    kept = [segment for segment in sound if segment is not None]
    ordered = sorted(kept, key=lambda segment: segment.vaddr)
    for before, after in pairwise(ordered):
        if before.vaddr + before.memsz > after.vaddr:
            findings.warn(
                f"segments overlap: {before.vaddr:#x}+{before.memsz:#x} and {after.vaddr:#x}+{after.memsz:#x}; "
                "the later in the file covers the earlier"
            )
    _check_span(ordered, findings)
    return tuple(kept)


def _check_span(ordered: Sequence[ProgramHeader], findings: Findings) -> None:
    if not ordered:
        return
    low, end, used = ordered[0].vaddr, ordered[0].vaddr, 0
    for segment in ordered:
        used += segment.memsz + (segment.vaddr - end if 0 < segment.vaddr - end < _FAR_APART else 0)
        end = max(end, segment.vaddr + segment.memsz)
    span = end - low
    if span > _MAX_SPREAD or (span > MAX_SPAN and used > MAX_SPAN):
        most = _MAX_SPREAD if span > _MAX_SPREAD else MAX_SPAN
        problem = f"the segments span {span:#x} bytes, more than {most:#x}, the most taken on"
        findings.refuse(UnsupportedElf(findings.name, problem))


def _sound(
    segment: ProgramHeader, header: Header, file_size: int | None, findings: Findings
) -> ProgramHeader | None:
    """The segment as loaders take it; None where they cannot."""
    before = len(findings.problems)
    memsz = max(segment.memsz, segment.filesz)
    if memsz != segment.memsz:
        findings.warn(
            f"segment at {segment.vaddr:#x}: p_filesz {segment.filesz:#x} exceeds p_memsz {segment.memsz:#x}; "
            "all of it is mapped"
        )
    segment = replace(segment, memsz=memsz, align=usable_alignment(segment, findings))
    check_extent(segment, header, findings)
    filesz = _backed(segment, file_size, findings)
    _check_congruence(segment, findings)
    return None if len(findings.problems) > before else replace(segment, filesz=filesz)


def usable_alignment(segment: ProgramHeader, findings: Findings) -> int:
    """p_align where it means something: a power of two, not beyond reason; loaders take any other for none."""
    align = segment.align or 1
    if align & (align - 1):
        findings.warn(f"{kind(segment)} at {segment.vaddr:#x}: p_align {align:#x} is no power of two")
        return 1
    if align > MAX_ALIGN:
        findings.warn(f"{kind(segment)} at {segment.vaddr:#x}: p_align {align:#x} is beyond reason")
        return 1
    return align


def check_extent(segment: ProgramHeader, header: Header, findings: Findings) -> None:
    """Its end is an address, and its size one that is taken on."""
    name = findings.name
    if segment.vaddr + segment.memsz > header.layout.address_limit:
        problem = f"p_memsz {segment.memsz:#x} wraps past {header.bits} bits"
        findings.refuse(MalformedElf(name, f"{kind(segment)} at {segment.vaddr:#x}: {problem}"))
    if segment.memsz > MAX_SPAN:
        problem = f"p_memsz {segment.memsz:#x} is more than {MAX_SPAN:#x}, the most taken on"
        findings.refuse(UnsupportedElf(name, f"{kind(segment)} at {segment.vaddr:#x}: {problem}"))


def _backed(segment: ProgramHeader, file_size: int | None, findings: Findings) -> int:
    """How many bytes the file really has for a segment. The rest of its last page reads as zeros where it is
    mapped; a page the file does not have at all faults at the first touch."""
    end = segment.offset + segment.filesz
    if file_size is None or not segment.filesz or end <= file_size:
        return segment.filesz
    problem = (
        f"{kind(segment)} at {segment.vaddr:#x} wants file bytes {segment.offset:#x}+{segment.filesz:#x}, "
        f"the file has {file_size:#x}"
    )
    if segment.offset >= file_size or (end - 1) // PAGE > (file_size - 1) // PAGE:
        findings.refuse(Truncated(findings.name, problem, segment.offset))
    else:
        findings.warn(f"{problem}; the rest of the page reads as zeros", segment.offset)
    return max(file_size - segment.offset, 0)


def _check_congruence(segment: ProgramHeader, findings: Findings) -> None:
    """gABI, "Program Header": p_vaddr and p_offset agree modulo p_align. Loaders need it modulo the page."""
    difference = segment.vaddr - segment.offset
    if not segment.filesz or difference % max(segment.align, PAGE) == 0:
        return
    unit, so = (PAGE, "it is copied") if difference % PAGE else (segment.align, "loaders ask for a page's worth")
    findings.warn(
        f"segment at {segment.vaddr:#x}: p_vaddr and p_offset {segment.offset:#x} differ modulo {unit:#x}; {so}"
    )


def kind(segment: ProgramHeader) -> str:
    """What messages call it."""
    return "segment" if segment.type == SegmentType.LOAD else f"{SegmentType(segment.type).name} segment"


def special_segment(
    type_: SegmentType, program_headers: Sequence[ProgramHeader], findings: Findings
) -> ProgramHeader | None:
    """The program header of a type of which one is meaningful: the last, as in glibc and musl.

    Not PT_INTERP, of which Linux takes the first. An empty PT_DYNAMIC is none (glibc, `_dl_process_phdr`).
    """
    found = [entry for entry in program_headers if entry.type == type_]
    if len(found) > 1 and type_ != SegmentType.GNU_RELRO:
        findings.warn(f"{len(found)} program headers of type PT_{type_.name}, one at most is meaningful")
    if type_ is SegmentType.DYNAMIC:
        found = [entry for entry in found if entry.filesz]
    if type_ is SegmentType.TLS:
        found = [entry for entry in found if entry.memsz or entry.filesz]
    if not found:
        return None
    return found[0] if type_ is SegmentType.INTERP else found[-1]


def check_special(
    header: Header,
    program_headers: Sequence[ProgramHeader],
    loaded: Sequence[ProgramHeader],
    findings: Findings,
) -> None:
    """PT_TLS and PT_DYNAMIC lie inside PT_LOADs with what is read of them, PT_GNU_RELRO inside the image.

    `loaded` are the PT_LOADs in vaddr order. Of PT_TLS only the file-backed bytes count: .tbss has no place in the
    image. A PT_GNU_RELRO may cover pages between segments, which are the image's too.
    """
    for type_ in (SegmentType.TLS, SegmentType.DYNAMIC):
        segment = special_segment(type_, program_headers, findings)
        if segment is not None:
            _check_bytes(segment, header, loaded, findings)
    relros = [entry for entry in program_headers if entry.type == SegmentType.GNU_RELRO]
    if len(relros) > 1:
        findings.warn(f"{len(relros)} program headers of type PT_GNU_RELRO; all are protected")
    for segment in relros:
        _check_relro(segment, header, loaded, findings)


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
            findings.warn(f"{kind(segment)} {extent} lies in no loadable segment as a whole")
        else:
            findings.refuse(MalformedElf(name, f"{kind(segment)} {extent} lies in no loadable segment"))


def _check_relro(
    segment: ProgramHeader, header: Header, loaded: Sequence[ProgramHeader], findings: Findings
) -> None:
    """Whole pages are protected, from the one it begins in to the last it fills (glibc, `_dl_protect_relro`)."""
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
        findings.warn(f"{extent} lies in no single loadable segment")


def _holds(loaded: Sequence[ProgramHeader], vaddr: int, size: int) -> bool:
    """Whether some segment holds all these bytes."""
    last = bisect_right(loaded, vaddr, key=lambda load: load.vaddr)
    return not size or any(vaddr + size <= load.vaddr + load.memsz for load in loaded[:last])


def check_not_debug_file(header: Header, data: U8, findings: Findings) -> None:
    """Refuse what `objcopy --only-keep-debug`, `strip --only-keep-debug` and `eu-strip -f` write: headers of an
    image without its bytes, all allocated sections SHT_NOBITS but for notes."""
    layout, entry = header.layout, header.layout.section_header
    end = header.shoff + header.shnum * entry.size
    if not header.shoff or not header.shnum or header.shentsize != entry.size or end > len(data):
        return
    rows = np.frombuffer(data[header.shoff : end].tobytes(), layout.section_record)
    alloc, code = (rows["flags"] & rows["flags"].dtype.type(flag.value) != 0 for flag in _ALLOC_AND_CODE)
    allocated = alloc & (rows["size"] != 0) & (rows["type"] != SectionType.NOTE)
    if (allocated & code).any() and (rows["type"][allocated] == SectionType.NOBITS).all():
        of = "an object" if header.type == FileType.REL else "a library or program"
        findings.refuse(
            UnsupportedElf(
                findings.name,
                f"is a separate debug file: the debug information of {of} whose code and data lie in another file",
            )
        )

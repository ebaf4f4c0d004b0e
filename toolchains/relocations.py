"""The relocations of a built file, read with pyelftools, independent of the code under test."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection, RelocationTable, RelrRelocationTable

from toolchains.psabi import relocation_name
from toolchains.targets import PACKED, Role

DT_ANDROID_REL = 0x6000000F
DT_ANDROID_RELA = 0x60000011
_ARCHIVE = b"!<arch>\n"
_MEMBER = 60


def _dynamic(elf: ELFFile, arch: str, counts: Counter[str]) -> None:
    for segment in elf.iter_segments():
        if not isinstance(segment, DynamicSegment):
            continue
        for table in segment.get_relocation_tables().values():
            if isinstance(table, RelrRelocationTable):
                counts[PACKED[Role.RELR].name] += table.num_relocations()
                continue
            assert isinstance(table, RelocationTable)
            for entry in table.iter_relocations():
                counts[relocation_name(arch, int(entry["r_info_type"]))] += 1
        tags = {tag.entry.d_tag for tag in segment.iter_tags()}
        if tags & {DT_ANDROID_REL, DT_ANDROID_RELA, "DT_ANDROID_REL", "DT_ANDROID_RELA"}:
            counts[PACKED[Role.APS2].name] += 1


def _static(elf: ELFFile, arch: str, counts: Counter[str]) -> None:
    for section in elf.iter_sections():
        if isinstance(section, RelocationSection):
            for entry in section.iter_relocations():
                counts[relocation_name(arch, int(entry["r_info_type"]))] += 1


def archive_members(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each member of a System V or GNU archive, its symbol and name tables left out."""
    names, place = b"", len(_ARCHIVE)
    while place + _MEMBER <= len(content):
        name = content[place : place + 16].rstrip()
        size = int(content[place + 48 : place + 58])
        body = content[place + _MEMBER : place + _MEMBER + size]
        place += _MEMBER + size + size % 2
        if name == b"//":
            names = body
        elif name not in (b"/", b"/SYM64/"):
            if name[:1] == b"/":
                name = names[int(name[1:]) :].partition(b"\n")[0]
            yield name.decode().rstrip("/"), body


def relocation_counts(path: Path, arch: str) -> dict[str, int]:
    """How many entries of each relocation type `path` holds, by psABI name, sorted.

    Dynamic ones of a shared object or executable, static ones of an object or of all an archive's members. An
    RELR word counts once per address it stands for; an Android packed table counts as one `APS2`.
    """
    content = path.read_bytes()
    counts: Counter[str] = Counter()
    if content.startswith(_ARCHIVE):
        for _, member in archive_members(content):
            _static(ELFFile(io.BytesIO(member)), arch, counts)
        return dict(sorted(counts.items()))
    elf = ELFFile(io.BytesIO(content))
    (_static if elf["e_type"] == "ET_REL" else _dynamic)(elf, arch, counts)
    return dict(sorted(counts.items()))

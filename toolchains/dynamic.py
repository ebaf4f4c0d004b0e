"""What dynamic relocations a built file really holds, read with pyelftools: not with the code under test."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationTable, RelrRelocationTable

from toolchains.targets import PACKED, Role, Target

DT_ANDROID_REL = 0x6000000F
DT_ANDROID_RELA = 0x60000011
# Types without a role of their own that some fixture holds all the same.
_OTHERS = {"i386": {37: "R_386_TLS_TPOFF32"}}


def relocation_counts(path: Path, target: Target) -> dict[str, int]:
    """How many entries of each dynamic relocation type `path` holds, by psABI name, sorted.

    An RELR word counts once per address it stands for; an Android packed table counts as one `APS2`.
    """
    names = {kind.number: kind.name for kind in target.relocations.values()} | _OTHERS.get(target.arch, {})
    counts: Counter[str] = Counter()
    with path.open("rb") as stream:
        elf = ELFFile(stream)
        for segment in elf.iter_segments():
            if not isinstance(segment, DynamicSegment):
                continue
            for table in segment.get_relocation_tables().values():
                if isinstance(table, RelrRelocationTable):
                    counts[PACKED[Role.RELR].name] += table.num_relocations()
                    continue
                assert isinstance(table, RelocationTable)
                for entry in table.iter_relocations():
                    number = int(entry["r_info_type"])
                    counts[names.get(number, f"type {number}")] += 1
            tags = {tag.entry.d_tag for tag in segment.iter_tags()}
            if tags & {DT_ANDROID_REL, DT_ANDROID_RELA, "DT_ANDROID_REL", "DT_ANDROID_RELA"}:
                counts[PACKED[Role.APS2].name] += 1
    return dict(sorted(counts.items()))

"""Which sections of the objects a link keeps, and in what order they are laid out.

Allocated sections are kept, less those of COMDAT groups that an earlier object had already (gABI, "Section
Groups"). Sections of equal permission lie together; constructors and destructors are sorted by priority (GNU ld's
SORT_BY_INIT_PRIORITY), and sections that C code can name (`__start_x`, `__stop_x`) are contiguous.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from relink.elf.constants import SectionFlag, SectionType
from relink.elf.objects import ObjectFile
from relink.objects.combined import (
    BSS,
    CONSTRUCTORS,
    DESTRUCTORS,
    INDEX_TABLE,
    LAST_GROUP,
    RW,
    RX,
    TLS,
    InputSection,
    R,
    discarded_groups,
)

_LAST_PRIORITY = 65536
_PRIORITY_DIGITS = 9
_NO_CONTENT = (SectionType.NULL, SectionType.GROUP)


def kept_sections(files: Sequence[ObjectFile]) -> dict[tuple[int, int], InputSection]:
    """The sections that become part of the image, by (number of the file, section index)."""
    dropped = {(number, index) for number, group, _ in discarded_groups(files) for index in group.members}
    once: set[str] = set()  # .gnu.linkonce, what was there before groups: one of each name is kept
    kept: dict[tuple[int, int], InputSection] = {}
    for number, file in enumerate(files):
        for index, section in enumerate(file.sections):
            allocated = section.flags & SectionFlag.ALLOC and section.type not in _NO_CONTENT
            if allocated and (number, index) not in dropped and section.name not in once:
                kept[number, index] = _input(file, number, index)
                if section.name.startswith(".gnu.linkonce."):
                    once.add(section.name)
    _gather_named(kept)
    return kept


def _gather_named(kept: Mapping[tuple[int, int], InputSection]) -> None:
    """Order sections that C code can name next to each other; all of them are writable if one is."""
    named: dict[str, list[InputSection]] = {}
    for section in kept.values():
        if section.name.isidentifier() and section.kind in (R, RW, BSS):
            named.setdefault(section.name, []).append(section)
    for number, parts in enumerate(named.values(), 1):
        kinds = {section.kind for section in parts}
        for section in parts:
            section.order = (*section.order, number)
            if len(kinds) > 1:
                section.kind, section.order = RW, (LAST_GROUP, number)


def _input(file: ObjectFile, number: int, index: int) -> InputSection:
    section = file.sections[index]
    bits = section.type != SectionType.NOBITS
    kept = InputSection(
        file, index, section.name, section.flags, file.section_size(index), max(section.addralign, 1), bits
    )
    constructors = _constructor_order(section.name)
    if section.flags & SectionFlag.TLS:
        kept.kind, kept.order = TLS, (0 if bits else 1,)
    elif section.flags & SectionFlag.EXECINSTR:
        kept.kind = RX
    elif constructors and bits:  # also where an assembler made them read-only
        kept.kind, kept.order = RW, constructors
    elif not section.flags & SectionFlag.WRITE:
        kept.kind = R
        if section.name.startswith(INDEX_TABLE):  # in the order of the code it describes, to be searched
            kept.order = (1, number, section.link)
    else:
        kept.kind = RW if bits else BSS
        kept.order = (LAST_GROUP,)
    return kept


def _constructor_order(name: str) -> tuple[int, ...]:
    """Sorts constructor sections: each kind together, rising priority; () for other sections."""
    if not name.startswith((*CONSTRUCTORS, *DESTRUCTORS)):
        return ()
    for kind, prefix in enumerate((*CONSTRUCTORS, *DESTRUCTORS), 1):
        if name == prefix or name.startswith(prefix + "."):
            suffix = name[len(prefix) + 1 :]
            priority = _LAST_PRIORITY
            if suffix.isascii() and suffix.isdigit() and len(suffix) <= _PRIORITY_DIGITS:
                priority = _LAST_PRIORITY - 1 - int(suffix) if prefix in (".ctors", ".dtors") else int(suffix)
            group = 1 if prefix in CONSTRUCTORS else 2
            return (group, 0 if kind == 1 else 1, priority)
    return ()

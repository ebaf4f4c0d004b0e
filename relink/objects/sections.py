"""The sections of the objects that a link keeps, and their order.

Allocated sections are kept, except:

- those of COMDAT groups that an earlier object has (gABI, "Section Groups");
- those with SHF_EXCLUDE;
- those with SHF_LINK_ORDER whose associated section is not kept (gABI, "Section Attribute Flags").

Sections of one output section are adjacent, in link order, and have the permissions of all of them; the output
sections are those of GNU ld and lld. Constructors and destructors are sorted by priority (GNU ld's
SORT_BY_INIT_PRIORITY), sections with SHF_LINK_ORDER by their associated sections.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from relink.elf.constants import SHT_LOOS, SectionFlag, SectionType
from relink.elf.objects import ObjectFile
from relink.errors import UnsupportedElf
from relink.objects.combined import (
    BSS,
    CODE_FRAGMENTS,
    CONSTRUCTORS,
    DESTRUCTORS,
    INDEX_TABLE,
    LAST_GROUP,
    RW,
    RWX,
    RX,
    TLS,
    InputSection,
    R,
    discarded_groups,
    once_only,
)

# Plain integers: an operation on an enum's member costs microseconds.
_ALLOC, _EXCLUDE, _WRITE, _CODE, _TLS, _LINK_ORDER, _NONCONFORMING = (
    int(flag)
    for flag in (
        SectionFlag.ALLOC,
        SectionFlag.EXCLUDE,
        SectionFlag.WRITE,
        SectionFlag.EXECINSTR,
        SectionFlag.TLS,
        SectionFlag.LINK_ORDER,
        SectionFlag.OS_NONCONFORMING,
    )
)
_NOBITS = int(SectionType.NOBITS)
_LAST_PRIORITY = 65536
_PRIORITY_DIGITS = 9
_NO_CONTENT = (int(SectionType.NULL), int(SectionType.GROUP))
#: Compilers may put each function and variable in a separate section, named after it; linkers merge them into one
#: (lld, `getOutputSectionName`; GNU ld's default linker script).
_GATHERED = (
    ".data.rel.ro", ".data", ".rodata", ".bss.rel.ro", ".bss", ".tbss", ".tdata", ".gcc_except_table",
    ".ARM.exidx", ".ARM.extab", ".text", ".ldata", ".lrodata", ".lbss", ".sdata", ".sbss", ".srodata",
)  # fmt: skip
_GATHERED_PREFIX = re.compile(rf"({'|'.join(map(re.escape, _GATHERED))})(?:\.|\Z)")
#: gcc's objects with the count and terminator of .ctors and .dtors, which the loader does not need (GNU ld's
#: EXCLUDE_FILE).
_CRT = re.compile(r"crt(begin|end)[ST]?\.o\)?$")


def kept_sections(files: Sequence[ObjectFile]) -> dict[tuple[int, int], InputSection]:
    """The sections in the image, by (file number, section index)."""
    dropped = {(number, index) for number, group, _ in discarded_groups(files) for index in group.members}
    once: set[str] = set()  # the sections and groups of which copies are dropped
    kept: dict[tuple[int, int], InputSection] = {}
    for number, file in enumerate(files):
        for index, section in enumerate(file.sections):
            if not _is_part(file, index) or (number, index) in dropped:
                continue
            if (name := once_only(section.name)) is not None:
                if once.intersection((name, section.name)):
                    continue
                once.add(section.name)
            kept[number, index] = InputSection(
                file,
                index,
                section.name,
                section.flags,
                file.section_size(index),
                max(section.addralign, 1),
                section.type != _NOBITS,
            )
        once.update(group.signature for group in file.groups if group.comdat)
    _drop_orphans(kept)
    _arrange(kept)
    return kept


def _is_part(file: ObjectFile, index: int) -> bool:
    section = file.sections[index]
    if not section.flags & _ALLOC or section.flags & _EXCLUDE or section.type in _NO_CONTENT:
        return False
    unknown = SectionType.RELR < section.type < SHT_LOOS
    if unknown or section.flags & _NONCONFORMING:
        problem = f"section {index} ({section.name}) has the unknown type {section.type:#x}"
        why = "" if unknown else ", and the flag SHF_OS_NONCONFORMING: it needs special processing"
        raise UnsupportedElf(file.name, problem + why)
    return not (section.name in (".ctors", ".dtors") and _CRT.search(file.name))


def _drop_orphans(kept: dict[tuple[int, int], InputSection]) -> None:
    """Discard sections whose associated section is not kept, transitively."""
    while True:
        gone = [key for key, section in kept.items() if (about := _about(key, section)) and about not in kept]
        if not gone:
            return
        for key in gone:
            del kept[key]


def _about(key: tuple[int, int], section: InputSection) -> tuple[int, int] | None:
    """The associated section of a section with SHF_LINK_ORDER; None for sh_link 0."""
    link = linked_section(section)
    return None if link is None else (key[0], link)


def linked_section(section: InputSection) -> int | None:
    """The index of the section in the same object that a section is about (sh_link); None for other sections."""
    link = section.file.sections[section.index].link
    ordered = section.flags & _LINK_ORDER or section.name.startswith(INDEX_TABLE)
    return link if ordered and link else None


# ---------------------------------------------------------------- order


def output_name(name: str) -> str:
    """The output section for an input section of that name."""
    found = _GATHERED_PREFIX.match(name)
    return found[1] if found else name


def _arrange(kept: Mapping[tuple[int, int], InputSection]) -> None:
    """Set the permissions and the sort key of every section."""
    outputs: dict[tuple[str, bool], list[InputSection]] = {}
    for section in kept.values():
        constructors = _constructor_order(section.name)
        thread_local = bool(section.flags & _TLS)
        if constructors and section.bits and not thread_local:  # even when the assembler made them read-only
            section.kind, section.order = RW, constructors
        else:
            outputs.setdefault((output_name(section.name), thread_local), []).append(section)
    for number, ((name, thread_local), parts) in enumerate(outputs.items()):
        kind = TLS if thread_local else _kind(parts)
        align = max(section.align for section in parts)
        for section in parts:
            section.kind, section.order, section.output_align = kind, (*_group(name, kind, parts), number), align
    _sort_by_what_they_are_about(kept)


def _kind(parts: Iterable[InputSection]) -> int:
    """An output section has the permissions of all its parts."""
    flags = 0
    bits = False
    for section in parts:
        flags |= section.flags
        bits |= section.bits
    if flags & _CODE:
        return RWX if flags & _WRITE else RX
    if not flags & _WRITE:
        return R
    return RW if bits else BSS


def _group(name: str, kind: int, parts: Sequence[InputSection]) -> tuple[int]:
    """The sort key among sections of equal permission."""
    if kind == TLS:
        return (0 if any(section.bits for section in parts) else 1,)
    if kind == RX:
        return (0 if name in CODE_FRAGMENTS else 1,)
    if kind == R:
        return (1 if name == INDEX_TABLE else 0,)
    return (LAST_GROUP,)


def _sort_by_what_they_are_about(kept: Mapping[tuple[int, int], InputSection]) -> None:
    """In an output section, sections with SHF_LINK_ORDER come last, in the order of their associated sections."""
    about = {key: link for key, section in kept.items() if (link := _about(key, section))}
    if not about:
        return
    for key in about:
        kept[key].order += (1,)
    for key, section in kept.items():
        if key not in about:
            section.order += (0,)
    place = {key: n for n, key in enumerate(sorted(kept, key=lambda key: (kept[key].kind, kept[key].order)))}
    for key, link in about.items():
        kept[key].order += (place[link],)


def _constructor_order(name: str) -> tuple[int, ...]:
    """The sort key of constructor sections: by kind, then ascending priority; () for other sections."""
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

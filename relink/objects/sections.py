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

import numpy as np

from relink.arrays import I64, Bools, indices_where, one_of
from relink.elf.constants import SHT_LOOS, SectionFlag, SectionType
from relink.elf.object_batch import ObjectBatch
from relink.errors import UnsupportedElf
from relink.objects.combined import (
    CODE_FRAGMENTS,
    CONSTRUCTORS,
    DESTRUCTORS,
    LAST_GROUP,
    LINK_ONCE,
    discarded_groups,
    groups_and_copies,
    once_only,
)
from relink.objects.input_sections import BSS, INDEX_TABLE, RW, RWX, RX, TLS, InputSections, R

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
_LAST_TYPE = int(SectionType.RELR)  #: of the general types
_LAST_PRIORITY = 65536
_PRIORITY_DIGITS = 9
_ZIPPED = ".zdebug_"
_RUN = (*CONSTRUCTORS, *DESTRUCTORS)
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


def kept_sections(batch: ObjectBatch) -> InputSections:
    """The sections in the image. Raises UnsupportedElf for one of an unknown type that is to be loaded, and
    ElfError for damaged groups.
    """
    kept = _parts(batch)
    for number, group, _ in discarded_groups(batch):
        kept[batch.first_section[number] + np.array(group.members, np.int64)] = False
    sizes = _refuse_unknown(batch, kept)
    _drop_copies(batch, kept)
    about = _about(batch)
    _drop_orphans(kept, about)
    sections = InputSections(batch, indices_where(kept))
    if sizes:
        numbers = sections.place[list(sizes)]
        sections.size[numbers[numbers >= 0]] = np.array(list(sizes.values()))[numbers >= 0]
    _arrange(sections)
    _sort_by_what_they_are_about(sections, about)
    return sections


def _parts(batch: ObjectBatch) -> Bools:
    """The sections to load, of an unknown type or not, without what gcc adds to .ctors and .dtors."""
    flags, type_ = batch.sections["flags"].astype(np.uint64), batch.sections["type"]
    kept: Bools = (flags & np.uint64(_ALLOC) != 0) & (flags & np.uint64(_EXCLUDE) == 0)
    for none in _NO_CONTENT:
        kept &= type_ != none
    for name in (".ctors", ".dtors"):
        for row in batch.sections_prefixed(name).tolist():
            exact = batch.section_names.text(row) == name
            if exact and _is_known(batch, row) and _CRT.search(batch.files[int(batch.section_file[row])].name):
                kept[row] = False
    return kept


def _is_known(batch: ObjectBatch, row: int) -> bool:
    type_, flags = int(batch.sections["type"][row]), int(batch.sections["flags"][row])
    return not (_LAST_TYPE < type_ < SHT_LOOS or flags & _NONCONFORMING)


def _refuse_unknown(batch: ObjectBatch, kept: Bools) -> dict[int, int]:
    """Raise UnsupportedElf for the first section to load whose type is unknown. Returns the sizes of compressed
    sections among `kept`.
    """
    type_, flags = batch.sections["type"], batch.sections["flags"].astype(np.uint64)
    unknown = (type_ > _LAST_TYPE) & (type_ < SHT_LOOS)
    odd = unknown | (flags & np.uint64(_NONCONFORMING) != 0)
    zipped = batch.sections_prefixed(_ZIPPED)
    if not len(zipped) and not odd.any():
        return {}
    odd &= (flags & np.uint64(_ALLOC) != 0) & (flags & np.uint64(_EXCLUDE) == 0) & ~one_of(type_, _NO_CONTENT)
    sizes = {}
    for row in sorted({*indices_where(odd).tolist(), *zipped[kept[zipped]].tolist()}):
        number = int(batch.section_file[row])
        file, index = batch.files[number], row - int(batch.first_section[number])
        section = file.sections[index]
        if odd[row]:
            problem = f"section {index} ({section.name}) has the unknown type {section.type:#x}"
            why = "" if unknown[row] else ", and the flag SHF_OS_NONCONFORMING: it needs special processing"
            raise UnsupportedElf(file.name, problem + why)
        sizes[row] = file.section_size(index)
    return sizes


def _drop_copies(batch: ObjectBatch, kept: Bools) -> None:
    """Discard .gnu.linkonce sections of which an earlier object has a copy, or a COMDAT group of their name."""
    once: set[str] = set()  # the sections and groups of which copies are dropped
    copies = batch.sections_prefixed(LINK_ONCE)
    if not len(copies):
        return
    for number in groups_and_copies(batch):
        for row in copies[batch.section_file[copies] == number].tolist():
            section = batch.section_names.text(row)
            if kept[row] and (name := once_only(section)) is not None:
                if once.intersection((name, section)):
                    kept[row] = False
                else:
                    once.add(section)
        once.update(group.signature for group in batch.files[number].groups if group.comdat)


def _about(batch: ObjectBatch) -> I64:
    """The row of the associated section of each section with SHF_LINK_ORDER; -1 for others and for sh_link 0, the
    number of all sections for one that there is not.
    """
    about = np.full(len(batch.sections), -1, np.int64)
    link, flags = batch.sections["link"].astype(np.int64), batch.sections["flags"].astype(np.uint64)
    ordered = flags & np.uint64(_LINK_ORDER) != 0
    ordered[batch.sections_prefixed(INDEX_TABLE)] = True
    rows = indices_where(ordered & (link != 0))
    if not len(rows):
        return about
    file = batch.section_file[rows]
    there = link[rows] < np.diff(batch.first_section)[file]
    about[rows] = np.where(there, batch.first_section[file] + link[rows], len(about))
    return about


def _drop_orphans(kept: Bools, about: I64) -> None:
    """Discard sections whose associated section is not kept, transitively."""
    rows = indices_where(about >= 0)
    while len(rows):
        rows = rows[kept[rows]]
        gone = rows[~np.append(kept, False)[about[rows]]]
        if not len(gone):
            return
        kept[gone] = False


# ---------------------------------------------------------------- order


def output_name(name: str) -> str:
    """The output section for an input section of that name."""
    found = _GATHERED_PREFIX.match(name)
    return found[1] if found else name


def _arrange(sections: InputSections) -> None:
    """Set the permissions and the sort key of every section."""
    thread_local = sections.flags & np.uint64(_TLS) != 0
    runs = np.zeros(len(sections.texts), np.bool_)
    order = np.zeros((len(runs), 3), np.int64)
    for number, name in enumerate(sections.texts):
        if name.startswith(_RUN) and (found := _constructor_order(name)):
            runs[number], order[number] = True, found
    # Constructors can be written even when the assembler made them read-only.
    mine = runs[sections.name_number] & sections.bits & ~thread_local
    sections.kind[mine], sections.order[mine, :3] = RW, order[sections.name_number[mine]]
    _gather(sections, indices_where(~mine), thread_local)


def _gather(sections: InputSections, rows: I64, thread_local: Bools) -> None:
    """Set the permissions and the sort key of the sections `rows`, which are not constructors."""
    numbers: dict[str, int] = {}
    output = np.array([numbers.setdefault(output_name(name), len(numbers)) for name in sections.texts], np.int64)
    part = 2 * output[sections.name_number[rows]] + thread_local[rows]
    count, flags = 2 * len(numbers), sections.flags[rows]
    first = np.full(count, len(rows))
    first[part[::-1]] = np.arange(len(rows))[::-1]
    code, write, bits = (
        np.bincount(part, which, count) > 0
        for which in (flags & np.uint64(_CODE) != 0, flags & np.uint64(_WRITE) != 0, sections.bits[rows])
    )
    align = np.ones(count, np.int64)
    np.maximum.at(align, part, sections.align[rows])
    # An output section has the permissions of all its parts.
    kind = np.where(code, np.where(write, RWX, RX), np.where(write, np.where(bits, RW, BSS), R))
    kind[1::2] = TLS
    columns = zip([name for name in numbers for _ in range(2)], kind.tolist(), bits.tolist(), strict=True)
    group = np.array([_group(*column) for column in columns], np.int64)
    place = np.empty(count, np.int64)
    place[np.argsort(first)] = np.arange(count)
    sections.kind[rows], sections.output_align[rows] = kind[part], align[part]
    sections.order[rows, 0], sections.order[rows, 1] = group[part], place[part]


def _group(name: str, kind: int, bits: bool) -> int:
    """The sort key of an output section among those of equal permission."""
    if kind == TLS:
        return 0 if bits else 1
    if kind == RX:
        return 0 if name in CODE_FRAGMENTS else 1
    if kind == R:
        return 1 if name == INDEX_TABLE else 0
    return LAST_GROUP


def _sort_by_what_they_are_about(sections: InputSections, about: I64) -> None:
    """In an output section, sections with SHF_LINK_ORDER come last, in the order of their associated sections."""
    about = about[sections.row]
    rows = indices_where(about >= 0)
    if not len(rows):
        return
    sections.order[rows, 3] = 1
    place = np.empty(len(sections), np.int64)
    place[sections.sorted()] = np.arange(len(sections))
    sections.order[rows, 4] = place[sections.place[about[rows]]]


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

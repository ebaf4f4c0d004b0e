"""The order of a small object's sections in the image, kept for other objects with the same section headers.

Fragments of one compiler have the same sections again and again, of other sizes. Which of them are loaded, their
order in the image (that of `relink.objects.sections`), and the checks of their headers are in a `SectionPlan`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, reduce
from itertools import chain
from operator import or_
from typing import TypeAlias

from relink.arch import Architecture
from relink.elf.constants import PAGE, SectionFlag, SectionType
from relink.elf.small_object import ENTRIES, SYMBOLS, SectionColumns, SmallSections, Unusual, columns_of
from relink.objects.input_sections import BSS, INDEX_TABLE, RW, RWX, RX, R
from relink.objects.layout import SEGMENT_FLAGS
from relink.objects.sections import output_name
from relink.records.tuples import NamedTuple

_PROGBITS, _SYMTAB, _STRTAB, _RELA, _NOTE, _NOBITS, _REL, _INIT_ARRAY, _FINI_ARRAY, _GROUP = (
    int(type_)
    for type_ in (
        SectionType.PROGBITS,
        SectionType.SYMTAB,
        SectionType.STRTAB,
        SectionType.RELA,
        SectionType.NOTE,
        SectionType.NOBITS,
        SectionType.REL,
        SectionType.INIT_ARRAY,
        SectionType.FINI_ARRAY,
        SectionType.GROUP,
    )
)
_WRITE, _ALLOC, _CODE, _INFO_LINK, _LINK_ORDER, _IN_GROUP = (
    int(flag)
    for flag in (
        SectionFlag.WRITE,
        SectionFlag.ALLOC,
        SectionFlag.EXECINSTR,
        SectionFlag.INFO_LINK,
        SectionFlag.LINK_ORDER,
        SectionFlag.GROUP,
    )
)
#: Flags of plain sections: those that are loaded, and others. (SHF_WRITE, EXECINSTR, MERGE, STRINGS, GROUP,
#: GNU_RETAIN; INFO_LINK; EXCLUDE.)
_LOADED_FLAGS, _OTHER_FLAGS = 0x20_0237, 0x8000_0270
#: SHT_LLVM_ADDRSIG, and the build attributes of Arm and RISC-V.
_OTHER_TYPES = frozenset(
    {_PROGBITS, _SYMTAB, _STRTAB, _RELA, _REL, _NOTE, _NOBITS, _GROUP, 0x6FFF4C03, 0x70000003}
)
_LOADED_TYPES = frozenset({_PROGBITS, _NOTE, _NOBITS})
#: e_machine -> the type of unwind tables (SHT_X86_64_UNWIND, SHT_ARM_EXIDX), which are like PROGBITS.
_ARM = 40
_UNWIND: Mapping[int, int] = {62: 0x70000001, _ARM: 0x70000001}
#: The constructors and destructors that have no priority: name -> type.
_ARRAYS = {".init_array": _INIT_ARRAY, ".fini_array": _FINI_ARRAY}
#: Names of sections with rules of their own: constructors, parts of one function, compressed ones.
_ODD_NAMES = re.compile(r"\.(?:zdebug_|[cd]tors|preinit|init|fini|jcr|note\.GNU-stack)")

_MEMBER = 4  #: bytes of a member's number in a group

#: Sections in the order of the image: (number, alignment).
Parts: TypeAlias = tuple[tuple[int, int], ...]


class SectionPlan(NamedTuple):
    """The sections by their numbers."""

    strings: int  #: the names of the symbols
    kinds: tuple[tuple[int, Parts], ...]  #: each kind of section, in the order of the image, and its sections
    loaded: frozenset[int]
    stored: tuple[int, ...]  #: those that are loaded from bytes in the file
    filled: tuple[int, ...]  #: of these, those that are more than notes
    code: tuple[int, ...]
    tables: tuple[tuple[int, int], ...]  #: (relocation section, the loaded section that it patches)
    groups: tuple[int, ...]
    attributes: int  #: the build attributes, or 0
    constructors: tuple[int, ...]
    destructors: tuple[int, ...]


def plan_of(sections: SmallSections, arch: Architecture) -> SectionPlan:
    """The plan for an object's sections. Raises Unusual for other than plain ones."""
    alike, bits, count = sections.alike, arch.bits, len(sections.sizes)
    outputs = tuple([_output(name) for name in sections.names(_loaded(alike, bits, count))])
    return _planned((arch.machine, bits, arch.attributes_section), alike, count, outputs)


@lru_cache(maxsize=256)
def _loaded(alike: int, bits: int, count: int) -> tuple[int, ...]:
    """The numbers of the sections that are loaded, of `count`."""
    return tuple(number for number, each in enumerate(columns_of(alike, bits, count).flags) if each & _ALLOC)


@lru_cache(maxsize=1 << 12)
def _output(name: bytes) -> str:
    """The output section of a section that is loaded."""
    text = name.decode("utf-8", "surrogateescape")
    output = output_name(text)
    if (_ODD_NAMES.match(text) and text not in _ARRAYS) or (
        text.startswith(INDEX_TABLE) and output != INDEX_TABLE
    ):
        raise Unusual
    return output


class _Row(NamedTuple):
    """A section that is loaded."""

    number: int
    output: str
    type: int
    flags: int
    align: int
    about: int  #: the number of the section that it is about (SHF_LINK_ORDER), or 0


@lru_cache(maxsize=256)
def _planned(target: tuple[int, int, int], alike: int, count: int, outputs: Sequence[str]) -> SectionPlan:
    """The plan for `count` sections of a target (e_machine, the class, and the type of build attributes);
    `outputs` are the output sections of those that are loaded.
    """
    machine, bits, attributes = target
    columns = columns_of(alike, bits, count)
    types, links, entry_sizes = columns.types, columns.links, columns.entry_sizes
    rows = _loaded_rows(columns, outputs, machine)
    _check_about(rows)
    symtabs, groups = _of_type(types, _SYMTAB), _of_type(types, _GROUP)
    filled = tuple(row.number for row in rows if row.type not in (_NOBITS, _NOTE))
    if len(symtabs) != 1 or not filled:
        raise Unusual
    strings = links[symtabs[0]]
    if not 0 < strings < count or types[strings] != _STRTAB or entry_sizes[symtabs[0]] != SYMBOLS[bits].size:
        raise Unusual
    if any(links[number] != symtabs[0] or entry_sizes[number] != _MEMBER for number in groups):
        raise Unusual
    stored = tuple(row.number for row in rows if row.type != _NOBITS)
    tables = _relocation_tables(columns, bits, symtabs[0], stored)
    code = tuple(row.number for row in rows if row.flags & _CODE)
    build = _of_type(types, attributes)[0] if attributes and attributes in types else 0
    arrays = _of_type(types, _INIT_ARRAY), _of_type(types, _FINI_ARRAY)
    loaded = frozenset(row.number for row in rows)
    return SectionPlan(strings, _arranged(rows), loaded, stored, filled, code, tables, groups, build, *arrays)


def _loaded_rows(columns: SectionColumns, outputs: Sequence[str], machine: int) -> list[_Row]:
    """The sections that are loaded. Raises Unusual for other than plain ones, among all sections."""
    types, flags, links, infos, aligns, _ = columns
    if any(align & (align - 1) or align > PAGE for align in aligns):
        raise Unusual
    rows, left = list[_Row](), iter(outputs)
    for number, (type_, each) in enumerate(zip(types, flags, strict=True)):
        if each & _ALLOC:
            row = _Row(number, next(left), type_, each, aligns[number] or 1, links[number])
            rows.append(_checked(row, machine))
        elif number:
            about_none = each & _INFO_LINK and (infos[number] >= len(types) or type_ == _SYMTAB)
            if each & ~_OTHER_FLAGS or type_ not in _OTHER_TYPES or about_none:
                raise Unusual
    return rows


def _relocation_tables(
    columns: SectionColumns, bits: int, symtab: int, stored: tuple[int, ...]
) -> tuple[tuple[int, int], ...]:
    """(relocation section, the loaded section that it patches). Raises Unusual unless each such section has bytes
    in the file and one table, and all tables have one format.
    """
    types, flags, links, infos, _, entry_sizes = columns
    tables = []
    for number in _of_type(types, _REL, _RELA):
        if not 0 < infos[number] < len(types) or infos[number] == number:
            raise Unusual
        if flags[infos[number]] & _ALLOC:
            if entry_sizes[number] != ENTRIES[bits, types[number]].size or links[number] != symtab:
                raise Unusual
            tables.append((number, infos[number]))
    targets = {target for _, target in tables}
    if len(targets) < len(tables) or not targets.issubset(stored) or len({types[each] for each, _ in tables}) > 1:
        raise Unusual
    return tuple(tables)


def _of_type(types: Sequence[int], *wanted: int) -> tuple[int, ...]:
    return tuple(number for number, type_ in enumerate(types) if type_ in wanted)


def _checked(row: _Row, machine: int) -> _Row:
    """A section that is loaded. Raises Unusual for other than plain ones, unwind tables and lists of functions."""
    if row.output in _ARRAYS:
        if row.type != _ARRAYS[row.output] or row.flags & ~_IN_GROUP != _ALLOC | _WRITE:
            raise Unusual
    elif row.output == INDEX_TABLE:
        if machine != _ARM or row.type != _UNWIND[_ARM] or row.flags & ~_IN_GROUP != _ALLOC | _LINK_ORDER:
            raise Unusual
        return row
    elif row.flags & ~_LOADED_FLAGS or not (row.type in _LOADED_TYPES or row.type == _UNWIND.get(machine)):
        raise Unusual
    return row._replace(about=0)


def _check_about(rows: Sequence[_Row]) -> None:
    """Raise Unusual where an index table of Arm is not about code."""
    code = {row.number for row in rows if row.flags & _CODE}
    if any(row.output == INDEX_TABLE and row.about not in code for row in rows):
        raise Unusual


def _arranged(rows: Sequence[_Row]) -> tuple[tuple[int, Parts], ...]:
    """Each kind of section, in the order of the image, and its sections."""
    outputs: dict[str, list[_Row]] = {}
    for row in rows:
        outputs.setdefault(row.output, []).append(row)
    kinds: dict[int, list[list[_Row]]] = {kind: [] for kind in SEGMENT_FLAGS}
    first = [outputs.pop(name) for name in _ARRAYS if name in outputs]
    tables = outputs.pop(INDEX_TABLE, None)
    for parts in outputs.values():
        kinds[_kind_of(parts)].append(parts)
    kinds[RW][:0] = first  # before other data
    order = chain.from_iterable(chain.from_iterable(kinds.values()))
    if tables:  # behind other constants
        place = {row.number: at for at, row in enumerate(order)}
        kinds[R].append(sorted(tables, key=lambda row: place[row.about]))
    always = (R, RX, RW, BSS)  # with the GOT, stubs, and the edges of pages
    return tuple((kind, tuple(_placed(kinds[kind]))) for kind in kinds if kind in always or kinds[kind])


def _kind_of(parts: Sequence[_Row]) -> int:
    """The kind of an output section, which has the permissions of all its parts."""
    flags = reduce(or_, (row.flags for row in parts))
    if flags & _CODE:
        return RWX if flags & _WRITE else RX
    if not flags & _WRITE:
        return R
    return RW if any(row.type != _NOBITS for row in parts) else BSS


def _placed(outputs: Iterable[Sequence[_Row]]) -> Iterator[tuple[int, int]]:
    """The parts of output sections, each of which has the largest alignment of its parts."""
    for parts in outputs:
        most = 1 if parts[0].output in _ARRAYS else max(row.align for row in parts)
        for number, row in enumerate(parts):
            yield row.number, row.align if number else max(most, row.align)

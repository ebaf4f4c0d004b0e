"""Removal of sections that nothing refers to (--gc-sections of linkers).

Kept are sections that a script keeps, the entry, symbols that are undefined from the start (-u), constructors and
destructors, `.eh_frame`, sections with SHF_GNU_RETAIN, and whatever these refer to. A reference to `__start_x`
keeps the sections named x. Tables about code (.ARM.exidx, .eh_frame) do not keep that code; an index is kept with
the code it is about.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from relink.arrays import distinct
from relink.elf.constants import SectionFlag, SymbolBind
from relink.errors import LinkError
from relink.objects.combined import CODE_FRAGMENTS, CONSTRUCTORS, DESTRUCTORS, groups_and_copies
from relink.objects.input_sections import InputSections
from relink.objects.relocation_tables import InputTables
from relink.objects.script import LinkScript
from relink.objects.script_errors import ScriptError
from relink.objects.section_patterns import SectionPatterns
from relink.objects.symbols import Symbols

_RETAIN, _CODE = 1 << 21, int(SectionFlag.EXECINSTR)  # SHF_GNU_RETAIN
_FRAMES = ".eh_frame"
_ALWAYS = (*CONSTRUCTORS, *DESTRUCTORS, *CODE_FRAGMENTS, ".jcr", _FRAMES)
_EDGE = ("__start_", "__stop_")


def live_sections(
    script: LinkScript, symbols: Symbols, tables: InputTables, undefined: Iterable[str]
) -> InputSections:
    """The sections to keep. Raises LinkError without anything to start from."""
    sections = symbols.sections
    references = _references(symbols, tables)
    live = np.zeros(len(sections), np.bool_)
    pending = _roots(script, symbols, undefined)
    if not pending:
        raise ScriptError(symbols.name, "gc: no entry, kept section or undefined symbol to start from")
    while pending:
        number = pending.pop()
        if not live[number]:
            live[number] = True
            pending += references[number]
    return sections.only(live)


def _roots(script: LinkScript, symbols: Symbols, undefined: Iterable[str]) -> list[int]:
    """The sections to start from, by their places among all."""
    kept = [pattern for rule in script.outputs if rule.keep for group in rule.patterns for pattern in group]
    patterns = SectionPatterns((*script.keep, *kept))
    found = [
        number
        for number, section in enumerate(symbols.sections)
        if section.flags & _RETAIN or section.name.startswith(_ALWAYS) or patterns.first(section) is not None
    ]
    for name in (*undefined, *([script.entry] if script.entry else ())):
        row = symbols.find(name)
        if row is not None and symbols.kept[row] >= 0:
            found.append(int(symbols.kept[row]))
    if script.entry is not None and symbols.find(script.entry) is None:
        raise LinkError(symbols.name, f"the script's entry {script.entry} is not defined")
    return found


def _references(symbols: Symbols, tables: InputTables) -> list[list[int]]:
    """The sections that each section keeps."""
    sections, batch = symbols.sections, symbols.batch
    place = sections.place
    references: list[list[int]] = [[] for _ in sections]
    about = np.full(len(sections) + 1, -1, np.int64)  # the section that a section is about
    for number, section in enumerate(sections):
        linked = section.linked
        if linked is not None and linked < len(section.file.sections):
            linked = int(place[batch.first_section[sections.file[number]] + linked])
            if linked >= 0:
                about[number] = linked
                references[linked].append(number)
    code = np.append(sections.flags & np.uint64(_CODE) != 0, False)
    edges = _edges(symbols)
    for table in map(tables.one, range(len(tables))):
        number = table.target.number
        rows = distinct(table.symbol)
        targets = symbols.kept[rows]
        kept = (targets >= 0) & (targets != about[number])
        if table.target.name.startswith(_FRAMES):  # it only describes the code that it refers to
            kept &= ~(code[targets] & (symbols.bind[rows] == SymbolBind.LOCAL))
        references[number] += distinct(targets[kept]).tolist()
        for row in edges.keys() & set(rows.tolist()) if edges else ():
            references[number] += edges[row]
    # Members of a group are kept together (gABI, "Section Groups").
    for number in groups_and_copies(batch):
        for group in batch.files[number].groups:
            members = place[batch.first_section[number] + np.array(group.members, np.int64)]
            members = members[members >= 0].tolist()
            for one, other in zip(members, [*members[1:], *members[:1]], strict=True):
                references[one].append(other)
    return references


def _edges(symbols: Symbols) -> dict[int, list[int]]:
    """The sections named x of each row of `__start_x` and `__stop_x`."""
    named: defaultdict[str, list[int]] = defaultdict(list)
    for number, section in enumerate(symbols.sections):
        named[section.name].append(number)
    rows = {row: name for name, row in symbols.names.all() if name.startswith(_EDGE)}
    return {row: named[name.removeprefix("__start_").removeprefix("__stop_")] for row, name in rows.items()}

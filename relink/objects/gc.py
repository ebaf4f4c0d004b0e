"""Removal of sections that nothing refers to (--gc-sections of linkers).

Kept are sections that a script keeps, the entry, symbols that are undefined from the start (-u), constructors and
destructors, sections with SHF_GNU_RETAIN, and whatever these refer to. A reference to `__start_x` keeps the
sections named x. Tables about code (.ARM.exidx, .eh_frame) do not keep that code; an index is kept with the code
it is about.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np

from relink.elf.constants import SectionFlag, SymbolBind
from relink.errors import LinkError
from relink.objects.combined import CODE_FRAGMENTS, CONSTRUCTORS, DESTRUCTORS, InputSection
from relink.objects.placed_outputs import is_meant
from relink.objects.relocation_tables import InputTables
from relink.objects.script import LinkScript
from relink.objects.script_errors import ScriptError
from relink.objects.sections import linked_section
from relink.objects.symbols import Symbols

_RETAIN, _CODE = 1 << 21, int(SectionFlag.EXECINSTR)  # SHF_GNU_RETAIN
_FRAMES = ".eh_frame"
_ALWAYS = (*CONSTRUCTORS, *DESTRUCTORS, *CODE_FRAGMENTS, ".jcr")
_EDGE = ("__start_", "__stop_")

#: A section: the number of its object and its index there.
_Key = tuple[int, int]


def live_sections(
    script: LinkScript,
    symbols: Symbols,
    tables: InputTables,
    sections: Mapping[_Key, InputSection],
    undefined: Iterable[str],
) -> dict[_Key, InputSection]:
    """The sections to keep. Raises LinkError without anything to start from."""
    references = _references(symbols, tables, sections)
    live: set[_Key] = set()
    pending = _roots(script, symbols, sections, undefined)
    if not pending:
        raise ScriptError(symbols.name, "gc: no entry, kept section or undefined symbol to start from")
    while pending:
        key = pending.pop()
        if key not in live:
            live.add(key)
            pending += references[key]
    return {key: section for key, section in sections.items() if key in live}


def _roots(
    script: LinkScript, symbols: Symbols, sections: Mapping[_Key, InputSection], undefined: Iterable[str]
) -> list[_Key]:
    kept = [pattern for rule in script.outputs if rule.keep for group in rule.patterns for pattern in group]
    found = [
        key
        for key, section in sections.items()
        if section.flags & _RETAIN or section.name.startswith(_ALWAYS) or is_meant((*script.keep, *kept), section)
    ]
    for name in (*undefined, *([script.entry] if script.entry else ())):
        row = symbols.chosen.get(name)
        if row is not None and (key := _section_of(symbols, row)) in sections:
            found.append(key)
    if script.entry is not None and script.entry not in symbols.chosen:
        raise LinkError(symbols.name, f"the script's entry {script.entry} is not defined")
    return found


def _section_of(symbols: Symbols, row: int) -> _Key:
    return int(symbols.file[row]), int(symbols.section[row])


def _references(
    symbols: Symbols, tables: InputTables, sections: Mapping[_Key, InputSection]
) -> defaultdict[_Key, list[_Key]]:
    """The sections that each section keeps."""
    key_of = {id(section): key for key, section in sections.items()}
    named: defaultdict[str, list[_Key]] = defaultdict(list)
    references: defaultdict[_Key, list[_Key]] = defaultdict(list)
    for key, section in sections.items():
        named[section.name].append(key)
        about = linked_section(section)
        if about is not None:
            references[key[0], about].append(key)
    edges = {row: name.split("_", 4)[-1] for name, row in symbols.chosen.items() if name.startswith(_EDGE)}
    for table in tables.tables:
        mine = references[key_of[id(table.target)]]
        for row in np.unique(table.symbol).tolist():
            key = _section_of(symbols, row)
            if key in sections and not _only_describes(table.target, sections[key], symbols, row):
                mine.append(key)
            elif row in edges:
                mine += named[edges[row]]
    # Members of a group are kept together (gABI, "Section Groups").
    for number, file in enumerate(symbols.files):
        for group in file.groups:
            keys = [(number, index) for index in group.members if (number, index) in sections]
            for one, other in zip(keys, [*keys[1:], *keys[:1]], strict=True):
                references[one].append(other)
    return references


def _only_describes(table: InputSection, target: InputSection, symbols: Symbols, row: int) -> bool:
    """Whether a reference is of a table to the code that it is about."""
    if table.name.startswith(_FRAMES) and target.flags & _CODE:
        return bool(symbols.bind[row] == SymbolBind.LOCAL)
    about = linked_section(table)
    return about == target.index and table.file is target.file

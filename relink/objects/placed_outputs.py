"""The output sections of a link script with the input sections that go there (`relink.objects.script`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import translate
from functools import lru_cache

import numpy as np

from relink.elf.constants import SectionFlag
from relink.objects.combined import CONSTRUCTORS, DESTRUCTORS
from relink.objects.input_sections import (
    BSS,
    INDEX_TABLE,
    RW,
    RWX,
    RX,
    TLS,
    InputSection,
    InputSections,
    R,
)
from relink.objects.script import LinkScript, MemoryRegion, OutputSection, named_output
from relink.objects.script_errors import ScriptError, UnplacedSection
from relink.objects.sections import output_name
from relink.records import dataclass, field

_WRITE, _CODE, _TLS = int(SectionFlag.WRITE), int(SectionFlag.EXECINSTR), int(SectionFlag.TLS)
_ALLOC = int(SectionFlag.ALLOC)
_WITH_FILE = re.compile(r"(.*)\((.+)\)")
#: The kinds after whose output sections an orphan goes, by its kind: the first that there are.
_LIKE = {R: (R, RX, RWX), RX: (RX, RWX), RWX: (RWX, RX, RW), RW: (RW, BSS), BSS: (BSS, RW), TLS: (TLS, RW, BSS)}
_COMMON = "COMMON"


@dataclass(slots=True, eq=False)
class PlacedOutput:
    """One output section during layout: its rule, its input sections in order, and what the linker adds to it."""

    rule: OutputSection
    kind: int = R
    sections: list[InputSection] = field(default_factory=list)
    has_got: bool = False
    has_commons: bool = False
    has_tables: bool = False  #: the tables of copies and of zeroed memory
    has_stubs: bool = False
    address: int = 0
    load_address: int = 0
    size: int = 0
    align: int = 1
    bits: bool = False  #: has bytes to load

    @property
    def name(self) -> str:
        return self.rule.name

    @property
    def region(self) -> MemoryRegion:
        return self.rule.region

    @property
    def end(self) -> int:
        return self.address + self.size

    @property
    def flags(self) -> int:
        """Its sh_flags: those of all of its sections; SHF_WRITE only in a region that can be written."""
        flags = _ALLOC | (_CODE if self.kind in (RX, RWX) else 0) | (_TLS if self.kind == TLS else 0)
        writable = self.kind in (RW, RWX, BSS, TLS) and "w" in self.region.attributes
        return flags | (_WRITE if writable else 0)


# ---------------------------------------------------------------- patterns


@lru_cache(maxsize=1024)
def _matcher(pattern: str) -> Callable[[str, str], bool]:
    """Whether a section (file name, section name) is meant by a pattern."""
    found = _WITH_FILE.fullmatch(pattern)
    section = re.compile(translate(found[2] if found else pattern))
    if found is None:
        return lambda file, name: section.match(name) is not None
    file_name = re.compile(translate(found[1].strip() or "*"))

    def matches(file: str, name: str) -> bool:
        return section.match(name) is not None and any(
            file_name.match(text) for text in (file, file.rpartition("/")[2])
        )

    return matches


def is_meant(patterns: Iterable[str], section: InputSection) -> bool:
    """Whether one of the patterns selects an input section."""
    return any(_matcher(pattern)(section.file.name, section.name) for pattern in patterns)


def without_discarded(sections: InputSections, script: LinkScript) -> InputSections:
    """The sections that the script does not discard."""
    return sections.only(np.array([not is_meant(script.discard, section) for section in sections], np.bool_))


# ---------------------------------------------------------------- who goes where


def assign(image: str, script: LinkScript, sections: Sequence[InputSection]) -> list[PlacedOutput]:
    """The output sections with their input sections. Raises UnplacedSection, ScriptError."""
    outputs = [PlacedOutput(rule) for rule in script.outputs]
    order: dict[int, tuple[int, ...]] = {}
    orphans = []
    chosen = _chooser(outputs)
    for number, section in enumerate(sections):
        found = chosen(section)
        if found is None:
            orphans.append(section)
        else:
            output, group = found
            order[id(section)] = (group, *_constructor_key(section), number)
            output.sections.append(section)
    for output in outputs:
        output.sections.sort(key=lambda section: order[id(section)])
        output.kind = _kind(output)
    for section in orphans:
        _place_orphan(image, script, outputs, section)
    for output in outputs:
        _check_unique(image, output)
        _check_block(image, output)
        if output.name == INDEX_TABLE or any(s.name.startswith(INDEX_TABLE) for s in output.sections):
            _sort_index(output, outputs)
    _choose_additions(outputs)
    return outputs


def _chooser(outputs: Sequence[PlacedOutput]) -> Callable[[InputSection], tuple[PlacedOutput, int] | None]:
    """Finds the output section of an input section, and which group of its patterns; None for an orphan."""
    rules = [(o, n, patterns) for o in outputs for n, patterns in enumerate(o.rule.patterns)]
    by_name: dict[str, tuple[PlacedOutput, int] | None] = {}
    names_only = not any("(" in pattern for _, _, patterns in rules for pattern in patterns)

    def chosen(section: InputSection) -> tuple[PlacedOutput, int] | None:
        if not names_only or section.name not in by_name:
            found = next(((o, n) for o, n, patterns in rules if is_meant(patterns, section)), None)
            by_name[section.name] = found
        return by_name[section.name]

    return chosen


def _constructor_key(section: InputSection) -> tuple[int, ...]:
    """Constructors run by priority, whatever object they are in (GNU ld's SORT_BY_INIT_PRIORITY)."""
    return section.order if section.name.startswith((*CONSTRUCTORS, *DESTRUCTORS)) else ()


def _kind(output: PlacedOutput) -> int:
    flags = bits = 0
    for section in output.sections:
        flags, bits = flags | section.flags, bits | section.bits
    if flags & _TLS:
        return TLS
    if flags & _CODE:
        return RWX if flags & _WRITE else RX
    if flags & _WRITE:
        return RW if bits and output.rule.load else BSS
    if not output.sections and "w" in output.region.attributes and "x" not in output.region.attributes:
        return BSS if output.rule.load_in is None else RW
    return R


def _place_orphan(image: str, script: LinkScript, outputs: list[PlacedOutput], section: InputSection) -> None:
    """Put a section that no pattern matches into an output section of its own name, after those of its kind."""
    where = section.name, section.file.name, section.size
    if script.orphans == "error":
        raise UnplacedSection(image, *where, "is matched by no pattern of the script")
    rule = named_output(output_name(section.name), OutputSection(script.regions[0]))
    alone = PlacedOutput(rule, sections=[section])
    alone.kind = _kind(alone)
    same = next((o for o in outputs if o.name == alone.name), None)
    if same is None:
        kinds = _LIKE[alone.kind]
        like = next((o for kind in kinds for o in reversed(outputs) if o.kind == kind and o.sections), None)
        like = like or next((o for kind in kinds for o in reversed(outputs) if o.kind == kind), None)
        if like is None:
            raise UnplacedSection(image, *where, "has no region: no output section of the script is of its kind")
        stored = like.rule.load_in if section.bits else None
        alone.rule = named_output(alone.name, OutputSection(like.region, stored))
        outputs.insert(outputs.index(like) + 1, alone)
        return
    same.sections.append(section)
    same.kind = _kind(same)
    if section.order and same.name.startswith((*CONSTRUCTORS, *DESTRUCTORS)):
        same.sections.sort(key=lambda s: s.order)


def _check_unique(image: str, output: PlacedOutput) -> None:
    filled = [section for section in output.sections if section.size]
    if output.rule.unique and len(filled) > 1:
        one, other = ((section.name, section.file.name) for section in filled[:2])
        problem = (
            f"{output.name} would have {one[0]} of {one[1]} and {other[0]} of {other[1]}: only one may be there"
        )
        raise ScriptError(image, problem)


def _check_block(image: str, output: PlacedOutput) -> None:
    other = next((s for s in output.sections if not s.flags & _TLS), None)
    if output.kind == TLS and other is not None:
        problem = f"{output.name} would have thread-local sections and {other.name} of {other.file.name}"
        raise ScriptError(image, problem)


def _sort_index(output: PlacedOutput, outputs: Sequence[PlacedOutput]) -> None:
    """Order the entries of the exception index by the addresses of the code they are about."""
    place = {
        (id(section.file), section.index): (other.region.origin, number, position)
        for number, other in enumerate(outputs)
        for position, section in enumerate(other.sections)
    }
    last = (1 << 64, 0, 0)
    output.sections.sort(key=lambda s: place.get((id(s.file), s.linked or -1), last))


def _choose_additions(outputs: list[PlacedOutput]) -> None:
    """Choose the output section that gets common symbols; add those for the GOT and the tables of copies."""
    commons = next((o for o in outputs if any(_COMMON in group for group in o.rule.patterns)), None)
    commons = commons or next((o for o in reversed(outputs) if o.kind == BSS), None)
    commons = commons or next((o for o in reversed(outputs) if o.kind == RW), None)
    if commons is not None:
        commons.has_commons = True
    for name in (".got", ".copy_table"):
        chosen = next((o for o in outputs if o.name == name), None)
        if chosen is None:
            chosen = _after_constants(name, outputs)
        chosen.has_got, chosen.has_tables = name == ".got", name == ".copy_table"


def _after_constants(name: str, outputs: list[PlacedOutput]) -> PlacedOutput:
    """An output section of the linker's own, at the end of the region that has the constants."""
    read_only = [o for o in outputs if o.kind in (R, RX) and o.sections and o.rule.load_in is None]
    region = (read_only or outputs)[0].region
    last = next(n for n, o in reversed(list(enumerate(outputs))) if o.region is region)
    added = PlacedOutput(named_output(name, OutputSection(region)))
    outputs.insert(last + 1, added)
    return added

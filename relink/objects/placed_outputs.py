"""The output sections of a link script with the input sections that go there (`relink.objects.script`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
from relink.objects.section_patterns import SectionPatterns
from relink.objects.sections import output_name
from relink.records import dataclass, field

_WRITE, _CODE, _TLS = int(SectionFlag.WRITE), int(SectionFlag.EXECINSTR), int(SectionFlag.TLS)
_ALLOC = int(SectionFlag.ALLOC)
#: The kinds after whose output sections an orphan goes, by its kind: the first that there are.
_LIKE = {R: (R, RX, RWX), RX: (RX, RWX), RWX: (RWX, RX, RW), RW: (RW, BSS), BSS: (BSS, RW), TLS: (TLS, RW, BSS)}
_COMMON = "COMMON"


@dataclass(slots=True, eq=False)
class PlacedOutput:
    """One output section during layout: its rule, its input sections in order, and what the linker adds to it."""

    rule: OutputSection
    kind: int = R
    sections: list[InputSection] = field(default_factory=list)
    together: int = 0  #: the flags of its sections, each of any
    any_bits: bool = False  #: whether any of its sections has bytes
    has_got: bool = False
    has_commons: bool = False
    has_tables: bool = False  #: the tables of copies and of zeroed memory
    has_stubs: bool = False
    address: int = 0
    load_address: int = 0
    size: int = 0
    align: int = 1
    bits: bool = False  #: has bytes to load

    def add(self, section: InputSection) -> None:
        """Add an input section after the others."""
        self.sections.append(section)
        self.together |= section.flags
        self.any_bits |= bool(section.bits)

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
        """sh_flags: those of all input sections; SHF_WRITE only in a region that can be written."""
        flags = _ALLOC | (_CODE if self.kind in (RX, RWX) else 0) | (_TLS if self.kind == TLS else 0)
        writable = self.kind in (RW, RWX, BSS, TLS) and "w" in self.region.attributes
        return flags | (_WRITE if writable else 0)


def without_discarded(sections: InputSections, script: LinkScript) -> InputSections:
    """The sections that the script does not discard."""
    discarded = SectionPatterns(script.discard)
    return sections.only(np.array([discarded.first(section) is None for section in sections], np.bool_))


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
            output.add(section)
    for output in outputs:
        output.sections.sort(key=lambda section: order[id(section)])
        output.kind = _kind(output)
    _Orphans(image, script, outputs).place(orphans)
    for output in outputs:
        _check_unique(image, output)
        _check_block(image, output)
        if output.name == INDEX_TABLE or any(s.name.startswith(INDEX_TABLE) for s in output.sections):
            _sort_index(output, outputs)
    _choose_additions(outputs)
    return outputs


def _chooser(outputs: Sequence[PlacedOutput]) -> Callable[[InputSection], tuple[PlacedOutput, int] | None]:
    """Finds the output section of an input section, and which group of its patterns; None for an orphan."""
    rules = [(o, n, pattern) for o in outputs for n, group in enumerate(o.rule.patterns) for pattern in group]
    patterns = SectionPatterns(pattern for _, _, pattern in rules)

    def chosen(section: InputSection) -> tuple[PlacedOutput, int] | None:
        found = patterns.first(section)
        return None if found is None else rules[found][:2]

    return chosen


def _constructor_key(section: InputSection) -> tuple[int, ...]:
    """Constructors run by priority, whatever object they are in (GNU ld's SORT_BY_INIT_PRIORITY)."""
    return section.order if section.name.startswith((*CONSTRUCTORS, *DESTRUCTORS)) else ()


def _kind(output: PlacedOutput) -> int:
    flags = output.together
    if flags & _TLS:
        return TLS
    if flags & _CODE:
        return RWX if flags & _WRITE else RX
    if flags & _WRITE:
        return RW if output.any_bits and output.rule.load else BSS
    if not output.sections and "w" in output.region.attributes and "x" not in output.region.attributes:
        return BSS if output.rule.load_in is None else RW
    return R


class _Orphans:
    """Puts sections that no pattern matches into output sections of their own names, after those of their kind."""

    def __init__(self, image: str, script: LinkScript, outputs: list[PlacedOutput]) -> None:
        self._image, self._script, self._outputs = image, script, outputs
        self._named: dict[str, PlacedOutput] = {}
        for output in outputs:
            self._named.setdefault(output.name, output)
        self._last: dict[int, PlacedOutput | None] = {}  #: cache, by kind

    def place(self, sections: Sequence[InputSection]) -> None:
        """Raises UnplacedSection."""
        unsorted: dict[str, PlacedOutput] = {}
        for section in sections:
            if self._script.orphans == "error":
                raise self._unplaced(section, "is matched by no pattern of the script")
            same = self._named.get(output_name(section.name))
            if same is None:
                self._place_alone(section)
                continue
            was_empty, kind = not same.sections, same.kind
            same.add(section)
            same.kind = _kind(same)
            if was_empty or same.kind != kind:
                self._last.clear()
            if section.order and same.name.startswith((*CONSTRUCTORS, *DESTRUCTORS)):
                unsorted[same.name] = same
        for output in unsorted.values():
            output.sections.sort(key=lambda s: s.order)

    def _place_alone(self, section: InputSection) -> None:
        """Make an output section for it."""
        alone = PlacedOutput(named_output(output_name(section.name), OutputSection(self._script.regions[0])))
        alone.add(section)
        alone.kind = _kind(alone)
        kinds = _LIKE[alone.kind]
        like = next(filter(None, map(self._last_of, kinds)), None)
        like = like or next((o for kind in kinds for o in reversed(self._outputs) if o.kind == kind), None)
        if like is None and not section.size:  # as assemblers make them in every object
            like = self._outputs[-1]
        if like is None:
            raise self._unplaced(section, "has no region: no output section of the script is of its kind")
        stored = like.rule.load_in if section.bits else None
        alone.rule = named_output(alone.name, OutputSection(like.region, stored))
        self._outputs.insert(self._outputs.index(like) + 1, alone)
        self._named[alone.name] = self._last[alone.kind] = alone  # the last, as none of its kind is after `like`

    def _last_of(self, kind: int) -> PlacedOutput | None:
        """The last output section of a kind that has sections."""
        if kind not in self._last:
            self._last[kind] = next((o for o in reversed(self._outputs) if o.kind == kind and o.sections), None)
        return self._last[kind]

    def _unplaced(self, section: InputSection, problem: str) -> UnplacedSection:
        return UnplacedSection(self._image, section.name, section.file.name, section.size, problem)


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

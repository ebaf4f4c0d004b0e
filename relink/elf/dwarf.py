"""C prototypes and variable types out of DWARF.

A library built with `-g` says what its functions take. `prototype(decoded, "add", address)` gives that as C text
("int add(int a, double b)"). A function is found by its address: its symbol may be an alias, renamed, versioned or
spelt otherwise than in the source. Without an address it is found by name: DW_AT_linkage_name where there is one
(C++, Rust), else DW_AT_name.

The answer is None where no DWARF covers the function; where it does and does not help (damaged, in a file that is
not there, a type C cannot say) a DebugInfoError says why. Reading is lazy: units are walked until the function
turns up, those first that say they cover it. See `relink.elf.dwarf_info` for where DWARF lies,
`relink.elf.dwarf_text` for the text. Of relocatable objects only linked ones can be read: their debug sections
come relocated.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from relink.elf.constants import FileType
from relink.elf.debug_files import debug_sections
from relink.elf.debug_sections import DebugSections
from relink.elf.decode import decode_sections
from relink.elf.decoded import Decoded
from relink.elf.dwarf_info import DebugInformation, Unit, address_of, range_list
from relink.elf.dwarf_text import MAX_DEPTH, Writer
from relink.errors import DebugInfoError
from relink.records import dataclass, field

if TYPE_CHECKING:
    from elftools.dwarf.die import DIE

__all__ = ["DebugTypes", "debug_types", "prototype", "prototypes", "variable_type"]

Source = Decoded | str | os.PathLike[str]

_log = logging.getLogger(__name__)
_ASSEMBLER = 0x8001  #: DW_LANG_Mips_Assembler: assemblers describe functions, but not what they take
_FUNCTIONS = frozenset({"DW_TAG_subprogram", "DW_TAG_entry_point"})
#: What may hold functions: always, and (nested functions of Fortran, Ada, Pascal, D) when nothing else has the one
#: asked for.
_SCOPES = frozenset({
    "DW_TAG_namespace", "DW_TAG_module", "DW_TAG_structure_type", "DW_TAG_class_type", "DW_TAG_union_type",
    "DW_TAG_interface_type", "DW_TAG_enumeration_type",
})  # fmt: skip
_INNER = frozenset({"DW_TAG_subprogram", "DW_TAG_lexical_block"})
_NO_CALL = 3  #: DW_CC_nocall: the compiler has changed how it is called
#: Suffixes of functions GCC has made out of others, with other parameters.
_CLONE = re.compile(r"\.(?:isra|constprop|part|sra|cold)\b")
_OP_ADDR = 0x03


class _Place(NamedTuple):
    """A DIE found, and the unit it is of."""

    die: DIE
    unit: Unit

    @property
    def defined(self) -> bool:
        """Whether it is a definition, so that it wins over declarations."""
        return "DW_AT_declaration" not in self.die.attributes


_KNOWN: WeakKeyDictionary[Decoded, DebugTypes] = WeakKeyDictionary()


def prototype(source: Source, function: str, address: int | None = None) -> str | None:
    """The C prototype of a function by its symbol's name, or at a link-time address; None where no DWARF covers
    it.

    Raises DebugInfoError where DWARF is there and cannot tell.
    """
    return debug_types(source).prototype(function, address)


def variable_type(source: Source, name: str, address: int | None = None) -> str | None:
    """The C type of a variable, as `prototype` finds functions."""
    return debug_types(source).variable_type(name, address)


def prototypes(source: Source) -> Mapping[str, str]:
    """The prototypes of all functions C can say one for, by name; texts are made on demand. Never raises."""
    return debug_types(source).prototypes()


def debug_types(source: Source) -> DebugTypes:
    """What the DWARF of `source` tells; kept as long as a `Decoded` lives.

    Raises ElfError for a file not readable.
    """
    if not isinstance(source, Decoded):
        source = decode_sections(source)
    if source not in _KNOWN:
        sections = debug_sections(source)
        if source.header.type == FileType.REL and source.debug_sections is None and sections:
            problem = "its debug information is not relocated: link the object first"
            sections = DebugSections({}, [f"{source.name}: {problem}"], source=source.name)
        _KNOWN[source] = DebugTypes(sections)
    return _KNOWN[source]


@dataclass(eq=False)
class _Walk:
    """What has been read of one unit, and how to go on."""

    unit: Unit
    dies: Iterator[DIE]
    finished: bool = False


class DebugTypes:
    """The functions and variables of one image's debug sections. Methods raise DebugInfoError."""

    def __init__(self, sections: DebugSections) -> None:
        self._source = sections.source
        self._information = DebugInformation(sections)
        self._writer = Writer(self._information)
        self._units = self._information.units()
        self._walks: list[_Walk] = []
        self._all_units = False
        self._functions: dict[str, _Place] = {}
        self._variables: dict[str, _Place] = {}
        self._at: dict[tuple[str, int], list[_Place]] = {}
        self._warned = 0
        self.missing = sections.missing  #: the name of a debug file that is not there, where there is nothing else

    @property
    def problems(self) -> tuple[str, ...]:
        """Sentences about what could not be read so far."""
        return tuple(self._information.problems)

    def prototype(self, function: str, address: int | None = None) -> str | None:
        """The C prototype of a function; see `prototype` of the module."""
        place = self._named(self._functions, function) if address is None else self._function_at(function, address)
        if place is not None:
            return self._text(place, function)
        self._check_complete(function)
        return None

    def variable_type(self, name: str, address: int | None = None) -> str | None:
        """The C type of a variable; see `variable_type` of the module."""
        place = None if address is None else self._find_at("variable", name, address)
        if place is None:
            place = self._named(self._variables, name)
        if place is not None:
            die = place.die
            return self._guarded(lambda: self._writer.type(die, name))
        self._check_complete(name)
        return None

    def prototypes(self) -> Mapping[str, str]:
        """All prototypes, as `prototypes` of the module has them."""
        self._named(self._functions, None)
        self._warn()
        return _Prototypes(self, self._functions)

    def _text(self, place: _Place, function: str) -> str:
        if _CLONE.search(function):
            raise DebugInfoError(
                self._source,
                f"{function} is a copy the compiler has changed the parameters of; give its C prototype",
            )
        if place.die.attributes.get("DW_AT_calling_convention") and self._convention(place.die) == _NO_CALL:
            raise DebugInfoError(self._source, f"{function} is not called as its ABI says (DW_CC_nocall)")
        return self._guarded(lambda: self._writer.prototype(place.die, function, place.unit.language))

    def _convention(self, die: DIE) -> object:
        return die.attributes["DW_AT_calling_convention"].value

    def _guarded(self, write: Callable[[], str]) -> str:
        """Text from DWARF that may be damaged."""
        try:
            return write()
        except DebugInfoError:
            raise
        except Exception as error:  # pyelftools raises whatever its parsing meets
            self._information.damaged(error)
            raise DebugInfoError(self._source, self.problems[-1].removeprefix(f"{self._source}: ")) from None

    def _check_complete(self, name: str) -> None:
        """Raises DebugInfoError where some DWARF could not be read: nobody knows then whether it covers `name`."""
        if self.problems:
            first = self.problems[0].removeprefix(f"{self._source}: ")
            raise DebugInfoError(self._source, f"no type of {name}: {first}")

    def _warn(self) -> None:
        for problem in self.problems[self._warned :]:
            _log.warning("%s", problem)
        self._warned = len(self.problems)

    # ------------------------------------------------------------ looking

    def _function_at(self, function: str, address: int) -> _Place | None:
        """What describes the function at an address; else a declaration of its name that fixes its parameters."""
        place = self._find_at("function", function, address)
        if place is not None:
            return place
        declared = self._named(self._functions, function, declared=True)
        if declared is None or "DW_AT_low_pc" in declared.die.attributes or declared.unit.language == _ASSEMBLER:
            return None
        attributes = [each.attributes for each in self._writer.origins(declared.die)]
        told = any("DW_AT_prototyped" in each or "DW_AT_linkage_name" in each for each in attributes)
        return declared if told else None

    def _find_at(self, kind: str, name: str, address: int) -> _Place | None:
        """The function or variable at an address: of several (identical code folded) the one of that name."""
        for walk in self._covering(address):
            found = self._best(kind, name, address, exact=True)
            if found is not None:
                return found
            for die in walk.dies:
                self._enter(die, walk.unit)
                if (found := self._best(kind, name, address, exact=True)) is not None:
                    return found
            walk.finished = True
        found = self._best(kind, name, address, exact=False)
        return found if found is not None or kind == "variable" else self._nested(name, address)

    def _best(self, kind: str, name: str, address: int, *, exact: bool) -> _Place | None:
        places = self._at.get((kind, address), ())
        for place in places:
            if name in self._names(place.die):
                return place
        return places[0] if places and not exact else None

    def _nested(self, name: str, address: int) -> _Place | None:
        """A function inside another, of a unit that covers the address."""
        for walk in self._covering(address):
            if walk.unit.covers(address) is None:
                continue
            for die in self._guarded_walk(walk.unit, inner=True):
                self._enter(die, walk.unit)
            if (found := self._best("function", name, address, exact=False)) is not None:
                return found
        return None

    def _covering(self, address: int) -> Iterator[_Walk]:
        """The units that say they describe an address, then those that do not say what they describe."""
        self._read_units()
        told = [(walk, walk.unit.covers(address)) for walk in self._walks]
        yield from (walk for walk, covers in told if covers)
        yield from (walk for walk, covers in told if covers is None)

    def _named(self, table: dict[str, _Place], name: str | None, *, declared: bool = False) -> _Place | None:
        """Walk on until `name` is found as a definition (or at all, with `declared`); None walks to the end."""
        found = table.get(name) if name is not None else None
        for walk in self._walking():
            if found is not None and (found.defined or declared):
                return found
            for die in walk.dies:
                self._enter(die, walk.unit)
                found = table.get(name) if name is not None else None
                if found is not None and found.defined:
                    return found
            walk.finished = True
        return found

    def _walking(self) -> Iterator[_Walk]:
        """The units not read to their end, in order."""
        at = 0
        while True:
            while at < len(self._walks):
                if not self._walks[at].finished:
                    yield self._walks[at]
                at += 1
            if self._all_units:
                return
            self._read_unit()

    def _read_unit(self) -> None:
        unit = next(self._units, None)
        if unit is None:
            self._all_units = True
        else:
            self._walks.append(_Walk(unit, self._guarded_walk(unit)))

    def _read_units(self) -> None:
        while not self._all_units:
            self._read_unit()

    def _guarded_walk(self, unit: Unit, *, inner: bool = False) -> Iterator[DIE]:
        """The functions and variables of a unit, up to where the bytes stop making sense."""
        try:
            yield from _members(unit.top, 0, inner)
        except Exception as error:  # pyelftools raises whatever its parsing meets: KeyError, struct errors
            self._information.damaged(error)

    def _enter(self, die: DIE, unit: Unit) -> None:
        variable = die.tag == "DW_TAG_variable"
        table = self._variables if variable else self._functions
        try:
            names = self._names(die)
            address = _variable_address(die) if variable else _entry(die)
        except Exception as error:  # whatever pyelftools makes of bytes that are not DWARF
            self._information.damaged(error)
            return
        place = _Place(die, unit)
        if not variable and unit.language == _ASSEMBLER:
            return
        if address is not None:
            self._at.setdefault(("variable" if variable else "function", address), []).append(place)
        if names and (names[0] not in table or (place.defined and not table[names[0]].defined)):
            table[names[0]] = place

    def _names(self, die: DIE) -> list[str]:
        """What its symbol may be called, the likeliest first."""
        attributes = ("DW_AT_linkage_name", "DW_AT_MIPS_linkage_name", "DW_AT_name")
        return [name for attribute in attributes if (name := self._writer.string(die, attribute))]


@dataclass(frozen=True)
class _Prototypes(Mapping[str, str]):
    """Prototype texts by symbol, made on demand."""

    types: DebugTypes
    places: Mapping[str, _Place]
    _texts: dict[str, str | None] = field(default_factory=dict)

    def __getitem__(self, function: str) -> str:
        if function not in self._texts:
            try:
                self._texts[function] = self.types._text(self.places[function], function)
            except DebugInfoError:
                self._texts[function] = None
        if (text := self._texts[function]) is None:
            raise KeyError(function)
        return text

    def __iter__(self) -> Iterator[str]:
        return (name for name in self.places if name in self)

    def __contains__(self, function: object) -> bool:
        return isinstance(function, str) and self.get(function) is not None

    def __len__(self) -> int:
        return sum(1 for _ in self)


# ---------------------------------------------------------------- walking


def _members(parent: DIE, depth: int, inner: bool) -> Iterator[DIE]:
    """Functions and variables of a scope and of those in it; with `inner` also those inside functions."""
    last = parent.offset
    for die in parent.iter_children():
        if die.offset <= last:  # DW_AT_sibling leads back: a loop
            return
        last = die.offset
        if die.tag in _FUNCTIONS or die.tag == "DW_TAG_variable":
            yield die
        if (die.tag in _SCOPES or (inner and die.tag in _INNER)) and depth < MAX_DEPTH:
            yield from _members(die, depth + 1, inner)


def _entry(die: DIE) -> int | None:
    """The address a function is entered at."""
    for name in ("DW_AT_entry_pc", "DW_AT_low_pc"):
        found = die.attributes.get(name)
        if found is None:
            continue
        address = address_of(die, name)
        if address is not None and found.form.startswith("DW_FORM_data"):  # an offset from the lowest address
            address += address_of(die, "DW_AT_low_pc") or 0
        return address
    if "DW_AT_ranges" not in die.attributes:
        return None
    base = address_of(die.cu.get_top_DIE(), "DW_AT_low_pc") or 0
    return next((start for start, _ in range_list(die, base)), None)


def _variable_address(die: DIE) -> int | None:
    """Where a variable of static storage lies."""
    found = die.attributes.get("DW_AT_location")
    if found is None or not isinstance(found.value, list) or len(found.value) not in (5, 9):
        return None
    return int.from_bytes(bytes(found.value[1:]), "little") if found.value[0] == _OP_ADDR else None

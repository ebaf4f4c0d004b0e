"""C prototypes and variable types from DWARF.

A library built with `-g` describes the parameters of its functions. `prototype(decoded, "add", address)` returns
them as C text ("int add(int a, double b)").

- A function is found by its address, because its symbol may be an alias, renamed, versioned or spelt differently
  from the source. Without an address it is found by name: DW_AT_linkage_name where present (C++, Rust), else
  DW_AT_name.
- The result is None when no DWARF covers the function. When DWARF covers it but cannot be used (damaged, in a file
  that was not found, a type that C cannot express), DebugInfoError gives the reason.
- Reading is lazy: units are walked until the function is found, beginning with those whose address ranges cover
  it.
- Relocatable objects must be linked first: only then are their debug sections relocated.

`relink.elf.dwarf_info` finds and opens the debug information; `relink.elf.dwarf_text` writes the C text.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from relink.elf.constants import FileType
from relink.elf.debug_files import debug_sections
from relink.elf.debug_lock import forget_in_child, one_thread
from relink.elf.debug_sections import DebugSections
from relink.elf.decode import decode_sections
from relink.elf.decoded import Decoded
from relink.elf.dwarf_info import DebugInformation, Unit
from relink.elf.dwarf_parameters import BY_REFERENCE
from relink.elf.dwarf_places import EntryPlaces, entry_places, is_of_lines_only
from relink.elf.dwarf_text import Writer
from relink.elf.dwarf_units import Walks
from relink.elf.dwarf_walk import entry, named_types, variable_address
from relink.errors import DebugInfoError
from relink.log import Log
from relink.records import dataclass, field

if TYPE_CHECKING:
    from elftools.dwarf.die import DIE

__all__ = ["DebugTypes", "debug_types", "prototype", "prototypes", "variable_type"]

Source = Decoded | str | os.PathLike[str]

_log = Log(__name__)
_ASSEMBLER = 0x8001  #: DW_LANG_Mips_Assembler: assemblers describe functions without their parameters
_NO_CALL = 3  #: DW_CC_nocall: the compiler changed the function's calling convention
_ORDINARY = (1, 2)  #: DW_CC_normal, DW_CC_program
#: DW_CC_LLVM_AAPCS: Arm's base standard, where the image's is that for VFP; so is compiler-rt.
BASE_STANDARD = 0xC3
#: Suffixes of function clones that GCC makes with different parameters.
_CLONE = re.compile(r"\.(?:isra|constprop|part|sra|cold)\b")


class Place(NamedTuple):
    """A DIE and its unit."""

    die: DIE
    unit: Unit

    @property
    def defined(self) -> bool:
        """Whether it is a definition; definitions are preferred to declarations."""
        return "DW_AT_declaration" not in self.die.attributes


_KNOWN: WeakKeyDictionary[Decoded, DebugTypes] = WeakKeyDictionary()
forget_in_child(_KNOWN)


def prototype(source: Source, function: str, address: int | None = None) -> str | None:
    """The C prototype of a function by its symbol's name, or by its link-time address; None when no DWARF covers
    it.

    Raises DebugInfoError when DWARF covers it but cannot be used.
    """
    return debug_types(source).prototype(function, address)


def variable_type(source: Source, name: str, address: int | None = None) -> str | None:
    """The C type of a variable; found, and raises, as in `prototype`."""
    return debug_types(source).variable_type(name, address)


def prototypes(source: Source) -> Mapping[str, str]:
    """The prototypes of all functions that have one in C, by name; texts are made on demand. Never raises."""
    return debug_types(source).prototypes()


@one_thread
def debug_types(source: Source) -> DebugTypes:
    """The reader of the DWARF of `source`, cached as long as the `Decoded` lives.

    Raises ElfError when the file cannot be read.
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


_Made = TypeVar("_Made")


class DebugTypes:
    """The functions and variables that one image's debug sections describe. Methods raise DebugInfoError."""

    def __init__(self, sections: DebugSections) -> None:
        self._source = sections.source
        self._information = DebugInformation(sections)
        self._writer = Writer(self._information)
        self._walks = Walks(self._information)
        self._functions: dict[str, Place] = {}
        self._variables: dict[str, Place] = {}
        self._at: dict[tuple[str, int], list[Place]] = {}
        self._typed: dict[Unit, bool] = {}
        self._warned = 0
        #: name of the separate debug file that was not found, when the image has no debug sections
        self.missing = sections.missing

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence for each part of the debug information that could not be read so far."""
        return tuple(self._information.problems)

    @property
    def writer(self) -> Writer:
        """Reads attributes of entries, and writes C for them."""
        return self._writer

    @one_thread
    def function(self, function: str, address: int | None = None) -> Place | None:
        """The entry of a function that is called as its ABI says; see `prototype` of the module."""
        place = self._named(self._functions, function) if address is None else self._function_at(function, address)
        if place is None:
            self._check_complete(function)
        else:
            self._check_callable(place, function, (*_ORDINARY, BASE_STANDARD))
        return place

    @one_thread
    def entry_places(self, function: str, address: int) -> EntryPlaces | None:
        """Where the function at an address finds its parameters at its first instruction; None when no DWARF
        tells.
        """
        place = self._find_at("function", function, address)
        if place is None or place.unit.language in BY_REFERENCE:
            return None
        die, writer = place.die, self._writer

        def read() -> EntryPlaces:
            found = [each for each in writer.declared_parameters(die) if each.tag == "DW_TAG_formal_parameter"]
            names = [writer.string(each, "DW_AT_name") or "" for each in found]
            producer = writer.string(place.unit.top, "DW_AT_producer") or ""
            return entry_places(die, found, names, bool(writer.attribute(die, "DW_AT_external")), producer)

        return self.guarded(read)

    @one_thread
    def variable(self, name: str, address: int | None = None) -> Place | None:
        """The entry of a variable; see `variable_type` of the module."""
        place = None if address is None else self._find_at("variable", name, address)
        if place is None:
            place = self._named(self._variables, name)
        if place is None:
            self._check_complete(name)
        return place

    def named_types(self) -> Iterator[DIE]:
        """The entries of all types that have names, unit by unit."""
        for walk in self._walks:
            try:
                yield from named_types(walk.unit.top)
            except Exception as error:  # damaged DWARF makes pyelftools raise arbitrary exceptions
                self._information.damaged(error)

    def prototype(self, function: str, address: int | None = None) -> str | None:
        """The C prototype of a function; see `prototype` of the module."""
        place = self.function(function, address)
        return None if place is None else self._text(place, function)

    def variable_type(self, name: str, address: int | None = None) -> str | None:
        """The C type of a variable; see `variable_type` of the module."""
        place = self.variable(name, address)
        return None if place is None else self.guarded(lambda: self._writer.type(place.die, name))

    @one_thread
    def prototypes(self) -> Mapping[str, str]:
        """All prototypes; see `prototypes` of the module."""
        self._named(self._functions, None)
        self._warn()
        return _Prototypes(self, self._functions)

    def _text(self, place: Place, function: str) -> str:
        self._check_callable(place, function, _ORDINARY)
        return self.guarded(lambda: self._writer.prototype(place.die, function, place.unit.language))

    def _check_callable(self, place: Place, function: str, known: tuple[int, ...]) -> None:
        """Raise DebugInfoError for a function whose calling convention is none of the known ones."""
        if _CLONE.search(function):
            raise DebugInfoError(
                self._source,
                f"{function} is a clone whose parameters the compiler has changed; give its C prototype",
            )
        found = place.die.attributes.get("DW_AT_calling_convention")
        if found is not None and found.value not in known:
            told = "DW_CC_nocall" if found.value == _NO_CALL else f"DW_AT_calling_convention {found.value:#x}"
            raise DebugInfoError(self._source, f"{function} does not follow the ABI's calling convention ({told})")

    @one_thread
    def guarded(self, write: Callable[[], _Made]) -> _Made:
        """Call `write`, and turn the exceptions of damaged DWARF into DebugInfoError."""
        try:
            return write()
        except DebugInfoError:
            raise
        except Exception as error:  # damaged DWARF makes pyelftools raise arbitrary exceptions
            self._information.damaged(error)
            raise DebugInfoError(self._source, self.problems[-1].removeprefix(f"{self._source}: ")) from None

    def _check_complete(self, name: str) -> None:
        """Raise DebugInfoError when some DWARF could not be read, as that part may cover `name`."""
        if self.problems:
            first = self.problems[0].removeprefix(f"{self._source}: ")
            raise DebugInfoError(self._source, f"no type of {name}: {first}")

    def _warn(self) -> None:
        for problem in self.problems[self._warned :]:
            _log.warning("%s", problem)
        self._warned = len(self.problems)

    # ------------------------------------------------------------ looking

    def _function_at(self, function: str, address: int) -> Place | None:
        """The DIE of the function at an address; else a declaration with its name and a full prototype."""
        place = self._find_at("function", function, address)
        if place is not None:
            return place
        declared = self._named(self._functions, function, declared=True)
        if declared is None or "DW_AT_low_pc" in declared.die.attributes or declared.unit.language == _ASSEMBLER:
            return None
        attributes = [each.attributes for each in self._writer.origins(declared.die)]
        told = any("DW_AT_prototyped" in each or "DW_AT_linkage_name" in each for each in attributes)
        return declared if told else None

    def _find_at(self, kind: str, name: str, address: int) -> Place | None:
        """The function or variable at an address; when several are there (identical code folding), the one named
        `name`.
        """
        for walk in self._walks.covering(address):
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

    def _best(self, kind: str, name: str, address: int, *, exact: bool) -> Place | None:
        places = self._at.get((kind, address), ())
        for place in places:
            if name in self._names(place.die):
                return place
        return places[0] if places and not exact else None

    def _nested(self, name: str, address: int) -> Place | None:
        """A function nested in another, in a unit that covers the address."""
        for walk in self._walks.covering(address):
            if walk.unit.ranges is None:
                continue
            for die in self._walks.members(walk.unit, inner=True):
                self._enter(die, walk.unit)
            if (found := self._best("function", name, address, exact=False)) is not None:
                return found
        return None

    def _named(self, table: dict[str, Place], name: str | None, *, declared: bool = False) -> Place | None:
        """Continue the walk until a definition of `name` is found (with `declared`, also a declaration). With
        `name` None, walk to the end.
        """
        found = table.get(name) if name is not None else None
        for walk in self._walks.unfinished():
            if found is not None and (found.defined or declared):
                return found
            for die in walk.dies:
                self._enter(die, walk.unit)
                found = table.get(name) if name is not None else None
                if found is not None and found.defined:
                    return found
            walk.finished = True
        return found

    def _enter(self, die: DIE, unit: Unit) -> None:
        variable = die.tag == "DW_TAG_variable"
        table = self._variables if variable else self._functions
        try:
            names = self._names(die)
            address = variable_address(die) if variable else entry(die)
            told = variable or self._has_prototypes(unit)
        except Exception as error:  # pyelftools raises arbitrary exceptions for bytes that are not DWARF
            self._information.damaged(error)
            return
        place = Place(die, unit)
        if not told:
            return
        if address is not None:
            self._at.setdefault(("variable" if variable else "function", address), []).append(place)
        if names and (names[0] not in table or (place.defined and not table[names[0]].defined)):
            table[names[0]] = place

    def _has_prototypes(self, unit: Unit) -> bool:
        """Whether a unit describes parameters and results: those of assembly and of GCC's -g1 do not."""
        found = self._typed.get(unit)
        if found is None:
            producer = self._writer.string(unit.top, "DW_AT_producer") or ""
            found = self._typed[unit] = unit.language != _ASSEMBLER and not is_of_lines_only(producer)
        return found

    def _names(self, die: DIE) -> list[str]:
        """The names that the DIE's symbol may have, the likeliest first."""
        attributes = ("DW_AT_linkage_name", "DW_AT_MIPS_linkage_name", "DW_AT_name")
        return [name for attribute in attributes if (name := self._writer.string(die, attribute))]


@dataclass(frozen=True)
class _Prototypes(Mapping[str, str]):
    """Mapping of symbol names to prototype texts, which are made on demand."""

    types: DebugTypes
    places: Mapping[str, Place]
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

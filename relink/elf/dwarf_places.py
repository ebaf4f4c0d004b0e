"""Where a function finds its parameters at its first instruction, by their location expressions.

Optimisers call a function that only its own unit calls as they like: its arguments are in other registers, are
constants, or are not passed at all. The locations that DWARF gives at the entry show it. Sources: DWARF 5, 2.6
(locations), 3.3.1.3 (call site attributes, which only optimised functions have); LLVM, GlobalOpt.cpp (fastcc);
GCC, i386.cc (ix86_function_regparm).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from elftools.dwarf.die import DIE

#: What clang says only of functions that were optimised.
_OPTIMISED = ("DW_AT_call_all_calls", "DW_AT_GNU_all_call_sites", "DW_AT_APPLE_optimized")
#: In GNU producers, options that optimise.
_LEVEL = re.compile(r" -O(?!0)")
#: In GNU producers, options for the level of debug information (-gdwarf-4 is none), each with its level.
_DEBUG_LEVEL = re.compile(r" -g(?:gdb|dwarf|vms)?(\d?)(?= |$)")
_USUAL_LEVEL = 2
_STACK_VALUE = 0x9F  #: DW_OP_stack_value
_MEMORY = ("DW_OP_fbreg", "DW_OP_call_frame_cfa", "DW_OP_breg")


class Kind(enum.Enum):
    """The kinds of locations of a parameter."""

    REGISTERS = enum.auto()
    STACK = enum.auto()  #: at a known offset from the canonical frame address
    FRAME = enum.auto()  #: in the frame, at an offset that means nothing at the first instruction
    CONSTANT = enum.auto()  #: the compiler knows the value, and does not look where it is passed
    LATER = enum.auto()  #: known only behind the first instruction
    UNKNOWN = enum.auto()


class EntryPlace(NamedTuple):
    """Where a parameter is at the first instruction."""

    name: str
    kind: Kind
    registers: tuple[int, ...] = ()  #: DWARF numbers
    offset: int = 0  #: bytes from the canonical frame address
    #: LLVM also gives a register for the whole function if the first instructions load it; GCC so for several.
    may_be_later: bool = False


class EntryPlaces(NamedTuple):
    """The locations of parameters at a function's first instruction, as DWARF has them."""

    places: tuple[EntryPlace, ...]  #: one for each parameter
    optimised: bool
    external: bool  #: whether other units can call the function


def entry_places(die: DIE, formals: list[DIE], names: list[str], external: bool, producer: str) -> EntryPlaces:
    """The places of the parameters `formals` of the function `die`, which has a DW_AT_low_pc. Damaged locations
    are unknown ones. `producer` is DW_AT_producer of the unit.
    """
    from relink.elf.dwarf_walk import entry

    low = entry(die)
    cfa = _frame_base_is_cfa(die)
    found = []
    for formal, name in zip(formals, names, strict=True):
        try:
            place = _place(formal, name, low, cfa)
            listed = "DW_AT_location" in formal.attributes and not _is_expression(formal)
            loaded = not producer.startswith("GNU") or len(place.registers) > 1
            found.append(place._replace(may_be_later=not listed and loaded))
        except Exception:  # damaged DWARF makes pyelftools raise arbitrary exceptions
            found.append(EntryPlace(name, Kind.UNKNOWN))
    optimised = any(each in die.attributes for each in _OPTIMISED)
    if " -O" in producer:
        optimised = bool(_LEVEL.search(producer))
    return EntryPlaces(tuple(found), optimised, external)


def is_of_lines_only(producer: str) -> bool:
    """Whether DW_AT_producer says that a unit has functions and lines, but no types and parameters: GCC's -g1.

    `-g` without a number raises the level to 2 (GCC, opts.cc, `set_debug_level`).
    """
    level = None
    for given in _DEBUG_LEVEL.findall(producer) if producer.startswith("GNU ") else ():
        level = int(given) if given else max(level or 0, _USUAL_LEVEL)
    return level == 1


def _place(formal: DIE, name: str, low: int | None, cfa: bool) -> EntryPlace:
    if "DW_AT_const_value" in formal.attributes:
        return EntryPlace(name, Kind.CONSTANT)
    if "DW_AT_location" not in formal.attributes:
        return EntryPlace(name, Kind.UNKNOWN)
    operations = _operations(formal, low)
    if operations is None:
        return EntryPlace(name, Kind.LATER)
    names = [operation.op_name for operation in operations]
    registers = tuple(_registers(operations))
    if registers:
        return EntryPlace(name, Kind.REGISTERS, registers)
    if "DW_OP_stack_value" in names and not any(each.startswith(_MEMORY) or "entry" in each for each in names):
        return EntryPlace(name, Kind.CONSTANT)
    if len(operations) == 1 and names[0].startswith("DW_OP_breg"):  # the argument is the address of a value
        return EntryPlace(name, Kind.FRAME)
    if len(operations) == 1 and names[0] == "DW_OP_fbreg":
        return EntryPlace(name, Kind.STACK if cfa else Kind.FRAME, (), operations[0].args[0])
    return EntryPlace(name, Kind.FRAME if names and names[0].startswith(_MEMORY) else Kind.UNKNOWN)


def _registers(operations: list[Any]) -> Iterator[int]:
    for operation in operations:
        if operation.op_name == "DW_OP_regx":
            yield operation.args[0]
        elif operation.op_name.startswith("DW_OP_reg") and operation.op_name[9:].isdecimal():
            yield int(operation.op_name[9:])


def _operations(formal: DIE, low: int | None) -> list[Any] | None:
    """The location expression at the first instruction; empty for no location at all, None for later ones."""
    from elftools.dwarf.dwarf_expr import DWARFExprParser
    from elftools.dwarf.locationlists import LocationExpr, LocationParser

    unit = formal.cu
    parser = LocationParser(formal.dwarfinfo.location_lists())
    found: Any = parser.parse_from_attribute(formal.attributes["DW_AT_location"], unit["version"], formal)
    expression, later = (found.loc_expr, False) if isinstance(found, LocationExpr) else _listed(found, low, formal)
    operations = list(DWARFExprParser(unit.structs).parse_expr(expression))
    # Behind the prologue: a place in memory has not changed, a register may have.
    if later and not (len(operations) == 1 and operations[0].op_name.startswith(_MEMORY)):
        return None if _reads(expression) else []
    return operations


def _listed(entries: Any, low: int | None, formal: DIE) -> tuple[list[int], bool]:
    """The expression in a location list for the first instruction, or else the first one; whether it is a later
    one.
    """
    from relink.elf.dwarf_info import address_of

    base = address_of(formal.cu.get_top_DIE(), "DW_AT_low_pc") or 0
    later: list[int] = []
    for each in entries:
        if hasattr(each, "base_address"):
            base = each.base_address
        if not hasattr(each, "loc_expr"):
            continue
        by = 0 if each.is_absolute else base
        start, end, expression = by + each.begin_offset, by + each.end_offset, list(each.loc_expr)
        if low is not None and start <= low < end:
            return expression, False
        if start < end and not later:
            later = expression
    return later, True


def _reads(expression: list[int]) -> bool:
    """Whether a location is that of a value, not the value itself (DW_OP_stack_value)."""
    return bool(expression) and expression[-1] != _STACK_VALUE


def _is_expression(formal: DIE) -> bool:
    return isinstance(formal.attributes["DW_AT_location"].value, list)


def _frame_base_is_cfa(die: DIE) -> bool:
    found = die.attributes.get("DW_AT_frame_base")
    return found is not None and bytes(found.value if isinstance(found.value, list) else b"") == b"\x9c"

"""Whether a parameter is passed by value or by reference, in languages whose DWARF types do not tell.

Fortran passes parameters without the VALUE attribute by reference, and Pascal its `var` parameters. DWARF gives
the location of the *value*, which the argument points at. So the location expression at function entry is read:
every load from memory between the register or stack slot of the argument and the value is an indirection. Source:
DWARF 5, 2.5 and 2.6; gcc/dwarf2out.cc (DECL_BY_REFERENCE).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from elftools.dwarf.die import DIE

    from relink.arch import Architecture

FORTRAN = frozenset({0x07, 0x08, 0x0E, 0x22, 0x23, 0x2D})  #: DW_LANG_Fortran77 to Fortran18
#: Fortran and Pascal83, Modula2, Modula3, Ada83, Ada95, Ada2005, Ada2012, Cobol74, Cobol85, PLI.
BY_REFERENCE = FORTRAN | frozenset({0x09, 0x0A, 0x17, 0x03, 0x0D, 0x2E, 0x2F, 0x05, 0x06, 0x0F})

_STACK = frozenset({"DW_OP_fbreg", "DW_OP_call_frame_cfa"})


def passed_by_reference(parameter: DIE, arch: Architecture | None, language: int) -> bool | None:
    """Whether the argument is the address of the parameter's value; None when DWARF does not tell.

    Only Fortran passes by reference by default: in other languages a parameter without a location is a value.
    """
    unknown = None if language in FORTRAN else False
    try:
        operations = _on_entry(parameter)
    except Exception:  # damaged DWARF makes pyelftools raise arbitrary exceptions
        return unknown
    if not operations:
        return unknown
    first = operations[0].op_name
    if first.startswith("DW_OP_reg"):
        return False
    names = [operation.op_name for operation in operations]
    if "DW_OP_implicit_value" in names or "DW_OP_piece" in names or "DW_OP_implicit_pointer" in names:
        return unknown
    on_stack = first in _STACK or (arch is not None and first == f"DW_OP_breg{arch.dwarf_stack_pointer}")
    if not (on_stack or first.startswith("DW_OP_breg") or "entry_value" in first):
        return unknown
    steps = sum(name.startswith("DW_OP_deref") for name in names)
    return bool(steps + ("DW_OP_stack_value" not in names) - on_stack > 0)


def _on_entry(parameter: DIE) -> list[Any]:
    """The location expression of the parameter at function entry."""
    from elftools.dwarf.dwarf_expr import DWARFExprParser
    from elftools.dwarf.locationlists import LocationExpr, LocationParser

    attribute = parameter.attributes["DW_AT_location"]
    unit = parameter.cu
    lists = parameter.dwarfinfo.location_lists()
    found: Any = LocationParser(lists).parse_from_attribute(attribute, unit["version"], parameter)
    if isinstance(found, LocationExpr):
        expression = found.loc_expr
    else:
        expression = next(entry.loc_expr for entry in found if hasattr(entry, "loc_expr"))
    operations: list[Any] = DWARFExprParser(unit.structs).parse_expr(expression)
    return operations


def lengths_last(formals: list[DIE], names: list[str]) -> list[DIE]:
    """Move the length arguments of Fortran strings (`_text` of `text`) after all other arguments, as they are
    passed.
    """
    hidden = [
        die
        for die, name in zip(formals, names, strict=True)
        if "DW_AT_artificial" in die.attributes and name[:1] == "_" and name[1:] in names
    ]
    return [die for die in formals if die not in hidden] + hidden

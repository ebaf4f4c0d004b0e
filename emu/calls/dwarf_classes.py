"""Which C++ classes are passed as their address, by their DWARF: those that are "non-trivial for the purposes of
calls" (Itanium C++ ABI, 1.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elftools.dwarf.die import DIE

    from relink.elf.dwarf_text import Writer

_BY_REFERENCE = 4  #: DW_CC_pass_by_reference


def is_passed_by_reference(writer: Writer, die: DIE) -> bool:
    """Whether a class has virtual functions, or a copy constructor or destructor that is not trivial."""
    if writer.attribute(die, "DW_AT_calling_convention") == _BY_REFERENCE:
        return True
    name = writer.string(die, "DW_AT_name") or ""
    for child in die.iter_children():
        called = writer.string(child, "DW_AT_name") or ""
        if child.tag == "DW_TAG_member" and called.startswith("_vptr"):
            return True
        trivial = {"DW_AT_artificial", "DW_AT_defaulted", "DW_AT_deleted"} & set(child.attributes)
        if child.tag != "DW_TAG_subprogram" or trivial or not name:
            continue
        if called == f"~{name}" or (called == name.partition("<")[0] and _copies(writer, child, die)):
            return True
    return False


def _copies(writer: Writer, constructor: DIE, die: DIE) -> bool:
    """Whether a constructor takes a reference to its own class."""
    formals = [child for child in constructor.iter_children() if child.tag == "DW_TAG_formal_parameter"]
    taken = [writer.type_of(each) for each in formals if "DW_AT_artificial" not in each.attributes]
    if len(taken) != 1 or taken[0] is None or "reference" not in str(taken[0].tag):
        return False
    target = writer.type_of(taken[0])
    return target is not None and writer.unqualified(target).offset == die.offset

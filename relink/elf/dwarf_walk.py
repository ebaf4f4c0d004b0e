"""Walks of debug information entries: functions and variables of a scope, types of a unit, addresses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from relink.elf.dwarf_info import address_of, range_list
from relink.elf.dwarf_text import MAX_DEPTH

if TYPE_CHECKING:
    from elftools.dwarf.die import DIE

FUNCTIONS = frozenset({"DW_TAG_subprogram", "DW_TAG_entry_point"})
#: Tags of DIEs that can contain functions: searched always, and only when the function was not found elsewhere
#: (nested functions of Fortran, Ada, Pascal and D).
_SCOPES = frozenset({
    "DW_TAG_namespace", "DW_TAG_module", "DW_TAG_structure_type", "DW_TAG_class_type", "DW_TAG_union_type",
    "DW_TAG_interface_type", "DW_TAG_enumeration_type",
})  # fmt: skip
_INNER = frozenset({"DW_TAG_subprogram", "DW_TAG_lexical_block"})
#: Tags of types that have a name in C.
_TYPES = frozenset({
    "DW_TAG_structure_type", "DW_TAG_class_type", "DW_TAG_union_type", "DW_TAG_enumeration_type", "DW_TAG_typedef",
})  # fmt: skip
_OP_ADDR = 0x03


def members(parent: DIE, depth: int, inner: bool) -> Iterator[DIE]:
    """Functions and variables of a scope and its nested scopes; with `inner` also those inside functions."""
    last = parent.offset
    for die in parent.iter_children():
        if die.offset <= last:  # DW_AT_sibling points backwards: a loop
            return
        last = die.offset
        if die.tag in FUNCTIONS or die.tag == "DW_TAG_variable":
            yield die
        if (die.tag in _SCOPES or (inner and die.tag in _INNER)) and depth < MAX_DEPTH:
            yield from members(die, depth + 1, inner)


def entry(die: DIE) -> int | None:
    """The entry address of a function."""
    for name in ("DW_AT_entry_pc", "DW_AT_low_pc"):
        found = die.attributes.get(name)
        if found is None:
            continue
        address = address_of(die, name)
        if address is not None and found.form.startswith("DW_FORM_data"):  # an offset from DW_AT_low_pc
            address += address_of(die, "DW_AT_low_pc") or 0
        return address
    if "DW_AT_ranges" not in die.attributes:
        return None
    base = address_of(die.cu.get_top_DIE(), "DW_AT_low_pc") or 0
    return next((start for start, _ in range_list(die, base)), None)


def variable_address(die: DIE) -> int | None:
    """The address of a variable with static storage."""
    found = die.attributes.get("DW_AT_location")
    if found is None or not isinstance(found.value, list) or len(found.value) not in (5, 9):
        return None
    return int.from_bytes(bytes(found.value[1:]), "little") if found.value[0] == _OP_ADDR else None


def named_types(top: DIE) -> Iterator[DIE]:
    """The named types of a unit, including those in namespaces."""
    yield from _named_types(top, 0)


def _named_types(parent: DIE, depth: int) -> Iterator[DIE]:
    last = parent.offset
    for die in parent.iter_children():
        if die.offset <= last:
            return
        last = die.offset
        if die.tag in _TYPES:
            yield die
        if die.tag in ("DW_TAG_namespace", "DW_TAG_module") and depth < MAX_DEPTH:
            yield from _named_types(die, depth + 1)

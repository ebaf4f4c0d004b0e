"""Prototypes that a compiler gets wrong by its own psABI: `both_ways` does not try them with that compiler.

Each has a minimal program in docs/calls.md, "Bugs of compilers".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from emu.calls.scalars import leaves
from emu.calls.types import Array, CType, Floating, Struct, Vector
from tests.calls.generator import Case


class Bug(NamedTuple):
    compiler: str
    targets: tuple[str, ...]
    is_hit: Callable[[Case], bool]
    what: str


def _vectors_or_halves(ctype: CType) -> bool:
    """Whether a type is an aggregate of nothing but vectors or `_Float16`."""
    found = [leaf.type for leaf in leaves(ctype)] if isinstance(ctype, Struct) else []
    return bool(found) and all(isinstance(each, Vector) or each.size == 2 for each in found)


def _narrow_beside_wider(ctype: CType) -> bool:
    """Whether a union has a `_Float16` in the same 8 bytes as a float or double of another member, or, if it has
    more than 8 bytes, a float in the same ones as a double.
    """
    found = [leaf for leaf in leaves(ctype) if leaf.in_union and isinstance(leaf.type, Floating)]
    places = {(leaf.offset // 8, leaf.type.size) for leaf in found}
    narrow = (2, 4) if isinstance(ctype, Struct) and ctype.size != 8 else (2,)
    return any((leaf.offset // 8, size) in places and leaf.type.size > size for size in narrow for leaf in found)


def _halves_across_words(ctype: CType) -> bool:
    """Whether a structure has an array of structures of an odd number of `_Float16`, from three on."""
    if isinstance(ctype, Array):
        element = ctype.target
        if not isinstance(element, Struct):
            return _halves_across_words(element)
        halves = all(leaf.type.size == 2 for leaf in leaves(element))
        return (halves and element.size in (6, 10, 14)) or _halves_across_words(element)
    members = (ctype.members or ()) if isinstance(ctype, Struct) else ()
    return any(_halves_across_words(member.type) for member in members)


BUGS = (
    Bug(
        "clang",
        ("x86_64",),
        lambda case: any(map(_narrow_beside_wider, (*case.types, case.prototype.result))),
        "a union with a float where another member has a wider one is passed as the narrow one alone (clang 22)",
    ),
    Bug(
        "gcc",
        ("x86_64",),
        lambda case: any(map(_halves_across_words, (*case.types, case.prototype.result))),
        "of the second element of an array of structures of three _Float16 only the first is passed (GCC 12)",
    ),
    Bug(
        "gcc",
        ("aarch64",),
        lambda case: any(map(_vectors_or_halves, case.extras)),
        "va_arg of a homogeneous aggregate of vectors or _Float16 reads memory that was not written (GCC 12, -O2)",
    ),
)


def is_hit(compiler: str, target: str, case: Case) -> bool:
    """Whether a bug of a compiler concerns a case."""
    return any(bug.compiler == compiler and target in bug.targets and bug.is_hit(case) for bug in BUGS)

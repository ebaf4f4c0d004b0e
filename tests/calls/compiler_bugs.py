"""Prototypes that a compiler gets wrong by its own psABI: `both_ways` does not try them with that compiler.

Each has a minimal program in docs/calls.md, "Bugs of compilers".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from emu.calls.scalars import leaves
from emu.calls.types import CType, Floating, Struct, Vector
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


def _half_beside_wider(ctype: CType) -> bool:
    """Whether a union has a `_Float16` in the same 8 bytes as a float or double of another member."""
    found = [leaf for leaf in leaves(ctype) if leaf.in_union and isinstance(leaf.type, Floating)]
    halves = {leaf.offset // 8 for leaf in found if leaf.type.size == 2}
    return any(leaf.offset // 8 in halves and leaf.type.size > 2 for leaf in found)


BUGS = (
    Bug(
        "clang",
        ("x86_64",),
        lambda case: any(map(_half_beside_wider, (*case.types, case.prototype.result))),
        "a union with a _Float16 where another member has a double is passed as the _Float16 alone (clang 22)",
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

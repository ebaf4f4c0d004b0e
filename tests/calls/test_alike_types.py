"""Types that have the same layout, or members of three classes, and are passed in different ways."""

from __future__ import annotations

from itertools import count

import pytest

from emu import Machine
from emu.calls.eightbytes import eightbytes
from emu.calls.headers import header_types
from emu.calls.scalars import Bank, leaves
from emu.calls.types import Integer, Member, Struct, same_type, sized
from emu.isa.registry import convention
from tests.fixtures import arch_of
from tests.interrupts import interrupted
from tests.objects.build import TARGETS, compiled

WHOLE = "struct v { double x; } __attribute__((aligned(16)));"
MEMBER = "struct v { __attribute__((aligned(16))) double x; };"
FUNCTION = "double f(int a, struct v b, int c)"
CODE = FUNCTION + " { return a + 10 * b.x + 100 * c; }"


@pytest.mark.parametrize("target", TARGETS)
def test_structures_of_one_name_and_layout_are_passed_by_their_own_declaration(target: str) -> None:
    """AAPCS and AAPCS64 align an argument as its members are aligned, not as the whole is."""
    with Machine(arch_of(target)) as machine:
        for declaration in (WHOLE, MEMBER, WHOLE):
            library = machine.load(compiled(target, declaration + CODE, "-w"))
            prototype = header_types(declaration, convention(arch_of(target))).prototype(FUNCTION)
            assert library.function("f", prototype)(1, {"x": 2.0}, 3) == 321


def test_what_decides_how_a_structure_is_passed_is_part_of_its_equality() -> None:
    rules = convention("aarch64")
    whole, member = (header_types(text, rules).ctype("struct v") for text in (WHOLE, MEMBER))
    assert whole != member
    assert same_type(whole, member), "the layout is the same"


@pytest.mark.parametrize(
    ("text", "banks"),
    [
        # As gcc and clang have them: an inner union is classified before it meets its neighbours.
        ("long double a; union { double _Complex b; __int128 c; } d;", [Bank.INTEGER, Bank.INTEGER]),
        ("union { double _Complex b; __int128 c; } d; long double a;", [Bank.INTEGER, Bank.INTEGER]),
        ("long double a; double _Complex b; __int128 c;", []),
        ("__int128 c; long double a; double _Complex b;", [Bank.INTEGER, Bank.INTEGER]),
        ("long double a; struct { long b; } c;", []),
        ("long double a; float b[4];", []),
        ("long double a;", [Bank.X87]),
        ("double a[2]; struct { float b, c; } d;", [Bank.FLOAT, Bank.FLOAT]),
    ],
)
def test_classes_of_eightbytes_are_merged_inside_out(text: str, banks: list[Bank]) -> None:
    ctype = header_types(f"union u {{ {text} }};", convention("x86_64")).ctype("union u")
    parts = eightbytes(ctype, sized(ctype).size, tuple(leaves(ctype)))  # type: ignore[arg-type]
    assert [part.bank for part in parts] == banks


def test_a_structure_whose_reading_a_signal_handler_interrupts_is_read_again() -> None:
    member = Member("x", Integer(4, True, "int"), 0)
    for number in count(1):
        struct = Struct("struct point", fill=lambda struct: struct.complete((member,), 4, 4, 4))
        passed = interrupted(lambda struct=struct: struct.size, number, starts=True)  # type: ignore[misc]
        assert (struct.members, struct.size) == ((member,), 4), number
        if passed < number:
            break
    assert number > 2

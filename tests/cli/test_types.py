"""`types`, and structures on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.objects.build import compiled

from .conftest import RunCommand

SOURCE = """
struct point { int x, y; };
struct shape { char kind; struct point corner; double sides[2]; };
struct point moved(struct point p, int dx) { p.x += dx; return p; }
double longest(struct shape s) { return s.sides[0] > s.sides[1] ? s.sides[0] : s.sides[1]; }
int sum(const int *values, int count) { int total = 0; while (count--) total += values[count]; return total; }
"""


@pytest.fixture(scope="module")
def library() -> str:
    return str(compiled("riscv32", SOURCE, "-g"))


def test_structures_are_shown_with_offsets_and_holes(relink_emu: RunCommand, library: str) -> None:
    shown = relink_emu("types", library, "shape").out
    assert "double sides[2];                             // 16" in shown
    assert "// 32 bytes, aligned to 8, 7 bytes of holes" in shown
    result = relink_emu("types", library, "circle")
    assert result.status == 2
    assert "has no type 'circle'" in result.err


def test_types_are_shown_of_a_library_whose_imports_nobody_defines(relink_emu: RunCommand) -> None:
    source = "int elsewhere(void); struct pair { int a, b; } pair; int call(void) { return elsewhere(); }"
    shown = relink_emu("types", str(compiled("riscv32", source, "-g")), "pair")
    assert (shown.status, "struct pair {" in shown.out) == (0, True), shown.err


def test_a_header_is_laid_out_for_the_architecture_given(relink_emu: RunCommand, tmp_path: Path) -> None:
    header = tmp_path / "wide.h"
    header.write_text("struct wide { char first; long long second; };\n")
    assert "// 12 bytes, aligned to 4" in relink_emu("types", str(header), "--arch", "i386").out
    assert "// 16 bytes, aligned to 8" in relink_emu("types", str(header), "--arch", "arm").out
    assert relink_emu("types", str(header)).status == 2


def test_without_types_a_warning_says_how_to_get_some(relink_emu: RunCommand) -> None:
    result = relink_emu("types", str(compiled("riscv32", SOURCE)))
    assert (result.out, result.status) == ("", 0)
    assert "there are no types: compile it with -g" in result.err


def test_a_header_without_types_is_not_told_to_be_one(relink_emu: RunCommand, tmp_path: Path) -> None:
    header = tmp_path / "own.h"
    header.write_text("int add(int a, int b);\n")
    assert "there are no types: the header declares none" in relink_emu("types", str(header), "-a", "arm").err


def test_initialisers_in_braces_are_structures_and_arrays(relink_emu: RunCommand, library: str) -> None:
    calls = ["moved({1, 2}, 5)", "longest({.kind = 'x', .sides = {1.5, 2}})", "sum({1, 2, 3}, 3)"]
    assert relink_emu("call", library, *calls).out.splitlines() == ["{.x = 6, .y = 2}", "2.0", "6"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("moved({1, 2, 3}, 5)", "argument 1 (p) of moved: 3 values for 2 members of struct point"),
        ("moved({.z = 3}, 5)", "struct point has no member 'z'"),
        ("moved({.x = 3, 4}, 5)", "a member is missing: .name = value"),
        ("moved({1, 2, 5)", "a brace is missing here"),
        ("other({1, 2})", "other"),
    ],
)
def test_initialisers_that_do_not_fit_are_told(
    relink_emu: RunCommand, library: str, call: str, message: str
) -> None:
    result = relink_emu("call", library, call)
    assert result.status in (1, 2)
    assert message in result.err

"""What one link defines and refers to: a table of symbols and `wrap` reach it, functions that answer do not."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

import pytest

from emu import Machine
from emu.load.options import LoadKeywords
from relink import HostMemory, Linker, LoadOptions, SymbolRequest, UnresolvedSymbol
from tests.fixtures import arch_of
from tests.objects.build import TARGETS, archived, compiled

DEFINES = """
int held; %s
int measured(int x) { volatile int a = x, b = 1, c = 2, d = 3; return a + b + c + d - 5; }
"""
REFERS = """
extern int measured(int); int (*volatile pointer)(int) = measured;
int called(int x) { return measured(x) * 100; }
int pointed(int x) { return pointer(x) * 100; }
"""
WEAK = "__attribute__((weak)) int measured(int);"
#: All of it in one object.
TOGETHER = (DEFINES % "__attribute__((noinline)) int measured(int);") + REFERS
INSTEAD = {"measured": (lambda value: value + 50, "int(int)")}


def answers(machine: Machine, objects: list[Path], **options: Unpack[LoadKeywords]) -> list[int]:
    """What a direct call and one by a pointer in data come to."""
    library = machine.load(objects, **options)
    assert library.function("measured", "int(int)")(4) == 5, "the definition keeps its name"
    return [library.function(name, "int(int)")(4) for name in ("called", "pointed")]


@pytest.mark.parametrize("target", TARGETS)
def test_a_table_of_symbols_goes_before_what_the_objects_define(target: str) -> None:
    for objects in (
        *([compiled(target, DEFINES % weak, "-fPIC"), compiled(target, REFERS, "-fPIC")] for weak in ("", WEAK)),
        [compiled(target, TOGETHER, "-fno-inline", "-fno-pic")],
    ):
        for of_machine, of_load, expected in (({}, INSTEAD, 5400), (INSTEAD, {}, 5400), ({}, {}, 500)):
            with Machine(arch_of(target), symbols=of_machine) as machine:
                assert answers(machine, objects, symbols=of_load) == [expected, expected]


@pytest.mark.parametrize("target", TARGETS)
def test_a_function_of_requests_is_asked_for_what_the_objects_leave_undefined(target: str) -> None:
    asked: list[str] = []

    def lookup(request: SymbolRequest) -> None:
        asked.append(request.name)

    objects = [compiled(target, DEFINES % "", "-fPIC"), compiled(target, REFERS, "-fPIC")]
    with Machine(arch_of(target)) as machine:
        library = machine.load(objects, symbols=lookup)
        calls = [library.function(name, "int(int)") for name in ("called", "pointed")]
        assert [call(4) for call in calls] == [500, 500]
        assert "measured" not in asked
        library.replace("measured", INSTEAD["measured"])
        assert [call(4) for call in calls] == [5400, 5400]


def test_a_variable_the_objects_define_can_be_put_elsewhere() -> None:
    source = "int counter = 3; int get(void) { return counter; } int *where(void) { return &counter; }"
    with Machine("riscv64") as machine:
        at = machine.memory.map_anonymous(4096)
        machine.memory.write_uint(at, 4, 77)
        library = machine.load(compiled("riscv64", source, "-fPIC"), symbols={"counter": at})
        assert library.function("get", "int(void)")() == 77
        assert library.function("where", "unsigned long(void)")() == at


WRAPPER = """
    int measured(int); int __real_measured(int); int __wrap_measured(int x) { return 10 * __real_measured(x); }
    int outside(int x) { return measured(x); }
"""


@pytest.mark.parametrize("target", TARGETS)
def test_wrap_redirects_references_but_those_of_the_defining_object(target: str, tmp_path: Path) -> None:
    """As the GNU ld manual has it: what an object defines itself is no undefined reference."""
    together = compiled(target, TOGETHER, "-fno-inline", "-fno-pic")
    wrapper = compiled(target, WRAPPER, "-fno-pic")
    archive = archived(tmp_path / "lib.a", [together])
    for sources in ([together, wrapper], [wrapper, archive]):
        with Machine(arch_of(target)) as machine:
            library = machine.load(sources, wrap=["measured"])
            assert library.function("outside", "int(int)")(4) == 50
            assert library.function("measured", "int(int)")(4) == 5
            if archive not in sources:
                assert library.function("called", "int(int)")(4) == 500


@pytest.mark.parametrize("target", TARGETS)
def test_a_wrapper_may_be_the_hosts_and_the_original_another_images(target: str) -> None:
    source = (
        "int measured(int); int __real_measured(int); int both(int x) { return measured(x) + __real_measured(x); }"
    )
    with Machine(arch_of(target)) as machine:
        machine.load(compiled(target, DEFINES % "", "-fPIC"))
        hook = {"__wrap_measured": (lambda value: value * 1000, "int(int)")}
        library = machine.load(compiled(target, source, "-fPIC"), wrap=["measured"], symbols=hook)
        assert library.function("both", "int(int)")(4) == 4005


def test_a_wrapper_nobody_defines_is_what_an_error_names() -> None:
    user = compiled("x86_64", "int measured(int); int user(int x) { return measured(x); }", "-fPIC")
    with pytest.raises(UnresolvedSymbol, match="__wrap_measured"):
        Linker(HostMemory("x86_64")).load(user, options=LoadOptions(wrap=["measured"]))

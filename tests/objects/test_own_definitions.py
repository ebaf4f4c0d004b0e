"""What one link defines and refers to: hooks for imports leave it alone, replacing the function reaches it."""

from __future__ import annotations

import pytest

from emu import Machine
from tests.fixtures import arch_of
from tests.objects.build import TARGETS, compiled

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


@pytest.mark.parametrize("target", TARGETS)
def test_a_name_the_link_defines_is_answered_by_no_source_but_can_be_replaced(target: str) -> None:
    def instead(value: int) -> int:
        return value + 50

    hook = {"measured": (instead, "int(int)")}
    for weak in ("", WEAK):
        objects = [compiled(target, DEFINES % weak, "-fPIC"), compiled(target, REFERS, "-fPIC")]
        for of_machine, of_load in (({}, hook), (hook, {}), ({}, {})):
            with Machine(arch_of(target), symbols=of_machine) as machine:
                library = machine.load(objects, symbols=of_load)
                calls = [library.function(name, "int(int)") for name in ("called", "pointed")]
                assert [call(4) for call in calls] == [500, 500]
                library.replace("measured", hook["measured"])
                assert [call(4) for call in calls] == [5400, 5400]

"""Scenarios on every target, and under the host's ld.so, whose answers are the ones that count."""

from __future__ import annotations

import os
import sys

import pytest

from relink import BindMode
from tests import sampling
from tests.grouping import each
from tests.objects.build import TARGETS
from tests.scenarios.engine import (
    Lib,
    Scenario,
    message,
    message_of_the_host,
    played,
    played_again,
    played_natively,
)
from tests.scenarios.scenarios import SCENARIOS

NAMED = each("scenario", SCENARIOS, ids=lambda scenario: scenario.identifier)
NATIVE = [scenario for scenario in SCENARIOS if scenario.native]


@pytest.mark.sample(2)
@pytest.mark.parametrize("target", TARGETS)
@NAMED
def test_a_machine_plays_it(scenario: Scenario, target: str) -> None:
    assert played(scenario, target) == [step.answer for step in scenario.steps]


@pytest.mark.sample(2)
@pytest.mark.parametrize("target", TARGETS)
def test_a_machine_plays_it_again_from_snapshots(target: str) -> None:
    """All scenarios on each target; in a run that is a sample others on each."""
    for scenario in sampling.each_or(SCENARIOS[TARGETS.index(target) :: len(TARGETS)], SCENARIOS):
        expected = [step.answer for step in scenario.steps]
        assert played_again(scenario, target) == 3 * [expected], scenario.identifier


@pytest.mark.sample(2)
@pytest.mark.parametrize("target", TARGETS)
def test_the_same_by_way_of_the_plt(target: str) -> None:
    for scenario in SCENARIOS:
        if any("lazy" in step.flags for step in scenario.steps):
            assert played(scenario, target, BindMode.FAITHFUL) == [step.answer for step in scenario.steps]


ON_X86_64 = pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine != "x86_64",
    reason="the host's own ld.so is not an x86-64 one",
)


@ON_X86_64
@each("scenario", NATIVE, ids=lambda scenario: scenario.identifier)
def test_the_hosts_own_linker_plays_it_so(scenario: Scenario) -> None:
    assert played_natively(scenario) == [step.answer for step in scenario.steps]


_V9, _V1 = "V9 { global: value_of; local: *; };", "V1 { global: value_of; local: *; };"
BROKEN = Scenario(
    "broken",
    (
        Lib("gone", "int gone(int n) { return n; }", flags="-soname=libgone.so.7"),
        Lib("needy", "int gone(int); int needy(int n) { return gone(n); }", ("gone",)),
        Lib("unresolved", "int nobody_has_this(int); int f(int n) { return nobody_has_this(n); }"
                          "int (*pointer)(int) = nobody_has_this;"),
        Lib("newer", "int value_of(int n) { return n; }", flags="-soname=older.so", versions=_V9),
        Lib("older", "int value_of(int n) { return n; }", versions=_V1),
        Lib("outdated", "int value_of(int); int f(int n) { return value_of(n); }", ("newer",)),
    ),
    (),
)  # fmt: skip


@ON_X86_64
@pytest.mark.parametrize("library", ["needy", "unresolved", "outdated"])
def test_errors_are_worded_as_by_the_hosts_own_linker(library: str) -> None:
    """A machine adds who needs what is missing, and everywhere it was looked for."""
    ours, _, _ = message(BROKEN, "x86_64", library).partition("\n")
    assert ours.partition(" (needed by ")[0] == message_of_the_host(BROKEN, library) != ""

"""Scenarios on every target, and under the host's ld.so, whose answers are the ones that count."""

from __future__ import annotations

import os
import sys

import pytest

from relink.lazy import Binding
from tests.objects.build import TARGETS
from tests.scenarios.engine import Scenario, played, played_natively
from tests.scenarios.scenarios import SCENARIOS

NAMED = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.identifier)
NATIVE = [scenario for scenario in SCENARIOS if scenario.native]


@NAMED
@pytest.mark.parametrize("target", TARGETS)
def test_a_machine_plays_it(scenario: Scenario, target: str) -> None:
    assert played(scenario, target) == [step.answer for step in scenario.steps]


@pytest.mark.parametrize("target", TARGETS)
def test_the_same_by_way_of_the_plt(target: str) -> None:
    for scenario in SCENARIOS:
        if any("lazy" in step.flags for step in scenario.steps):
            assert played(scenario, target, Binding.FAITHFUL) == [step.answer for step in scenario.steps]


@pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine != "x86_64",
    reason="the host's own ld.so is not an x86-64 one",
)
@pytest.mark.parametrize("scenario", NATIVE, ids=lambda scenario: scenario.identifier)
def test_the_hosts_own_linker_plays_it_so(scenario: Scenario) -> None:
    assert played_natively(scenario) == [step.answer for step in scenario.steps]

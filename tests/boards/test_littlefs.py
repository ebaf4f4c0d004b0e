"""The littlefs example: a sound driver survives every cut of the power, and each seeded mistake is found.

Needs the package index for littlefs's sources, once: only run with `-m network`.
"""

from __future__ import annotations

from types import ModuleType

import pytest

from emu.fetch.errors import FetchError
from tests.boards.examples import example
from tests.objects.build import TARGETS

pytest.importorskip("ziglang", reason="littlefs is compiled with the ziglang wheel")
pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def littlefs() -> ModuleType:
    """The example, with littlefs's sources fetched."""
    module = example("littlefs/simulate.py")
    try:
        module.sources()
    except FetchError as error:
        pytest.skip(f"littlefs's sources cannot be fetched: {error}")
    return module


@pytest.mark.parametrize("target", TARGETS)
def test_littlefs_survives_every_cut(littlefs: ModuleType, target: str) -> None:
    sweep = littlefs.tried(target)
    assert sweep.bad == []
    assert sweep.modes["torn"] == 4 * sweep.modes["before"] == 4 * sweep.modes["after"] > 40
    assert sweep.states > 40


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("REORDERS", "littlefs returns -84"),
        ("IGNORES_SYNC", "version 1 starts, though the update was complete"),
        ("TRUSTS_ERASE", "would set bits that only an erase sets"),
    ],
)
def test_each_mistake_of_a_driver_is_found_with_one_cut(littlefs: ModuleType, fault: str, problem: str) -> None:
    sweep = littlefs.tried("thumb", fault)
    assert any(problem in str(outcome.problem) for outcome in sweep.bad)
    assert len(sweep.bad) < len(sweep.outcomes)

"""What a session costs, counted: machines, loads and builds do not grow with the tests."""

from __future__ import annotations

from collections import Counter

import pytest

from emu import Machine
from emu.build.targets import ALL
from emu.pytest_plugin import pool
from tests.pytest_plugin.conftest import Session

pytest_plugins = ("pytester",)

TESTS = """
@pytest.mark.parametrize("number", range({}))
def test_add(lib, number):
    assert lib.add(number, 1) == number + 1
"""


def test_there_is_one_machine_for_a_library_and_an_architecture(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 3
    machines: Counter[str] = Counter()
    resets: Counter[str] = Counter()
    make, reset = Machine.__init__, pool.Loaded.reset

    def counted(self: Machine, arch: str, **options: object) -> None:
        machines[str(arch)] += 1
        make(self, arch, **options)  # type: ignore[arg-type]

    def counted_reset(self: pool.Loaded, *arguments: object) -> object:
        resets[self.target.name] += 1
        return reset(self, *arguments)

    monkeypatch.setattr(Machine, "__init__", counted)
    monkeypatch.setattr(pool.Loaded, "reset", counted_reset)
    session(TESTS.format(count)).assert_outcomes(passed=count * len(ALL))
    assert sum(machines.values()) == len(ALL)
    assert resets == dict.fromkeys(ALL, count - 1)

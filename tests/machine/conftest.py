"""Machines for tests: one per target, closed afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from emu import Machine
from tests.fixtures import arch_of, fixture

MakeMachine = Callable[..., Machine]


@pytest.fixture
def make_machine(target: str) -> Iterator[MakeMachine]:
    """Makes machines of the target's architecture that find the target's fixtures."""
    machines: list[Machine] = []

    def make(**options: object) -> Machine:
        folder = fixture(target, "basic").parent
        options.setdefault("library_path", [folder, folder / "startup", folder / "deps"])
        machines.append(Machine(arch_of(target), **options))  # type: ignore[arg-type]
        return machines[-1]

    yield make
    for machine in machines:
        machine.close(run_destructors=False)


@pytest.fixture
def machine(make_machine: MakeMachine) -> Machine:
    """A machine with default options."""
    return make_machine()

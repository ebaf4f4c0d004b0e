"""Mocks whose making or end a signal handler interrupts, and mocks of mocks: functions are as they were."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from emu import Machine, PatchError
from emu.build.targets import TARGETS
from emu.pytest_plugin.control import Guest
from emu.pytest_plugin.mocks import MockError
from emu.pytest_plugin.pool import Loaded
from tests.fixtures import arch_of, fixture
from tests.interrupts import interrupted


@pytest.fixture
def loaded() -> Iterator[Loaded]:
    path = fixture("x86_64", "basic")
    with Machine(arch_of("x86_64")) as machine:
        library = machine.load(path, symbols={"my_host_function": lambda value: value * 2})
        yield Loaded(machine, library, TARGETS["x86_64"], [])


def _results(loaded: Loaded) -> list[int]:
    """Of a function that calls an import, and of one of the library's own."""
    return [
        loaded.library.function("awesome_func", "int(int)")(42),
        loaded.library.function("add", "int(int, int)")(3, 4),
    ]


def _records(loaded: Loaded) -> dict[str, object]:
    machine = loaded.machine
    quick: Any = machine.cpu.heap_calls
    return {"traps": len(machine.traps), "patches": len(machine.patcher.patches), "paused": len(quick._pausing)}


@pytest.mark.parametrize("name", ["my_host_function", "awesome_func"])
def test_a_mock_is_whole_or_not_there(loaded: Loaded, name: str) -> None:
    def whole() -> None:
        with guest.mock(name, "int(int)", returns=1):
            assert _results(loaded) == [1, 7]
        with guest.spy(name, "int(int)") as watched:
            assert _results(loaded) == before
            assert len(watched.results) == 1

    guest, before = Guest(loaded), _results(loaded)
    whole()
    whole()  # what is made once is made
    records = _records(loaded)
    for number in count(1, 149):
        passed = interrupted(whole, number, starts=True)
        guest.undo()
        assert (_results(loaded), _records(loaded)) == (before, records), number
        if passed < number:
            break
    assert number > 1000


@pytest.mark.parametrize("name", ["my_host_function", "awesome_func"])
def test_mocks_of_one_function_are_undone_in_their_order(loaded: Loaded, name: str) -> None:
    guest, before = Guest(loaded), _results(loaded)
    first = guest.mock(name, "int(int)", returns=1)
    mocked = _results(loaded)
    second = guest.mock(name, "int(int)", returns=2)
    with pytest.raises((MockError, PatchError)):
        first.undo()
    second.undo()
    assert _results(loaded) == mocked
    first.undo()
    assert _results(loaded) == before


def test_a_spy_of_a_spy_sees_each_call_once(loaded: Loaded) -> None:
    guest, before = Guest(loaded), _results(loaded)
    first, second = (guest.spy("my_host_function", "int(int)") for _ in range(2))
    assert _results(loaded) == before
    assert first.call_count == second.call_count == 1
    second.undo()
    first.undo()
    assert _results(loaded) == before

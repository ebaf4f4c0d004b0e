"""C++: what needs no run time works without one, and what does is named when it is reached."""

from __future__ import annotations

import pytest

from emu import HostFunction, Machine
from emu.errors import UnresolvedCall
from tests.fixtures import fixture


def test_code_with_exceptions_runs_until_it_throws(machine: Machine, target: str) -> None:
    library = machine.load(
        fixture(target, "cxx_exceptions"),
        allow_unresolved=True,
        symbols={"my_host_function": HostFunction(lambda value: value * 2, "int(int)")},
    )
    guarded, caught = library.function("guarded", "int(int)"), library.function("caught", "int(int)")
    assert guarded(3) == 6 + 1
    assert caught(4) == 8
    assert library.symbols["guards"].read("int") == 0, "destructors ran"
    with pytest.raises(UnresolvedCall, match="__cxa_allocate_exception"):
        caught(-3)

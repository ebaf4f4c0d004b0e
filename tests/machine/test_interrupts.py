"""Exceptions of signal handlers anywhere in an operation: it can be repeated, and the machine is as it was."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from emu import BudgetExceeded, Library, Machine
from emu.cpu.unicorn import api
from relink.module import Stage
from tests.fixtures import arch_of, fixture
from tests.interrupts import interrupted

#: How many points of each operation; RELINK_INTERRUPTS asks for more.
POINTS = int(os.environ.get("RELINK_INTERRUPTS", "12"))


def _load(machine: Machine, library: Library) -> None:
    machine.unload(machine.load(fixture(machine.arch.name, "ctors"), allow_unresolved=True).image)


def _load_object(machine: Machine, library: Library) -> None:
    machine.unload(machine.load(fixture(machine.arch.name, "objects/ctors"), allow_unresolved=True).image)


def _call(machine: Machine, library: Library) -> None:
    assert library.visit(lambda context, name: context, 20, ["a", "b"], 2) == 40


def _restore(machine: Machine, library: Library) -> None:
    snapshot = machine.snapshot()
    library.point_by_value((1, 2.5))
    machine.restore(snapshot)


def _trace(machine: Machine, library: Library) -> None:
    with machine.trace() as trace, machine.coverage():
        library.point_by_value((1, 2.5))
    assert "point_by_value" in str(trace)


def _reach_a_limit(machine: Machine, library: Library) -> None:
    with pytest.raises(BudgetExceeded, match="after 1 instruction"):  # inside a block
        library.point_by_value((1, 2.5), max_instructions=1)


@pytest.mark.sample(4)
@pytest.mark.parametrize("operation", [_load, _load_object, _call, _restore, _trace, _reach_a_limit])
@pytest.mark.parametrize("target", ["x86_64", "loongarch64"])
def test_operations_can_be_interrupted_anywhere(
    target: str, operation: Callable[[Machine, Library], None]
) -> None:
    dice = random.Random(f"{target} {operation.__name__}")
    with Machine(arch_of(target)) as machine:
        library = machine.load(fixture(target, "basic-dwarf5"), allow_unresolved=True)

        def whole() -> None:
            operation(machine, library)

        whole()
        points, traps = interrupted(whole, 0, starts=True), len(machine.traps)
        for number in sorted(dice.choices(range(1, points + 1), k=POINTS)):
            interrupted(whole, number, starts=True)
            for image in machine.linker.images[1:]:  # the interrupt came after the load, before the unload
                assert image.stage is Stage.INITIALISED
                machine.unload(image)
            whole()
            assert machine.linker.images == [library.image]
            assert len(machine.traps) == traps
            assert library.point_by_value((1, 2.5)) == (2, 2.5)


@pytest.mark.parametrize("number", [1, 2])  # when the block is cut, and when it is made whole again
@pytest.mark.parametrize("target", ["x86_64", "thumb", "riscv32"])
def test_a_block_that_a_limit_cuts_is_made_whole_again(
    target: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def control(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            raise KeyboardInterrupt
        original(*arguments)

    original = api.control
    with Machine(arch_of(target)) as machine:
        library = machine.load(fixture(target, "basic-dwarf5"), allow_unresolved=True)
        _reach_a_limit(machine, library)
        monkeypatch.setattr(api, "control", control)
        with pytest.raises(KeyboardInterrupt):
            _reach_a_limit(machine, library)
        _reach_a_limit(machine, library)
        assert library.point_by_value((1, 2.5)) == (2, 2.5)

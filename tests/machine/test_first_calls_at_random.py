"""Two machines that do the same at random: one looks calls up ahead, the other binds each by itself."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from emu import Library, Machine
from emu.load.look_ahead import _Prepared
from relink.errors import RelinkError
from relink.image import image_of
from relink.relocate.lazy import BindMode, SlotBinding
from relink.resolve.sources import DefinedSymbols
from tests.fixtures import arch_of
from tests.machine.test_first_calls import COUNT, callee, caller, firsts, words


def _called(machine: Machine, lib: Library, name: str, limit: int) -> int:
    result = machine.call(lib.function(name, "int(int)").address, "int(int)", 3, max_instructions=limit)
    return int(result)


class Twins:
    """Two machines that do the same, of which the second binds each call by itself."""

    def __init__(self, target: str, rng: random.Random, machines: tuple[Machine, Machine]) -> None:
        self.target, self.rng, self.machines = target, rng, machines
        machines[1].parts.lazy_calls._ahead.bind = (  # type: ignore[method-assign]
            lambda slots, slot, start: machines[1].linker.bind_slot(image_of(slots.image), slot)
        )
        self.callers: list[list[Library]] = []
        self.providers: list[list[Library]] = []
        self.saved: list[tuple[list[Any], list[list[Library]], list[list[Library]]]] = []
        self.versions, self.sources = 0, len(machines[0].linker.resolver.before)

    def both(self, what: Callable[[Machine, int], Any]) -> list[Any]:
        """What is done on both, with the same outcome."""
        outcomes, told = list[Any](), list[object]()
        for number, machine in enumerate(self.machines):
            try:
                outcomes.append(what(machine, number))
                told.append(outcomes[-1] if isinstance(outcomes[-1], int) else None)
            except RelinkError as error:
                outcomes.append(None)
                told.append(str(error))
        assert told[0] == told[1]
        return outcomes

    def call(self) -> None:
        libs, first = self.rng.choice(self.callers), self.rng.randrange(COUNT)
        some = range(first, min(first + self.rng.randrange(1, 8), COUNT))
        limit = self.rng.choice((0, 0, 0, 0, 90))
        for called in some:
            self.both(lambda machine, number: _called(machine, libs[number], f"g{called}", limit))  # noqa: B023

    def provide(self) -> None:
        self.versions += 1
        names = range(self.rng.randrange(COUNT), COUNT)
        path = callee(self.target, plus=self.versions % 4, only=names)
        local = self.rng.random() < 0.3
        self.providers.append(self.both(lambda machine, number: machine.load(path, local=local)))

    def use(self) -> None:
        self.versions += 1
        path = caller(self.target, f"libcaller{self.versions % 6}.so")
        binding = self.rng.choice((BindMode.LAZY, BindMode.LAZY, BindMode.FAITHFUL))
        self.callers.append(self.both(lambda machine, number: machine.load(path, binding=binding)))

    def close(self) -> None:
        some = self.rng.choice((self.callers[1:], self.providers))
        if some:
            libs = self.rng.choice(some)
            self.both(lambda machine, number: libs[number].close())
            for kept in (self.callers, self.providers):
                kept[:] = [each for each in kept if each is not libs]

    def source(self) -> None:
        name = f"f{self.rng.randrange(COUNT)}"
        settled = self.rng.random() < 0.7
        for machine in self.machines:
            before = machine.linker.resolver.before
            if len(before) > self.sources:
                del before[-1]
            elif settled:
                before.append(DefinedSymbols({name: machine.define(name, (lambda: 77, "int(void)"))}))
            else:
                before.append(lambda request: None)

    def save(self) -> None:
        snapshots = self.both(lambda machine, number: machine.snapshot())
        self.saved.append((snapshots, self.callers.copy(), self.providers.copy()))

    def restore(self) -> None:
        if self.saved:
            snapshots, self.callers, self.providers = self.saved.pop()
            self.both(lambda machine, number: machine.restore(snapshots[number]))

    def step(self) -> None:
        actions = [*[self.call] * 16, self.provide, self.use, self.close, self.source, self.save, self.restore]
        self.rng.choice(actions)()
        self.both(lambda machine, number: hash(str([words(machine, libs[number]) for libs in self.callers])))
        first, second = (firsts(machine) for machine in self.machines)
        assert first == second


@pytest.mark.parametrize("target", ["x86_64", "thumb", "riscv32", "loongarch64"])
def test_nothing_tells_whether_calls_are_looked_up_ahead(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[int] = []
    take = _Prepared.take

    def taken(prepared: _Prepared, slot: int, address: int) -> SlotBinding:
        used.append(slot)
        return take(prepared, slot, address)

    monkeypatch.setattr(_Prepared, "take", taken)
    with Machine(arch_of(target)) as one, Machine(arch_of(target)) as other:
        twins = Twins(target, random.Random(target), (one, other))
        twins.provide()
        twins.use()
        for _ in range(60):
            twins.step()
    assert len(used) > 5

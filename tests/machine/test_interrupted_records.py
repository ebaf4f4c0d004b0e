"""Signal handlers that raise at any point of an operation: no record of it is left in the machine's tables."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from emu import Library, Machine
from tests.fixtures import arch_of, fixture
from tests.interrupts import interrupted


def _records(machine: Machine) -> dict[str, object]:
    """What an operation may leave: numbers of records, and whether the machine is in use."""
    runner, traps = machine.runner, machine.traps
    return {
        "traps": len(traps),
        "addresses of traps": traps._next // traps.spacing - len(traps._free) - len(traps._freed),
        "blocks": machine.heap.blocks(),
        "lent": len(runner.lent),
        "interrupted functions": len(runner._suspended),
        "calls": runner.depth,
        "uses": runner.uses,
        "operation": (runner.in_operation, runner.shared),
    }


def _check_all(target: str, operation: Callable[[Machine, Library], None], every: int = 1) -> None:
    """Interrupt an operation, which leaves nothing, at one of `every` points."""
    with Machine(arch_of(target)) as machine:
        library = machine.load(fixture(target, "basic-dwarf5"), allow_unresolved=True)

        def whole() -> None:
            operation(machine, library)

        whole()
        whole()  # what is made once is made
        before = _records(machine)
        for number in count(1, every):
            passed = interrupted(whole, number, starts=True)
            assert _records(machine) == before, number
            if passed < number:
                break
        assert number > 20
        whole()
        assert _records(machine) == before


def test_a_call_with_a_callback_and_a_large_buffer() -> None:
    buffer = bytearray(100_000)

    def call(machine: Machine, library: Library) -> None:
        assert library.visit(lambda context, name: 1, buffer, ["a", "b"], 2) == 2

    _check_all("x86_64", call)


def test_a_nested_call() -> None:
    def call(machine: Machine, library: Library) -> None:
        def visitor(context: int, name: bytes) -> int:
            return int(library.visit(lambda context, name: context, 1, ["c"], 1))

        assert library.visit(visitor, 20, ["a"], 1) == 1

    _check_all("x86_64", call, 3)

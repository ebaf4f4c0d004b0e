"""What a session costs, counted: machines, loads and builds do not grow with the tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from emu import Machine
from emu.build.targets import ALL, TARGETS
from emu.pytest_plugin import pool
from emu.pytest_plugin.control import Guest
from emu.pytest_plugin.pool import Loaded
from relink.memory.address_space import Protection
from tests.counting import python_calls
from tests.linker.craft import DATA, Library, Rel, undefined
from tests.linker.numbers import SYMBOLIC
from tests.machine.test_many_points import of_functions
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


@contextmanager
def _guest(library: bytes | Path) -> Iterator[Guest]:
    with Machine("x86_64") as machine:
        loaded = machine.load(library, allow_unresolved=True)
        yield Guest(Loaded(machine, loaded, TARGETS["x86_64"], []))


@pytest.mark.not_taken_back("counts calls")
def test_a_mock_of_a_function_makes_one_call_for_each_patch() -> None:
    def cost(count: int) -> int:
        with _guest(of_functions("x86_64", 10)) as guest:
            machine = guest.machine
            code = machine.memory.map_anonymous(64 * count, Protection.R | Protection.X)
            for number in range(count):
                machine.patch(code + 64 * number, lambda: 0, size=64)
            return python_calls(lambda: guest.mock("f1", "int(int)", returns=7).undo())

    cost(10)  # what is made once
    few = cost(10)
    assert few > 100, "the counter counts"
    assert cost(300) <= few + 1.5 * 290


@pytest.mark.not_taken_back("counts calls")
def test_a_mock_of_an_import_makes_one_call_for_each_other_import() -> None:
    def cost(count: int) -> int:
        needs = [undefined(f"f{number}") for number in range(count)]
        words = [Rel(DATA + 8 * number, SYMBOLIC["x86_64"], symbol) for number, symbol in enumerate(needs)]
        library = Library("x86_64", "lib.so", symbols=needs, relocations=words, data=bytes(8 * count))
        with _guest(library.image()) as guest:
            return python_calls(lambda: guest.mock("f1", "int(int)", returns=7).undo())

    cost(10)  # what is made once
    few = cost(10)
    assert few > 100, "the counter counts"
    assert cost(300) <= few + 1.5 * 290

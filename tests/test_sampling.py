"""Which tests a sample has: the same every time, of every function, and in the end of every target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest

from tests.sampling import of_one_compiler, sampled
from toolchains.targets import TARGETS


class Item:
    """What sampling asks of a test."""

    def __init__(self, nodeid: str, marker: pytest.Mark | None = None) -> None:
        self.nodeid = nodeid
        self.marker = marker

    def get_closest_marker(self, name: str) -> pytest.Mark | None:
        return self.marker if self.marker is not None and self.marker.name == name else None


def chosen(items: Sequence[Item], slow: Sequence[str] = ()) -> list[str]:
    kept, left = sampled(cast(list[pytest.Item], items), slow)
    assert len(kept) + len(left) == len({*kept, *left}) == len(items)
    return [item.nodeid for item in kept]


def test_two_targets_of_a_function_run_and_one_of_a_slow_one() -> None:
    items = [Item(f"a.py::test_{name}[{target}-x]") for name in ("quick", "slow") for target in TARGETS]
    kept = chosen(items, ["a.py::test_slow"])
    assert [sum(f"test_{name}[" in each for each in kept) for name in ("quick", "slow")] == [2, 1]
    assert kept == chosen(items, ["a.py::test_slow"])


def test_each_target_runs_in_some_function() -> None:
    kept = chosen([Item(f"a.py::test_{number}[{target}]") for number in range(40) for target in TARGETS])
    assert {each.partition("[")[2].removesuffix("]") for each in kept} == {*TARGETS}


def test_one_compiler_runs_of_each_target_and_marks_say_how_many() -> None:
    both = [Item(f"a.py::test_it[{target}-{compiler}]") for target in TARGETS for compiler in ("gcc", "clang")]
    assert len(chosen(both)) == 2
    few = [Item(f"a.py::test_few[{number}]", pytest.mark.sample(3).mark) for number in range(9)]
    assert len(chosen(few)) == 3
    assert chosen([Item("a.py::test_long", pytest.mark.exhaustive.mark)]) == []


def one_compiler(items: Sequence[Item]) -> list[str]:
    return [item.nodeid for item in of_one_compiler(cast(list[pytest.Item], items))]


def test_one_compiler_of_each_target_is_enough_where_that_is_marked() -> None:
    marked = [
        Item(f"a.py::test_it[{target}-{compiler}]", pytest.mark.one_compiler.mark)
        for target in TARGETS
        for compiler in ("gcc", "clang")
    ]
    others = [Item("a.py::test_all[arm-gcc]"), Item("a.py::test_all[arm-clang]"), Item("a.py::test_none")]
    kept = one_compiler([*marked, *others])
    assert kept[-3:] == [item.nodeid for item in others]
    targets, compilers = zip(*(name.partition("[")[2].split("-") for name in kept[:-3]), strict=True)
    assert targets == (*TARGETS,)
    assert {*compilers} == {"gcc]", "clang]"}
    assert one_compiler(marked[:1]) == [marked[0].nodeid], "which was named"

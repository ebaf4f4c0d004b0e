"""What a run of the whole suite, or of folders of it, leaves to `pytest --exhaustive`, which CI runs.

These run; the choice is the same every time:

- of tests that differ only in the compiler of their fixtures one, with GCC and Clang in turn from architecture to
  architecture;
- of tests that differ only in their target two of eight, with other targets from test to test, and one of eight
  where the function is slow (`tests/slow.txt`);
- of the members of large tables (`tests.grouping.each(…, sample=N)`) and of the tests of a costly function
  (`pytest.mark.sample(N)`) so many, spread evenly;
- of random changes and Hypothesis' examples a quarter (`examples(N)`).

A run that names files or tests, architectures, compilers or members omits none of these. Of tests that are marked
`one_compiler` always one compiler's run, unless the run names it: their claims do not depend on who compiled code.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence
from typing import TypeVar
from zlib import crc32

import pytest

from toolchains.targets import COMPILERS, TARGETS

_T = TypeVar("_T")
_all_examples = True
_COMPILER = re.compile(rf"-({'|'.join(COMPILERS)})(?=[\]-])")
_ARCHES = tuple(TARGETS)
_TARGET = re.compile(rf"(?<=[\[-])({'|'.join(_ARCHES)})(?=[\]-])")
_TARGETS_A_TEST = 2  #: of eight, of each test that differs only in its target


def everything(config: pytest.Config) -> bool:
    """Whether this run leaves nothing out."""
    names = any(".py" in str(argument) for argument in getattr(config, "args", ()))
    return names or any(
        config.getoption(option) for option in ("exhaustive", "arch", "compiler", "member", "keyword")
    )


def examples(count: int) -> int:
    """How many examples of random changes to try: a quarter, unless all are asked for."""
    return count if _all_examples else count // 4


def each_or(some: Sequence[_T], every: Sequence[_T]) -> Sequence[_T]:
    """`every` one where nothing is left out of a run, else some."""
    return every if _all_examples else some


def configure(config: pytest.Config) -> None:
    """Note what the run asks for, before test modules say how many examples they want."""
    global _all_examples
    _all_examples = everything(config)


def spread(rows: Sequence[_T], count: int, salt: str) -> list[_T]:
    """`count` of the rows, evenly spread, from a place that `salt` decides."""
    size = len(rows)
    begin = crc32(salt.encode())
    return [rows[(begin + size * number // count) % size] for number in range(min(count, size))]


def sampled(
    items: Iterable[pytest.Item], slow: Container[str] = ()
) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """Items to run, and those that are left: marked, or different from one that runs in their compiler or target
    alone. `slow` are the functions of which fewer run.
    """
    items = list(items)
    names = {item.nodeid for item in items}
    left = [item for item in items if item.get_closest_marker("exhaustive") or _is_left(item.nodeid, names)]
    groups: dict[tuple[str, int], list[pytest.Item]] = {}
    for item in set(items).difference(left):
        if marker := item.get_closest_marker("sample"):
            groups.setdefault((item.nodeid.partition("[")[0], marker.args[0]), []).append(item)
        else:
            alike = _TARGET.sub("*", _COMPILER.sub("", item.nodeid), count=1)
            count = 1 if item.nodeid.partition("[")[0] in slow else _TARGETS_A_TEST
            groups.setdefault((alike, count), []).append(item)
    for (group, count), tests in groups.items():
        tests.sort(key=lambda item: item.nodeid)
        left += set(tests).difference(spread(tests, count, group))
    leaves = set(left)
    return [item for item in items if item not in leaves], left


def of_one_compiler(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Without those that are marked `one_compiler` and differ in their compiler alone from one that runs."""
    names = {item.nodeid for item in items}
    return [i for i in items if not (i.get_closest_marker("one_compiler") and _is_left(i.nodeid, names))]


def _is_left(nodeid: str, names: set[str]) -> bool:
    found = _COMPILER.search(nodeid)
    if found is None:
        return False
    there = [
        compiler
        for compiler in COMPILERS
        if f"{nodeid[: found.start()]}-{compiler}{nodeid[found.end() :]}" in names
    ]
    function, _, parameters = nodeid.partition("[")
    arch = next((number for number, name in enumerate(_ARCHES) if f"{name}-" in parameters), 0)
    return there[(crc32(function.encode()) + arch) % len(there)] != found[1]

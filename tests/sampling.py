"""What a run of the whole suite, or of folders of it, leaves to `pytest --exhaustive`, which CI runs.

Of tests that differ in the compiler of their fixtures alone one runs, with GCC's and Clang's in turn from
architecture to architecture; of members of large tables (`tests.grouping.each(…, sample=N)`) some, spread evenly,
and so of tests of a dear function (`pytest.mark.sample(N)`), with other architectures from function to function.
The choice is the same every time. Who names files or tests, architectures, compilers or members gets all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TypeVar
from zlib import crc32

import pytest

from toolchains.targets import COMPILERS, TARGETS

_T = TypeVar("_T")
_all_examples = True
_COMPILER = re.compile(rf"-({'|'.join(COMPILERS)})(?=[\]-])")
_ARCHES = tuple(TARGETS)


def everything(config: pytest.Config) -> bool:
    """Whether this run leaves nothing out."""
    names = any(".py" in str(argument) for argument in getattr(config, "args", ()))
    return names or any(
        config.getoption(option) for option in ("exhaustive", "arch", "compiler", "member", "keyword")
    )


def examples(count: int) -> int:
    """How many examples of random changes to try: a quarter, unless all are asked for."""
    return count if _all_examples else count // 4


def configure(config: pytest.Config) -> None:
    """Note what the run asks for, before test modules say how many examples they want."""
    global _all_examples
    _all_examples = everything(config)


def spread(rows: Sequence[_T], count: int, salt: str) -> list[_T]:
    """`count` of the rows, evenly spread, from a place that `salt` decides."""
    size = len(rows)
    begin = crc32(salt.encode())
    return [rows[(begin + size * number // count) % size] for number in range(min(count, size))]


def sampled(items: Iterable[pytest.Item]) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """Items to run, and those that are left: marked, or different from one that runs in their compiler alone."""
    items = list(items)
    names = {item.nodeid for item in items}
    left = [item for item in items if item.get_closest_marker("exhaustive") or _is_left(item.nodeid, names)]
    functions: dict[str, list[pytest.Item]] = {}
    for item in set(items).difference(left):
        if item.get_closest_marker("sample"):
            functions.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for function, tests in functions.items():
        tests.sort(key=lambda item: item.nodeid)
        marker = tests[0].get_closest_marker("sample")
        assert marker is not None
        left += set(tests).difference(spread(tests, marker.args[0], function))
    leaves = set(left)
    return [item for item in items if item not in leaves], left


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

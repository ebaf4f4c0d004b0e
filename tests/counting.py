"""Counts instead of times: calls of Python functions, of the engine, and objects that remain.

A count is the same on every run, so that a cost that grows with the input shows as another number.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from emu.cpu.protocol import Cpu


@contextmanager
def _profiled(count_one: Callable[[FrameType, str, object], None]) -> Iterator[None]:
    """Call a function for each call that is made within."""
    before = sys.getprofile()
    sys.setprofile(count_one)
    try:
        yield
    finally:
        sys.setprofile(before)


def python_calls(action: Callable[[], object]) -> int:
    """How many functions, of Python and built in, `action` calls."""
    count = 0

    def count_one(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    gc.collect()
    gc.disable()  # finalisers of others' objects are no cost of this
    try:
        with _profiled(count_one):
            action()
    finally:
        gc.enable()
    return count


def python_lines(action: Callable[[], object]) -> int:
    """How many lines of Python `action` runs: also of loops that call nothing."""
    count, before = 0, sys.gettrace()

    def count_one(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return count_one

    sys.settrace(count_one)
    try:
        action()
    finally:
        sys.settrace(before)
    return count


@contextmanager
def engine_calls(monkeypatch: pytest.MonkeyPatch, cpu: type[Cpu]) -> Iterator[Counter[str]]:
    """Count the calls of methods of machines' engines that are made within: each public method of `Cpu`."""
    calls: Counter[str] = Counter()
    with monkeypatch.context() as patch:
        for name in vars(Cpu):
            real = getattr(cpu, name, None)
            if name.startswith("_") or not callable(real):
                continue

            def counted(
                *args: object, _name: str = name, _real: Callable[..., object] = real, **more: object
            ) -> object:
                calls[_name] += 1
                return _real(*args, **more)

            patch.setattr(cpu, name, counted)
        yield calls


def objects_left(action: Callable[[], object]) -> int:
    """How many blocks of memory of Python remain allocated of what `action` makes; it must give what it keeps."""
    gc.collect()
    before = sys.getallocatedblocks()
    kept = action()
    gc.collect()
    after = sys.getallocatedblocks()
    del kept
    return after - before


#: Functions of the operating system that a file or a folder is asked with.
_FILES = frozenset("stat lstat fstat open read readinto listdir scandir readlink access".split())


def file_calls(action: Callable[[], object]) -> Counter[str]:
    """How often `action` asks about files, opens and reads them."""
    calls: Counter[str] = Counter()

    def count_one(frame: FrameType, event: str, argument: object) -> None:
        if event == "c_call" and (name := getattr(argument, "__name__", "")) in _FILES:
            calls[name] += 1

    with _profiled(count_one):
        action()
    return calls


def most_bytes(action: Callable[[], object]) -> int:
    """How many bytes of Python and numpy `action` has in use at once, beyond what was there before."""
    gc.collect()
    tracemalloc.start()
    try:
        kept = action()
        most = tracemalloc.get_traced_memory()[1]
        del kept
    finally:
        tracemalloc.stop()
    return most


def per_item(cost: Callable[[int], int], size: int) -> float:
    """What one item more costs, of inputs of `size`, twice and four times as many.

    Fails when the last of them cost 1.4 times what the first did: of a cost that grows with the square they cost
    twice as much, and the steps in which containers grow show in smaller differences.
    """
    one, two, four = cost(size), cost(2 * size), cost(4 * size)
    first, later = (two - one) / size, (four - two) / (2 * size)
    few = 0.1 * one / size
    most = 1.4 * max(first, 0) + few
    assert later <= most, f"one costs {first:.2f} at first, {later:.2f} later: {one}, {two}, {four}"
    return later

"""Counts instead of times: calls of Python functions, of the engine, and objects that remain.

A count is the same on every run, so that a cost that grows with the input shows as another number.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

from emu.cpu.protocol import Cpu


def python_calls(action: Callable[[], object]) -> int:
    """How many functions, of Python and built in, `action` calls."""
    count = 0

    def count_one(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    gc.collect()
    gc.disable()  # finalisers of others' objects are no cost of this
    before = sys.getprofile()
    sys.setprofile(count_one)
    try:
        action()
    finally:
        sys.setprofile(before)
        gc.enable()
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

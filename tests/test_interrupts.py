"""What tests of signal handlers rely on: `tests.interrupts`."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from relink.errors import printable
from tests.interrupts import interrupted


def test_the_trace_function_lives_as_long_as_the_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when tracing has ended: CPython 3.11 may call it once more, which was a segmentation fault."""
    settrace, given, alive = sys.settrace, list[weakref.ref[Any]](), list[bool]()

    def noted(function: Callable[..., Any] | None) -> None:
        if function is not None:
            given.append(weakref.ref(function))
        settrace(function)

    monkeypatch.setattr(sys, "settrace", noted)
    passed = interrupted(
        lambda: printable("name"), 1, starts=True, handler=lambda: alive.append(given[0]() is not None)
    )
    assert passed == 1
    assert alive == [True]

"""SIGALRM at chosen times, for tests of signal handlers, which are skipped outside the main thread."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def alarms(handler: Callable[[], object], seconds: float, again: float = 0.0) -> Iterator[None]:
    """Call `handler` as SIGALRM's in `seconds`, and every `again` seconds from then on."""
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals arrive in the main thread, and this is another")
    before = signal.signal(signal.SIGALRM, lambda number, frame: handler())
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, again)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def interrupt() -> None:
    """A handler that raises as that of Ctrl-C does."""
    raise KeyboardInterrupt


class _Alarm(BaseException):
    """No OSError, as TimeoutError is: an import takes those of its search for a folder that cannot be read."""


@contextmanager
def _no_collection() -> Iterator[None]:
    """Python loses what is raised in finalisers and in `gc.callbacks`, of which hypothesis has one."""
    enabled = gc.isenabled()
    gc.collect()  # what other tests left
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def assert_nothing_raised_is_lost(run: Callable[[], object], seconds: float, times: int) -> None:
    """What a handler raises `seconds` after `run` began leaves `run`, that many times. `run` may return before."""
    raised = caught = 0

    def handle() -> None:
        nonlocal raised
        raised += 1
        raise _Alarm

    with _no_collection(), alarms(handle, 0.0):  # which begins in the `try` below
        while raised < times:
            try:
                signal.setitimer(signal.ITIMER_REAL, seconds)
                run()
                signal.setitimer(signal.ITIMER_REAL, 0)
            except _Alarm:
                caught += 1
    assert caught == raised

"""Debug information is read by one thread at a time.

Readers of it keep positions in streams, and iterators that go on where they stopped. They live as long as the
decoded file, which machines in several threads share (`relink.search.decoded_cache`).
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from relink.records.locks import shared_lock

_P = ParamSpec("_P")
_R = TypeVar("_R")

_kept: list[MutableMapping[Any, Any]] = []


def forget_in_child(readers: MutableMapping[Any, Any]) -> None:
    """Empty `readers` in a forked child if another thread was reading at the fork: iterators that this thread was
    in cannot go on, nor can streams that it had moved.
    """
    _kept.append(readers)


def _forget() -> None:
    for readers in _kept:
        readers.clear()


#: Held by the thread that reads; it may take it again.
READING = shared_lock(_forget)


def one_thread(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Let threads that call `function` wait for each other, and for all that read debug information."""

    @wraps(function)
    def waiting(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with READING:
            return function(*args, **kwargs)

    return waiting

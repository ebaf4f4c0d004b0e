"""Caches: `once_per_file` keeps results that depend on a decoded file alone, for later loads of the file;
`make_room` bounds a dictionary.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from relink.elf import Decoded

Result = TypeVar("Result")


def once_per_file(function: Callable[[Decoded], Result]) -> Callable[[Decoded], Result]:
    """Make a function of a decoded file compute its result once: it is kept in `Decoded.results`, as long as the
    decoded file. For results that nothing but the file's contents decides.
    """
    name = name_of(function)

    @wraps(function)
    def kept(decoded: Decoded) -> Result:
        results = decoded.results
        try:
            known: Result = results[name]
        except KeyError:
            known = results[name] = function(decoded)
        return known

    return kept


def caches_are_used() -> bool:
    """Whether caches that files on disk or released memory could make wrong are used: not with RELINK_EMU_NO_CACHE
    in the environment.
    """
    return not os.environ.get("RELINK_EMU_NO_CACHE")


def make_room(kept: dict[Any, Any], most: int) -> None:
    """Remove the oldest entries until there are fewer than `most`. Other threads may change the dictionary
    meanwhile.
    """
    while len(kept) >= most:
        try:
            kept.pop(next(iter(kept)), None)
        except (RuntimeError, StopIteration):  # changed between iter and next
            continue


def name_of(function: Callable[..., object]) -> str:
    """The name under which the results of a function are in `Decoded.results`."""
    return f"{function.__module__}.{function.__qualname__}"

"""`once_per_file`: what follows from a file alone is computed once, not in each load of the file."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar
from weakref import WeakKeyDictionary

from relink.elf import Decoded

Result = TypeVar("Result")


def once_per_file(function: Callable[[Decoded], Result]) -> Callable[[Decoded], Result]:
    """Keep the result of a function of a decoded file, which does not change, as long as the file is in use."""
    known: WeakKeyDictionary[Decoded, Result] = WeakKeyDictionary()

    @wraps(function)
    def kept(decoded: Decoded) -> Result:
        try:
            return known[decoded]
        except KeyError:
            found = known[decoded] = function(decoded)
            return found

    return kept

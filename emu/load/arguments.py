"""Checks of arguments of machines and loads."""

from __future__ import annotations

from enum import Enum
from typing import TypeVar

_E = TypeVar("_E", bound=Enum)


def named(kind: type[_E], option: str, value: object) -> _E:
    """The member of an enumeration for the value of an option, which may be its text. Raises ValueError."""
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(repr(each.value) for each in kind)
        raise ValueError(f"{option}={value!r} is none of {known}") from None


def check_sizes(**sizes: int) -> None:
    """Raise TypeError for a size that is no number, ValueError for a negative one."""
    try:
        if min(sizes.values()) >= 0:
            return
    except TypeError:
        pass
    for name, size in sizes.items():
        if not hasattr(size, "__float__"):
            raise TypeError(f"{name}={size!r} is no number")
        if size < 0:
            raise ValueError(f"sizes are not negative: {name}={size}")

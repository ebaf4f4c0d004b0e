"""Decorators for the pages' functions in `Reloc.special`, which declare what a quick path may rely on.

Where an image has few entries, they are applied one by one (`relink.relocate.few_of_object`). A function is not
called then where it would change nothing, and what it reads beside the place must not be about to change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from relink.records.tuples import NamedTuple

_Special = TypeVar("_Special", bound=Callable[..., Any])
_ONLY_IF_UNDEFINED: set[object] = set()
_ONLY_BEYOND: dict[object, int] = {}
_ALONE: dict[object, Callable[[OneSite, int], int]] = {}
_READS: dict[object, tuple[int, int]] = {}


def only_if_undefined(function: _Special) -> _Special:
    """For a function that changes nothing unless S is 0, the address of an undefined weak symbol."""
    _ONLY_IF_UNDEFINED.add(function)
    return function


def only_beyond(bits: int) -> Callable[[_Special], _Special]:
    """For a function that does not change a value that is a signed number of so many bits."""

    def noted(function: _Special) -> _Special:
        _ONLY_BEYOND[function] = bits
        return function

    return noted


class OneSite(NamedTuple):
    """The place of one entry, as `Sites` has those of many."""

    instruction: int  #: the four bytes at the place
    S: int
    A: int
    P: int
    function: bool  #: whether S is the address of a function


def alone(one: Callable[[OneSite, int], int]) -> Callable[[_Special], _Special]:
    """For a function whose result (64 bits) at one place `one` computes, with numbers instead of arrays."""

    def noted(function: _Special) -> _Special:
        _ALONE[function] = one
        return function

    return noted


def reads(*, before: int = 0, behind: int = 0) -> Callable[[_Special], _Special]:
    """For a function that reads so many bytes before and behind the place."""

    def noted(function: _Special) -> _Special:
        _READS[function] = before, behind
        return function

    return noted


def is_only_if_undefined(function: object) -> bool:
    """Whether a function changes nothing unless S is 0."""
    return function in _ONLY_IF_UNDEFINED


def bits_kept(function: object) -> int:
    """The bits of signed numbers that a function does not change; 0 for none."""
    return _ONLY_BEYOND.get(function, 0)


def for_one(function: object) -> Callable[[OneSite, int], int] | None:
    """The function of numbers that was given by `alone`; None without one."""
    return _ALONE.get(function)


def bytes_read(function: object) -> tuple[int, int] | None:
    """The number of bytes before and behind the place that a function reads, if any."""
    return _READS.get(function)

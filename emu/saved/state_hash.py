"""A hash of the state of a machine, by what has changed since it was last saved or restored.

It can be asked for inside a host function, in the middle of a call, where no snapshot can be taken. Two equal
hashes, counted from the same snapshot, mean the same memory, registers and objects of the machine; so the guest
goes on in the same way. What a host function keeps to itself is not the machine's (see `emu.saved.graph`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any

_SIZE = 16  #: bytes
_PLAIN = frozenset({int, float, bool, str, bytes, type(None), complex, range})
_ABSENT = ("absent",)


class UnknownState(Exception):
    """The state has something whose content cannot be told, such as an object made since."""


def hash_of(
    pages: Iterable[tuple[int, bytes | memoryview]], registers: Iterable[int], objects: Iterable[object]
) -> bytes:
    """The hash of changed pages (address, content), registers, and descriptions of changed objects."""
    hashed = blake2b(repr((*registers, *objects)).encode(), digest_size=_SIZE)
    for address, content in pages:
        hashed.update(address.to_bytes(8, "little"))
        hashed.update(content)
    return hashed.digest()


def described(number: int, before: Any, now: Any, known: dict[int, object]) -> tuple[object, ...]:
    """The differences between an object's content and its earlier one. `known` are the objects by id that exist
    since then. Raises UnknownState.
    """
    if isinstance(now, dict) and isinstance(before, dict):
        return number, *sorted(_differences(before, now, known), key=repr)
    return number, _value(tuple(now) if isinstance(now, list | set) else now, known)


def _differences(before: dict[Any, Any], now: dict[Any, Any], known: dict[int, object]) -> Iterator[object]:
    for key in before.keys() - now.keys():
        yield _value(key, known), "deleted"
    for key, value in now.items():
        former = before.get(key, _ABSENT)
        if former is not value:
            yield _value(key, known), _value(value, known)


def _value(value: Any, known: dict[int, object]) -> object:
    """Something whose repr is the same for the same value."""
    cls = type(value)
    if cls in _PLAIN:
        return value
    if cls is bytearray:
        return bytes(value)
    if cls is tuple:
        return tuple(_value(each, known) for each in value)
    if id(value) in known:
        return "object", id(value)
    raise UnknownState(f"a new {cls.__name__}")

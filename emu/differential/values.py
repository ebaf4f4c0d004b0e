"""Outcomes of calls in a form that does not depend on the architecture."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from emu.calls.records import Record
from emu.calls.store import View
from relink.records import dataclass

#: A number, text, None, or tuples and dictionaries of them.
Plain: TypeAlias = "int | float | str | bytes | tuple[Plain, ...] | dict[str, Plain] | None"

RETURNED, FAULT, TIME, MEMORY = "returned", "fault", "time", "memory"


@dataclass(frozen=True)
class Outcome:
    """How a call ended.

    `kind` is "returned", "fault", "time", or "memory" when there was not enough. `value` is the result, of `void`
    an empty tuple; `memory` is what the call left in the memory of its arguments, by their names. `detail`
    describes a fault, and is not compared.
    """

    kind: str
    value: Plain = None
    memory: tuple[tuple[str, Plain], ...] = ()
    detail: str = ""

    @property
    def compared(self) -> object:
        """The part that must be equal on all architectures."""
        return self.kind, comparable(self.value), tuple((name, comparable(each)) for name, each in self.memory)

    def __str__(self) -> str:
        if self.kind != RETURNED:
            return self.detail or self.kind
        memory = "".join(f", {name} = {shown(value)}" for name, value in self.memory)
        return f"{shown(self.value)}{memory}" if self.value != () else memory.removeprefix(", ") or "returned"


def comparable(value: Plain) -> object:
    """A hashable value, equal for what C cannot tell apart: every NaN is one; zeros differ by their sign."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else value.hex()
    if isinstance(value, tuple):
        return tuple(comparable(each) for each in value)
    if isinstance(value, dict):
        return tuple((name, comparable(each)) for name, each in value.items())
    return value


def plain(value: Any) -> Plain:
    """A result or an argument as plain values. Pointers are None or "a pointer", since addresses differ."""
    from emu.calls.records import GuestPointer

    if isinstance(value, GuestPointer):
        return "a pointer" if value else None
    if isinstance(value, bool):
        return int(value)
    if value is None or isinstance(value, int | float | str | bytes):
        return value
    if isinstance(value, complex):
        return value.real, value.imag
    if isinstance(value, Record):
        return {name: plain(getattr(value, name)) for name in value._names_}
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, View | Iterable):
        return tuple(plain(each) for each in value)  # type: ignore[union-attr]
    return repr(value)


def shown(value: Plain) -> str:
    """A value as C writes it, shortened."""
    if value is None:
        text = "NULL"
    elif isinstance(value, dict):
        text = "{" + ", ".join(f".{name} = {shown(each)}" for name, each in value.items()) + "}"
    elif isinstance(value, tuple):
        text = "{" + ", ".join(map(shown, value)) + "}"
    elif isinstance(value, bytes):
        text = repr(value)[1:].replace('"', '\\"').replace("'", '"')
    else:
        text = str(value)
    return text if len(text) <= 120 else f"{text[:100]}... ({len(text)} characters)"


def to_json(value: Any) -> Any:
    """A plain value for JSON: bytes, tuples and dictionaries are tagged pairs."""
    if isinstance(value, bytes | bytearray):
        return ["b", base64.b64encode(value).decode()]
    if isinstance(value, list | tuple):
        return ["t", [to_json(each) for each in value]]
    if isinstance(value, dict):
        return ["d", {name: to_json(each) for name, each in value.items()}]
    return value


def from_json(value: Any) -> Any:
    """The value out of `to_json`."""
    if not isinstance(value, list):
        return value
    tag, content = value
    if tag == "b":
        return base64.b64decode(content)
    return tuple(map(from_json, content)) if tag == "t" else {name: from_json(v) for name, v in content.items()}

"""The objects that a user of a machine holds, when the machine was read from a file.

A file that was made up can describe tables that do not fit together, which shows when they are used. So methods
and properties of these objects raise SnapshotFileError in place of what Python raises. They are of a class that
derives from the original one, so that other machines' objects cost nothing.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Generator, Iterator
from functools import cache, wraps
from typing import Any, TypeVar

from emu.parts import CLASSES
from emu.run.unfit import refuse
from emu.saved.functions import is_project_module
from relink.errors import RelinkError
from relink.records import cached_property

_T = TypeVar("_T")
#: Its calls are guarded by itself, and traps are used only by it.
_UNGUARDED = frozenset({"runner", "traps"})
_FILE = "a file of a snapshot"
#: Methods by which Python itself calls an object.
_OPERATORS = ("__repr__", "__str__", "__len__", "__iter__", "__contains__", "__getitem__")


def guard_all(machine: Any) -> None:
    """Guard what a user of a machine may hold: itself, its parts and images."""
    parts, system = machine.parts, machine.os
    some = [vars(parts)[name] for name in CLASSES if name not in _UNGUARDED]
    images = {id(image): image for image in (*parts.linker.images, *parts.linker.global_scope)}
    for each in (*some, *images.values(), *parts.threads.alive, system, vars(system).get("libc"), machine):
        guard(each)


def guard(value: object) -> None:
    """Have the public methods of an object raise SnapshotFileError in place of what Python raises."""
    cls: Any = type(value)
    if is_project_module(cls.__module__) and "__guarded__" not in vars(cls):
        object.__setattr__(value, "__class__", guarded(cls))


@cache
def guarded(cls: type) -> type:
    """A class of the same name with the same attributes, whose methods are guarded."""
    body: dict[str, Any] = {
        "__slots__": (),
        "__guarded__": True,
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__doc__": cls.__doc__,
    }
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__[:-1]):
        found.update(vars(base))
    for name, member in found.items():
        if not name.startswith("_") or name in _OPERATORS:
            made = _member(name, member, cls)
            if made is not None:
                body[name] = made
    if "__hash__" in found or "__eq__" in found:
        body["__hash__"], body["__eq__"] = cls.__hash__, cls.__eq__
    return type(cls.__name__, (cls,), body)


def _member(name: str, member: Any, cls: type) -> object:
    if isinstance(member, types.FunctionType):
        return _method(member)
    if isinstance(member, property):
        get, put, delete = (each and _method(each) for each in (member.fget, member.fset, member.fdel))
        return property(get, put, delete)
    if isinstance(member, cached_property):
        made = cached_property(_method(member.function))  # type: ignore[attr-defined]
        made.__set_name__(cls, name)
        return made
    if name in _OPERATORS and not isinstance(member, type(None)):
        return _method(getattr(cls, name))
    return None


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def method(*values: Any, **keywords: Any) -> Any:
        try:
            result = function(*values, **keywords)
        except RelinkError:
            raise
        except Exception as error:
            refuse(error, _FILE)
            raise
        if isinstance(result, types.GeneratorType):
            return _generator(result)
        return result

    return method


def _generator(items: Generator[_T, Any, Any]) -> Iterator[_T]:
    try:
        yield from items
    except RelinkError:
        raise
    except Exception as error:
        refuse(error, _FILE)
        raise

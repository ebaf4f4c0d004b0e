"""Whether a value fits a declared type: what a type checker shows of this project's own values is shown of values
that come from a file.

`check_of(type)` is a function of a value, or None where every value fits. Containers are looked into, protocols
are compared by the names of their methods, functions by how many arguments they take.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections import deque
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Annotated, Any, ClassVar, Final, Literal, NewType, TypeAlias, TypeVar, Union

import numpy as np

from emu.saved.functions import is_project_module

Check: TypeAlias = "Callable[[Any], bool] | None"

#: What returns the declared types of a class's attributes (`emu.saved.declared`), for generic classes.
attribute_types: list[Callable[[type], Mapping[str, Any]]] = []
_ANYTHING = (Any, object)
_WRAPPERS = (Annotated, ClassVar, Final)
_PLAIN_CONTAINERS = (list, tuple, set, frozenset, deque)
#: What the type checker takes for one of these.
_WIDER: Mapping[object, tuple[type, ...]] = {
    int: (int, np.integer),
    float: (float, int, np.floating, np.integer),
    complex: (complex, float, int),
    bytes: (bytes, bytearray, memoryview),
    bool: (bool, np.bool_),
}


def check_of(declared: Any) -> Check:
    """A function that says whether a value is of this type; None: every value is."""
    if declared is None or declared is type(None):
        return lambda value: value is None
    if isinstance(declared, NewType):
        return check_of(declared.__supertype__)
    origin = typing.get_origin(declared)
    if origin is not None:
        return _of_generic(origin, typing.get_args(declared))
    if declared in _ANYTHING or not isinstance(declared, type):
        return None
    if getattr(declared, "_is_protocol", False):
        return _of_protocol(declared)
    classes = _WIDER.get(declared, (declared,))
    return lambda value: isinstance(value, classes)


def _of_generic(origin: Any, arguments: Sequence[Any]) -> Check:
    if origin in (Union, types.UnionType):
        checks = [check_of(each) for each in arguments]
        if None in checks:
            return None
        some = [check for check in checks if check is not None]
        return lambda value: any(check(value) for check in some)
    if origin is Literal:
        return lambda value: value in arguments
    if origin in _WRAPPERS:
        return check_of(arguments[0])
    if not isinstance(origin, type):
        return None
    if origin is type:
        return lambda value: isinstance(value, type)
    if issubclass(Callable, origin):  # type: ignore[arg-type]
        return _of_callable(arguments)
    if origin is np.ndarray:
        return _of_array(typing.get_args(arguments[-1]))
    if origin is tuple:
        return _of_tuple(arguments)
    if is_project_module(origin.__module__):
        return _of_own_generic(origin, arguments)
    return _of_container(origin, arguments)


def _of_own_generic(origin: Any, arguments: Sequence[Any]) -> Check:
    """Objects of a generic class of this project, with their attributes."""
    known = dict(zip(origin.__parameters__, arguments, strict=True))
    inner = []
    for name, each in attribute_types[0](origin).items():
        variables = getattr(each, "__parameters__", ())
        if isinstance(each, TypeVar):
            inner.append((name, check_of(known[each])))
        elif variables and not isinstance(each, type):
            inner.append((name, check_of(each[tuple(known[variable] for variable in variables)])))
    checks = [(name, check) for name, check in inner if check is not None]
    return lambda value: (
        isinstance(value, origin) and all(check(getattr(value, name, None)) for name, check in checks)
    )


def _of_container(origin: type, arguments: Sequence[Any]) -> Check:
    whole = check_of(origin)
    inner = [check_of(each) for each in arguments]
    if issubclass(origin, Mapping) and len(inner) == 2:
        key, item = inner

        def mapping(value: Any) -> bool:
            if whole is not None and not whole(value):
                return False
            if not isinstance(value, dict):
                return True
            return (key is None or all(map(key, value))) and (item is None or all(map(item, value.values())))

        return mapping
    if len(inner) == 1 and (issubclass(origin, Sequence | Set | deque) or origin.__module__ == "collections.abc"):
        item = inner[0]

        def elements(value: Any) -> bool:
            if whole is not None and not whole(value):
                return False
            return item is None or not isinstance(value, _PLAIN_CONTAINERS) or all(map(item, value))

        return elements
    return whole


def _of_tuple(arguments: Sequence[Any]) -> Check:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        item = check_of(arguments[0])
        return lambda value: isinstance(value, tuple) and (item is None or all(map(item, value)))
    inner = [check_of(each) for each in arguments]
    return lambda value: (
        isinstance(value, tuple)
        and len(value) == len(inner)
        and all(check is None or check(each) for check, each in zip(inner, value, strict=True))
    )


def _of_array(scalars: Sequence[Any]) -> Check:
    kind = scalars[0] if scalars and scalars[0] is not Any and isinstance(scalars[0], type) else np.generic
    return lambda value: isinstance(value, np.ndarray) and issubclass(value.dtype.type, kind)


def _of_callable(arguments: Sequence[Any]) -> Check:
    taken = arguments[0] if arguments else Ellipsis
    if not isinstance(taken, list):
        return callable
    given = [None] * len(taken)

    def takes(value: Any) -> bool:
        if not callable(value):
            return False
        if isinstance(value, type) or not is_project_module(getattr(value, "__module__", None)):
            return True  # of the host, and the user's own
        try:
            inspect.signature(value).bind(*given)
        except TypeError:
            return False
        except ValueError:
            pass
        return True

    return takes


def _of_protocol(declared: type) -> Check:
    names = sorted(_members(declared))
    return lambda value: all(
        hasattr(type(value), name) or name in getattr(value, "__dict__", ()) for name in names
    )


def _members(declared: type) -> set[str]:
    found: set[str] = set()
    for base in declared.__mro__[:-1]:
        if getattr(base, "_is_protocol", False) and base.__name__ not in ("Protocol", "Generic"):
            found |= {name for name in (*vars(base), *vars(base).get("__annotations__", ())) if _is_member(name)}
    return found


def _is_member(name: str) -> bool:
    return name in ("__call__", "__getitem__", "__len__", "__contains__", "__iter__") or not name.startswith("_")

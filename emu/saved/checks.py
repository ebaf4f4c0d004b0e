"""Checks of objects that come from a file against what classes and functions declare (`emu.saved.declared`)."""

from __future__ import annotations

import ast
import inspect
import types
from collections.abc import Mapping, Sequence
from typing import Any

from emu.errors import SnapshotFileError
from emu.saved.declared import declared, evaluated, has_source, names_of, tree_of
from emu.saved.fits import check_of
from emu.saved.functions import is_project_module, project_module
from emu.saved.graph import slots_of


def check_object(value: Any) -> None:
    """Raise SnapshotFileError unless an object's attributes are what its class declares."""
    cls = type(value)
    if isinstance(value, tuple):
        fields: tuple[str, ...] = getattr(cls, "_fields", ())
        if len(fields) != len(value):
            raise SnapshotFileError(f"has a {cls.__name__} of {len(value)} values")
        _check_types(cls, dict(zip(fields, value, strict=True)))
        return
    slots = {name: getattr(value, name) for name in slots_of(cls) if hasattr(value, name)}
    check_attributes(cls, {**slots, **getattr(value, "__dict__", {})})


def check_attributes(cls: type, attributes: Mapping[str, object]) -> None:
    """Raise SnapshotFileError unless these are the attributes of an object of a class, which has all it needs."""
    if not has_source(cls.__module__):
        return
    missing = declared(cls).needed - attributes.keys()
    if missing:
        raise SnapshotFileError(f"has a {cls.__name__} without {', '.join(sorted(missing))}")
    _check_types(cls, attributes)


def _check_types(cls: type, attributes: Mapping[str, object]) -> None:
    checks = declared(cls).checks
    for name, value in attributes.items():
        if name not in checks:
            raise SnapshotFileError(f"has a {cls.__name__} with an attribute {name!r:.80}")
        check = checks[name]
        if check is not None and not check(value):
            raise SnapshotFileError(f"has a {cls.__name__} whose {name} is {_named(value)}")


def check_arguments(function: Any, arguments: Sequence[object], keywords: Mapping[str, object]) -> None:
    """Raise SnapshotFileError unless a function of this project takes these first arguments."""
    plain = getattr(function, "__func__", function)
    if not isinstance(plain, types.FunctionType) or not is_project_module(plain.__module__):
        return
    try:
        bound = inspect.signature(function).bind_partial(*arguments, **keywords)
    except TypeError as error:
        raise SnapshotFileError(f"has a call of {plain.__qualname__} with other arguments: {error}") from None
    _check_values(plain.__qualname__, plain.__annotations__, bound.arguments, names_of(plain.__module__))


def check_closure(function: types.FunctionType, cells: Mapping[str, object]) -> None:
    """Raise SnapshotFileError unless the variables that a function of this project closes over are right."""
    found: Any = project_module(function.__module__)
    node: Any = tree_of(function.__module__)
    for part in function.__qualname__.split(".")[:-1]:
        if part == "<locals>":
            continue
        node = next((each for each in ast.walk(node) if getattr(each, "name", None) == part), None)
        found = vars(found).get(part) if isinstance(found, types.ModuleType | type) else None
        if isinstance(node, ast.FunctionDef):
            every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            texts = {each.arg: ast.unparse(each.annotation) for each in every if each.annotation is not None}
            _check_values(function.__qualname__, texts, cells, names_of(function.__module__))
        elif isinstance(found, type) and "self" in cells and not isinstance(cells["self"], found):
            raise SnapshotFileError(f"has a {function.__qualname__} whose self is {_named(cells['self'])}")
        elif node is None:
            return


def _check_values(
    where: str, annotations: Mapping[str, str], values: Mapping[str, object], names: Mapping[str, Any]
) -> None:
    for name, value in values.items():
        text = annotations.get(name)
        check = check_of(evaluated(text, names)) if isinstance(text, str) else None
        if check is not None and not check(value):
            raise SnapshotFileError(f"has a {where} whose {name} is {_named(value)}")


def _named(value: object) -> str:
    return f"{value!r:.80}" if isinstance(value, int | str | None) else f"a {type(value).__name__} of another type"

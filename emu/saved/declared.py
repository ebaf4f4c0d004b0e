"""What the attributes of this project's classes are, from its source: the types that classes and methods declare.

A type checker holds every class to these. An attribute is declared by an annotation (`x: int` in a class,
`self.x: int = …`), or by what is assigned to it where that is plain: a parameter, a constant, a new object, the
result of a function with a declared result, an attribute of one of these.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import importlib.util
import inspect
import sys
import types
import typing
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from emu.saved import fits
from emu.saved.fits import Check, check_of
from emu.saved.functions import is_project_module, project_module
from emu.saved.graph import slots_of

#: Of an expression whose type is not plain. Every value fits it.
UNKNOWN: Any = typing.Any


class _Names(Mapping[str, Any]):
    """The objects that names stand for in a module's annotations, with those imported for type checkers only."""

    def __init__(self, module: types.ModuleType, tree: ast.Module) -> None:
        self._module = module
        self._hidden: dict[str, ast.stmt] = {}
        for node in tree.body:
            if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
                self._hidden.update(_bound(node.body))

    def __getitem__(self, name: str) -> Any:
        found = vars(self._module).get(name, UNKNOWN)
        if name in self._hidden:
            found = self._imported(name, self._hidden[name])
        elif name not in vars(self._module):
            found = vars(builtins)[name]
        return evaluated(found, self) if isinstance(found, str) else found

    def _imported(self, name: str, node: ast.stmt) -> Any:
        if isinstance(node, ast.ImportFrom) and node.module:
            original = next(each.name for each in node.names if (each.asname or each.name) == name)
            if is_project_module(node.module):
                try:
                    return _source(node.module).names[original]
                except KeyError:
                    return getattr(importlib.import_module(node.module), original, UNKNOWN)
            return getattr(importlib.import_module(node.module), original, UNKNOWN)
        if isinstance(node, ast.Import):
            return importlib.import_module(name)
        value = getattr(node, "value", None)
        return evaluated(ast.unparse(value), self) if value is not None else UNKNOWN

    def __iter__(self) -> Iterator[str]:
        return iter({**vars(self._module), **self._hidden})

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _bound(body: list[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((each.asname or each.name, node) for each in node.names)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node


def evaluated(annotation: str, names: Mapping[str, Any]) -> Any:
    """The type of an annotation's text; UNKNOWN where it has none at run time."""
    try:
        found = eval(annotation, {}, names)  # the source of this project
    except (NameError, TypeError, AttributeError, SyntaxError, KeyError, ImportError):
        return UNKNOWN
    return evaluated(found, names) if isinstance(found, str) else found


@cache
def _text_of(module: str) -> str | None:
    loader: Any = project_module(module).__loader__
    text: str | None = loader.get_source(module)
    return text


def has_source(module: str) -> bool:
    """Whether a module's source is there, which an installation may leave out: nothing is checked then."""
    return is_project_module(module) and _text_of(module) is not None


@cache
def tree_of(module: str) -> ast.Module:
    """The source of a module of this project."""
    return ast.parse(_text_of(module) or "")


def names_of(module: str) -> Mapping[str, Any]:
    """The objects that names stand for in the annotations of a module of this project."""
    return _source(module).names


class _Source(NamedTuple):
    names: _Names
    classes: Mapping[str, ast.ClassDef]


@cache
def _source(module: str) -> _Source:
    tree = tree_of(module)
    return _Source(_Names(project_module(module), tree), dict(_classes(tree.body, "")))


def _classes(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, ast.ClassDef]]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield prefix + node.name, node
            yield from _classes(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.If):
            yield from _classes([*node.body, *node.orelse], prefix)


class Declared(NamedTuple):
    """The attributes that a class declares, and their types."""

    types: Mapping[str, Any]  #: of attributes, by name
    checks: Mapping[str, Check]  #: by name; None where every value fits
    needed: frozenset[str]  #: the attributes that every object has


@cache
def declared(cls: type) -> Declared:
    """The attributes that a class of this project declares, with those of its bases."""
    found: dict[str, Any] = {}
    needed: set[str] = set()
    for base in reversed(cls.__mro__):
        if is_project_module(base.__module__) and not getattr(base, "_is_protocol", False):
            own = _own_types(base)
            found.update({name: each for name, each in own.items() if each is not UNKNOWN or name not in found})
            needed |= _always_set(base) & own.keys()
    needed -= {name for name in found if _has_default(cls, name)}
    return Declared(found, {name: check_of(each) for name, each in found.items()}, frozenset(needed))


def _has_default(cls: type, name: str) -> bool:
    missing: Any = object()
    found = inspect.getattr_static(cls, name, missing)
    return found is not missing and not isinstance(found, types.MemberDescriptorType)


@cache
def _own_types(cls: type) -> dict[str, Any]:
    """The attributes that a class itself declares or sets, without its bases'."""
    names, classes = _source(cls.__module__)
    node = classes.get(cls.__qualname__)
    found: dict[str, Any] = dict.fromkeys(slots_of(cls), UNKNOWN)
    if node is None:
        return found
    for each in node.body:
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            found[each.target.id] = evaluated(ast.unparse(each.annotation), names)
    _partial_types[cls] = found
    methods = [each for each in node.body if isinstance(each, ast.FunctionDef)]
    for method in sorted(methods, key=lambda each: each.name not in ("__init__", "__post_init__", "__new__")):
        if any(ast.unparse(each).endswith("cached_property") for each in method.decorator_list):
            found[method.name] = evaluated(ast.unparse(method.returns), names) if method.returns else UNKNOWN
        _add_assigned(cls, method, names, found)
    return found


#: Of classes whose source is being read, for attributes that are set to others of the same object.
_partial_types: dict[type, dict[str, Any]] = {}


def _add_assigned(cls: type, method: ast.FunctionDef, names: _Names, found: dict[str, Any]) -> None:
    every = [*method.args.posonlyargs, *method.args.args, *method.args.kwonlyargs]
    if not every:
        return
    own = every[0].arg
    local = {a.arg: evaluated(ast.unparse(a.annotation), names) if a.annotation else UNKNOWN for a in every}
    local[own] = cls
    for node in _statements(method.body):
        if isinstance(node, ast.AnnAssign) and _is_own(node.target, own):
            found[node.target.attr] = evaluated(ast.unparse(node.annotation), names)  # type: ignore[union-attr]
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                for place, value in _pairs(target, node.value):
                    if _is_own(place, own) and place.attr not in found:
                        found[place.attr] = value if isinstance(value, type) else _inferred(value, local, names)
        elif isinstance(node, ast.Expr) and ast.unparse(node).startswith("object.__setattr__("):  # it is frozen
            found.setdefault(node.value.args[1].value, UNKNOWN)  # type: ignore[attr-defined]
        elif isinstance(node, ast.AugAssign) and _is_own(node.target, own):
            found.setdefault(node.target.attr, UNKNOWN)  # type: ignore[union-attr]


def _statements(body: Sequence[ast.AST]) -> Iterator[ast.AST]:
    for node in body:
        yield node
        for inner in ("body", "orelse", "finalbody", "handlers", "cases"):
            yield from _statements(getattr(node, inner, ()))


def _is_own(node: Any, own: str) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == own


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[Any, ast.expr | None]]:
    if isinstance(target, ast.Tuple):
        values = value.elts if isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts) else None
        for number, each in enumerate(target.elts):
            yield each, values[number] if values is not None else None
    else:
        yield target, value


def _always_set(cls: type) -> set[str]:
    """The attributes that `__init__` sets whatever happens; all fields of a record."""
    node = _source(cls.__module__).classes.get(cls.__qualname__)
    found: set[str] = set(vars(cls).get("__record_fields__", ()))
    init = [each for each in node.body if getattr(each, "name", "") == "__init__"] if node is not None else []
    for method in init:
        assert isinstance(method, ast.FunctionDef)
        own = method.args.args[0].arg
        for each in method.body:
            targets = each.targets if isinstance(each, ast.Assign) else [getattr(each, "target", None)]
            for target in targets:
                parts = target.elts if isinstance(target, ast.Tuple) else [target]
                found |= {part.attr for part in parts if _is_own(part, own)}  # type: ignore[union-attr]
    return found


# ---------------------------------------------------------------- what is assigned


def _inferred(node: ast.expr | None, local: Mapping[str, Any], names: _Names) -> Any:
    """The type of an expression, if it is plain."""
    if isinstance(node, ast.Constant) and node.value is not None and node.value is not Ellipsis:
        return type(node.value)
    if isinstance(node, ast.JoinedStr):
        return str
    if isinstance(node, ast.Name):
        return local.get(node.id, UNKNOWN)
    if isinstance(node, ast.Attribute):
        return _attribute(_inferred(node.value, local, names), node.attr)
    if isinstance(node, ast.Call):
        return _result(node.func, local, names)
    if isinstance(node, ast.Compare) or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)):
        return bool
    if isinstance(node, ast.BinOp):
        sides = {_inferred(each, local, names) for each in (node.left, node.right)}
        return int if sides == {int} and not isinstance(node.op, ast.Div | ast.Pow) else UNKNOWN
    if isinstance(node, ast.UnaryOp):
        return int if _inferred(node.operand, local, names) is int else UNKNOWN
    if isinstance(node, ast.IfExp):
        sides = {_inferred(each, local, names) for each in (node.body, node.orelse)}
        return sides.pop() if len(sides) == 1 else UNKNOWN
    if isinstance(node, ast.List) and node.elts:
        inner = {_inferred(each, local, names) for each in node.elts}
        return list[inner.pop()] if len(inner) == 1 else list  # type: ignore[misc]
    if isinstance(node, ast.List | ast.ListComp):
        return list
    if isinstance(node, ast.Dict | ast.DictComp):
        return dict
    return UNKNOWN


def _attribute(owner: Any, name: str) -> Any:
    """The type of an attribute of an object of a class."""
    if not isinstance(owner, type) or not is_project_module(owner.__module__):
        return UNKNOWN
    found = inspect.getattr_static(owner, name, None)
    if isinstance(found, property) and found.fget is not None:
        return _returned(found.fget)
    if isinstance(found, types.FunctionType):
        return UNKNOWN
    if owner in _partial_types and name in _partial_types[owner]:
        return _partial_types[owner][name]
    return UNKNOWN if owner in _partial_types else declared(owner).types.get(name, UNKNOWN)


def _result(function: ast.expr, local: Mapping[str, Any], names: _Names) -> Any:
    if isinstance(function, ast.Name) and function.id not in local:
        called = _MADE.get(names.get(function.id), names.get(function.id))
        return called if isinstance(called, type) and _makes_itself(called) else _returned(called)
    if isinstance(function, ast.Attribute):
        if isinstance(function.value, ast.Name) and function.value.id not in local:
            module = names.get(function.value.id)
            found = getattr(module, function.attr, None) if isinstance(module, types.ModuleType) else None
            return found if isinstance(found, type) and _makes_itself(found) else UNKNOWN
        owner = _inferred(function.value, local, names)
        if isinstance(owner, type) and is_project_module(owner.__module__):
            return _returned(inspect.getattr_static(owner, function.attr, None))
    return UNKNOWN


#: Functions that make objects of a class, and that class.
_MADE: Mapping[object, type] = {len: int}


def _makes_itself(cls: type) -> bool:
    """Whether a call of a class makes an object of it that is declared to be no more than that."""
    plain = (dict, list, set, int, bool, str, bytes, bytearray, float, deque)
    return is_project_module(cls.__module__) or cls in plain or issubclass(cls, np.generic)


def _returned(function: object) -> Any:
    if not isinstance(function, types.FunctionType) or not is_project_module(function.__module__):
        return UNKNOWN
    text = function.__annotations__.get("return", UNKNOWN)
    if not isinstance(text, str) or function.__module__ not in sys.modules:
        return UNKNOWN
    found = evaluated(text, _source(function.__module__).names)
    return UNKNOWN if found is typing.Self else found


fits.attribute_types[:] = [lambda cls: declared(cls).types]

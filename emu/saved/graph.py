"""The Python side of a machine's state: the objects it consists of, found by walking them.

A *node* is an object that can change: an instance of a project class, a dict, list, set, deque, bytearray or
writable array. Its *content* is a shallow copy. All objects that a node's content refers to are nodes too, or do
not change. Restoring the content of all nodes restores the whole, with the identity of every object; objects made
since are then referred to by none of them.

An object saves itself if its class has `save_state` and `restore_state` (`emu.ports.Saved`).

Comparing is fast because one comparison in C covers all nodes: `Nodes.live` has for each node the object that
compares equal to its content exactly while the node is unchanged.
"""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any

import numpy as np

from emu.saved.kinds import Array, Attributes, Bytes, Deque, Dict, Itself, Kind, List, Set, SomeAttributes
from emu.saved.rules import CONSTANT, GUARDED, UNSAVED
from relink.records import Assigned

MOST_CLASSES = 1024  #: whose kinds are kept
_PROJECT = ("emu", "relink")
_IMMUTABLE = (int, float, complex, str, bytes, tuple, frozenset)
_KINDS: tuple[tuple[type, Kind], ...] = (
    (dict, Dict()),
    (list, List()),
    (set, Set()),
    (bytearray, Bytes()),
    (deque, Deque()),
)
_ARRAY, _ITSELF = Array(), Itself()


def full_name(cls: type) -> str:
    """The dotted name of a class."""
    return f"{cls.__module__}.{cls.__qualname__}"


def _kind_of(cls: type) -> Kind | None:
    if is_constant(cls) or issubclass(cls, _IMMUTABLE):
        return None
    if hasattr(cls, "save_state") and hasattr(cls, "restore_state"):
        return _ITSELF
    for base, kind in _KINDS:
        if issubclass(cls, base):
            return kind
    if not _is_ours(cls) or _is_frozen(cls):
        return None
    names = [full_name(base) for base in cls.__mro__]
    guarded = not GUARDED.isdisjoint(names)
    unsaved = frozenset[str]().union(*(UNSAVED.get(name, frozenset()) for name in names))
    slots = slots_of(cls)
    assigned = issubclass(cls, Assigned) and not slots
    if slots or unsaved:
        return SomeAttributes(guarded, slots, unsaved, assigned=assigned)
    return Attributes(guarded, assigned=assigned)


#: The kind of a class's instances; None where they are no nodes. Users may define any number of classes.
kind_of: Callable[[type], Kind | None] = lru_cache(maxsize=MOST_CLASSES)(_kind_of)


def slots_of(cls: type) -> tuple[str, ...]:
    """The slots of a class and its bases."""
    found = (base.__dict__.get("__slots__", ()) for base in cls.__mro__)
    names = [name for slots in found for name in ((slots,) if isinstance(slots, str) else slots)]
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))


def _is_frozen(cls: type) -> bool:
    return any("__setattr__" in vars(base) for base in cls.__mro__[:-1] if base is not Assigned)


def _is_ours(cls: type) -> bool:
    """Whether a class is of this project, or derives from one that is."""
    return any(base.__module__.partition(".")[0] in _PROJECT for base in cls.__mro__)


def is_constant(cls: type) -> bool:
    """Whether instances of a class are not looked into."""
    module = cls.__module__
    return issubclass(cls, type) or any(module == name or module.startswith(f"{name}.") for name in CONSTANT)


def passed_through(value: Any) -> Iterable[object]:
    """The objects that an immutable object refers to, which may change."""
    if isinstance(value, tuple | frozenset):
        return value
    if isinstance(value, partial):
        return (value.func, *value.args, *value.keywords.values())
    if isinstance(value, types.MethodType):
        return (value.__self__,)
    if isinstance(value, types.FunctionType):
        if value.__module__ is None or value.__module__.partition(".")[0] not in _PROJECT:
            return ()  # a user's
        cells = (_cell(cell) for cell in value.__closure__ or ())
        return (*cells, *(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values())
    cls: Any = type(value)
    if _is_ours(cls) and not is_constant(cls):  # frozen
        named = (getattr(value, name, None) for name in slots_of(cls))
        return (*getattr(value, "__dict__", {}).values(), *named)
    return ()


def _cell(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return None


_PLAIN = frozenset({int, float, bool, str, bytes, type(None), complex, range, type, types.ModuleType})


class Nodes:
    """Nodes in the order in which they were found. It only grows, so that the contents of several snapshots may
    belong to it: those of one snapshot are of the first nodes.
    """

    def __init__(self) -> None:
        self.nodes: list[object] = []
        self.kinds: list[Kind] = []
        self.live: list[object] = []  #: equal to the contents while nothing has changed

    def add(self, node: object, kind: Kind) -> None:
        self.nodes.append(node)
        self.kinds.append(kind)
        self.live.append(kind.live(node))


class Walk:
    """A walk from some roots, which sorts the nodes it finds: those to compare always, those that tell when they
    change, and guarded ones.
    """

    def __init__(self) -> None:
        self.watched, self.assigned, self.guarded = Nodes(), Nodes(), Nodes()
        self.seen: dict[int, object] = {}  # also keeps the objects, so that no other gets the same id

    @property
    def found(self) -> tuple[Nodes, Nodes, Nodes]:
        """All nodes: the watched, the assigned, the guarded ones."""
        return self.watched, self.assigned, self.guarded

    def extend(self, roots: Iterable[object], *, guarded: bool = False) -> None:
        """Find all nodes that can be reached from these objects. What is reached without passing a guarded node is
        not guarded.
        """
        behind: list[object] = []
        self._follow(deque(roots), behind, guarded=guarded)
        self._follow(deque(behind), behind, guarded=True)

    def _follow(self, waiting: deque[object], behind: list[object], *, guarded: bool) -> None:
        seen = self.seen
        while waiting:
            value = waiting.popleft()
            cls: Any = type(value)
            if cls in _PLAIN or id(value) in seen:
                continue
            kind = kind_of(cls)
            if kind is not None and kind.guarded and not guarded:
                behind.append(value)
                continue
            seen[id(value)] = value
            if kind is not None:
                nodes = self.guarded if guarded else self.assigned if kind.assigned else self.watched
                nodes.add(value, kind)
                waiting.extend(kind.referred(kind.content(value)))
            elif isinstance(value, np.ndarray):
                if value.flags.writeable and value.base is None:
                    (self.guarded if guarded else self.watched).add(value, _ARRAY)
            else:
                waiting.extend(passed_through(value))

"""A machine as data: every object becomes a record (a JSON array), large contents go to a list of bytes.

A value is a JSON scalar, or `[number]` of a record. The first item of a record is its kind:

    o class attributes          an object of a project class          d class pairs extra      a dict
    l values, s values          a list, a set                         q longest values         a deque
    t values, F values          a tuple, a frozenset                  n class values           a tuple of a class
    b bytes, B bytes            bytes, a bytearray                    a dtype shape bytes writable    an array
    g dtype value               a number of numpy                     i class value attributes    a scalar
    c module name               a class                               p function arguments keywords   a partial
    m object name               a bound method                        f module place name ...         a function
    h name                      a function of the host, given by name when the file is read
    M bytes format              a memoryview                          S format            a struct.Struct
    v buffer offset size        memory of a region                    y convention prototype   a plan of calls
    x name                      an object that the reader makes itself
"""

from __future__ import annotations

import enum
import struct
import types
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from functools import partial
from pathlib import PurePath
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from emu.calls.plan import CallPlan
from emu.errors import SnapshotFileError
from emu.host.functions import HostFunction
from emu.saved.functions import blank, is_project_module, place_of
from emu.saved.graph import full_name, slots_of
from emu.saved.host_pages import owner_of

BUILTIN_CLASSES: dict[str, type] = {
    each.__name__: each
    for each in (
        int,
        float,
        bool,
        str,
        bytes,
        bytearray,
        tuple,
        list,
        dict,
        set,
        frozenset,
        memoryview,
        object,
        complex,
        deque,
    )
}
#: Functions that are not Python's own code, and may be referred to.
BUILTIN_FUNCTIONS = (
    "builtins.len",
    "builtins.int",
    "builtins.bytes",
    "time.time_ns",
    "time.perf_counter",
    "time.monotonic",
)
#: Attributes that a file does not hold, with what they are when it is read.
RENEWED: dict[str, dict[str, object]] = {
    "relink.memory.address_space.Region": {"discarded": None},
    "emu.memory.small_blocks.SmallBlocks": {"_views": None, "_saved": None},
    "emu.run.runner.Runner": {
        "at_end": None,
        "file": None,
        "entry": None,
        "uses": 0,
        "user": 0,
        "on_event": None,
    },
    "emu.load.look_ahead.LookAhead": {"_prepared": {}, "_armed": {}, "_calls": None},
}
#: Attributes that a reader computes anew, by class.
OMITTED: dict[str, tuple[str, ...]] = {
    "emu.parts.Parts": ("observation",),
    "relink.elf.decoded.Decoded": ("results", "mapping"),
    "relink.objects.combined.CombinedObjects": ("results", "mapping", "debug_sections"),
    "relink.objects.small.SmallObject": (
        "results",
        "mapping",
        "debug_sections",
        "relocating",
        "whole",
        "contents",
        "input_sections",
        "batch",
        "alias",
        "static",
        "stubs",
    ),
    "relink.elf.names.Names": ("known_texts",),
    "relink.elf.symbols.SymbolTable": ("_asked", "_found", "_rows"),
}
_SCALARS = (bool, int, float, str)
VIEWED = frozenset("bBhHiIlLqQfd?")  #: formats of memoryviews


class Encoder:
    """Encodes objects. `special` returns the name of an object that the reader makes itself, or None."""

    def __init__(self, special: Callable[[object], str | None]) -> None:
        self.records: list[Any] = []
        self.blobs: list[bytes | memoryview] = []
        self.buffers: list[int] = []  #: bytes of each buffer of the host
        self._special = special
        self._numbers: dict[int, int] = {}
        self._alive: list[object] = []
        self._owners: dict[int, int] = {}
        self._waiting: deque[tuple[int, object, str]] = deque()

    def encode(self, value: object, name: str) -> object:
        """The value as data, with all that it refers to."""
        encoded = self._value(value, name)
        while self._waiting:
            number, each, where = self._waiting.popleft()
            self.records[number] = self._record(each, where)
        return encoded

    def _value(self, value: object, name: str) -> object:
        if value is None or type(value) in _SCALARS:
            return value
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = len(self.records)
            self._alive.append(value)
            self.records.append(None)
            self._waiting.append((number, value, name))
        return [number]

    def _values(self, values: Any, name: str) -> list[object]:
        return [self._value(each, name) for each in values]

    def _blob(self, content: bytes) -> int:
        self.blobs.append(content)
        return len(self.blobs) - 1

    def _record(self, value: Any, name: str) -> list[object]:
        special = self._special(value)
        if special is not None:
            return ["x", special]
        for kind, make in self._KINDS:
            if isinstance(value, kind):
                return make(self, value, name)
        if is_project_module(type(value).__module__) and not isinstance(value, _read_only_map()):
            return self._object(value, name)
        if callable(value):
            return ["h", name]
        raise SnapshotFileError(f"{name}: a file cannot hold an object of {full_name(type(value))}")

    # ------------------------------------------------------------ kinds

    def _class_of(self, value: Any) -> list[object]:
        return self._class(value.__class__, "")[1:]

    def _class(self, cls: Any, name: str) -> list[object]:
        name = str(cls.__name__)
        if BUILTIN_CLASSES.get(name) is cls:
            return ["c", "builtins", name]
        if not is_project_module(cls.__module__):
            raise SnapshotFileError(f"a file cannot hold the class {full_name(cls)}")
        return ["c", cls.__module__, cls.__qualname__]

    def _object(self, value: Any, name: str) -> list[object]:
        cls = full_name(type(value))
        if blank(type(value)) is None:
            raise SnapshotFileError(f"{name}: a file cannot hold an object of {cls}")
        found = {each: getattr(value, each) for each in slots_of(type(value)) if hasattr(value, each)}
        found.update(getattr(value, "__dict__", {}))
        if isinstance(value, BaseException):
            found["args"] = value.args  # not in its __dict__
        found.update((each, new) for each, new in RENEWED.get(cls, {}).items() if each in found)
        for each in OMITTED.get(cls, ()):
            found.pop(each, None)
        inner = str(found.get("name")) if "handler" in found else name if isinstance(value, HostFunction) else ""
        return ["o", *self._class_of(value), {n: self._value(v, inner or f"{name}.{n}") for n, v in found.items()}]

    def _dict(self, value: Any, name: str) -> list[object]:
        kinds: dict[type, str] = {
            dict: "dict",
            Counter: "Counter",
            OrderedDict: "OrderedDict",
            defaultdict: "defaultdict",
        }
        if type(value) not in kinds:
            raise SnapshotFileError(f"{name}: a file cannot hold an object of {full_name(type(value))}")
        factory = self._value(value.default_factory, name) if isinstance(value, defaultdict) else None
        pairs = [
            [self._value(key, name), self._value(each, key if isinstance(key, str) else name)]
            for key, each in value.items()
        ]
        return ["d", kinds[type(value)], pairs, factory]

    def _tuple(self, value: Any, name: str) -> list[object]:
        if type(value) is tuple:
            return ["t", self._values(value, name)]
        return ["n", *self._class_of(value), self._values(value, name)]

    def _array(self, value: Any, name: str) -> list[object]:
        owner = owner_of(value)
        if not isinstance(owner, np.ndarray | bytes | bytearray | _read_only_map()) and value.flags.writeable:
            start = np.frombuffer(owner, np.uint8)
            number = self._owners.setdefault(id(owner), len(self.buffers))
            if number == len(self.buffers):
                self._alive.append(owner)
                self.buffers.append(len(start))
            return ["v", number, int(value.ctypes.data) - int(start.ctypes.data), len(value)]
        if value.dtype.hasobject:
            raise SnapshotFileError(f"{name}: a file cannot hold an array of objects")
        dtype = value.dtype.descr if value.dtype.names else value.dtype.str
        content = np.ascontiguousarray(value).tobytes()
        return ["a", dtype, list(value.shape), self._blob(content), bool(value.flags.writeable)]

    def _number(self, value: Any, name: str) -> list[object]:
        return ["g", value.dtype.str, value.item()]

    def _own_scalar(self, value: Any, name: str) -> list[object]:
        if isinstance(value, enum.Enum):
            plain: Any = value.value
        else:
            plain = next(base for base in (int, str, float) if isinstance(value, base))(value)
        attributes = {} if isinstance(value, enum.Enum) else vars(value)
        encoded = {n: self._value(v, name) for n, v in attributes.items()}
        return ["i", *self._class_of(value), self._value(plain, name), encoded]

    def _partial(self, value: Any, name: str) -> list[object]:
        keywords = [[key, self._value(each, name)] for key, each in value.keywords.items()]
        return ["p", self._value(value.func, name), self._values(value.args, name), keywords]

    def _method(self, value: Any, name: str) -> list[object]:
        return ["m", self._value(value.__self__, name), value.__name__]

    def _built_in(self, value: Any, name: str) -> list[object]:
        if value.__self__ is not None and not isinstance(value.__self__, types.ModuleType):
            return self._method(value, name)
        full = f"{value.__module__}.{value.__name__}"
        return ["x", full] if full in BUILTIN_FUNCTIONS else ["h", name]

    def _function(self, value: Any, name: str) -> list[object]:
        if not is_project_module(value.__module__):
            return ["h", name]
        place = place_of(value)
        if place is None:
            raise SnapshotFileError(f"{name}: a file cannot hold {value.__module__}.{value.__qualname__}")
        free = dict(zip(value.__code__.co_freevars, value.__closure__ or (), strict=True))
        inner = (
            free["name"].cell_contents
            if isinstance(getattr(free.get("name"), "cell_contents", None), str)
            else name
        )
        cells = [
            [variable, self._value(cell.cell_contents, inner)] for variable, cell in free.items() if is_set(cell)
        ]
        keywords = [[key, self._value(each, inner)] for key, each in (value.__kwdefaults__ or {}).items()]
        defaults = self._values(value.__defaults__ or (), inner)
        return ["f", value.__module__, place, value.__qualname__, cells, defaults, keywords]

    def _view(self, value: memoryview, name: str) -> list[object]:
        if value.ndim != 1 or value.format not in VIEWED:
            raise SnapshotFileError(f"{name}: a file cannot hold a memoryview of {value.format!r}")
        return ["M", self._blob(value.tobytes()), value.format]

    def _plan(self, value: Any, name: str) -> list[object]:
        return ["y", value.convention.arch, self._value(value.prototype, name)]

    _KINDS: tuple[tuple[Any, Callable[..., list[object]]], ...] = (
        (CallPlan, _plan),
        (type, _class),
        (types.FunctionType, _function),
        (types.MethodType, _method),
        (types.BuiltinFunctionType, _built_in),
        (types.MethodWrapperType, _method),
        (partial, _partial),
        (dict, _dict),
        (np.ndarray, _array),
        (np.generic, _number),
        (enum.Enum, _own_scalar),
        (tuple, _tuple),
        ((int, str, float), _own_scalar),
        (list, lambda self, value, name: ["l", self._values(value, name)]),
        (set, lambda self, value, name: ["s", self._values(value, name)]),
        (frozenset, lambda self, value, name: ["F", self._values(value, name)]),
        (deque, lambda self, value, name: ["q", value.maxlen, self._values(value, name)]),
        (bytes, lambda self, value, name: ["b", self._blob(value)]),
        (bytearray, lambda self, value, name: ["B", self._blob(bytes(value))]),
        (memoryview, _view),
        (PurePath, lambda self, value, name: ["P", str(value)]),
        (range, lambda self, value, name: ["r", value.start, value.stop, value.step]),
        (struct.Struct, lambda self, value, name: ["S", value.format]),
        (WeakKeyDictionary, lambda self, value, name: ["W"]),
    )


def is_set(cell: types.CellType) -> bool:
    """Whether a variable that a function closes over has a value."""
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _read_only_map() -> type:
    from relink.elf.source import FileMapping

    return FileMapping

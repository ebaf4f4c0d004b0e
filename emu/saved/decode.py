"""The reverse of `emu.saved.encode`: objects from records. What is read is not trusted.

Only classes and functions of this project are made, by name; an object's attributes are set without running any
of its code. Whatever does not fit raises SnapshotFileError.
"""

from __future__ import annotations

import enum
import struct
import types
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from emu.calls.plan import plan_call
from emu.calls.types import Floating, Integer, Pointer, Prototype
from emu.errors import SnapshotFileError
from emu.saved.checks import check_arguments, check_attributes, check_closure, check_object
from emu.saved.encode import BUILTIN_CLASSES, BUILTIN_FUNCTIONS, is_set
from emu.saved.functions import blank, code_at, existing, project_class, project_module
from relink.memory.address_space import PAGE
from relink.memory.host_pages import host_pages

_DICTS: Mapping[object, type] = {"dict": dict, "Counter": Counter, "OrderedDict": OrderedDict}
_LARGEST = 1 << 36  #: bytes of address space that one buffer may take
_SCALARS = (bool, int, float, str)
#: What Python raises for records that do not fit together.
_WRONG = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError, MemoryError)
_WIDEST = 64  #: bytes of a number in C; a vector's elements are single ones


class Decoder:
    """Decodes records.

    `special` returns the object of a name that the reader makes itself, `given` the host's functions by name.
    Names that are not there are added to `missing`.
    """

    def __init__(
        self,
        records: Sequence[Any],
        blobs: Sequence[bytes],
        buffers: Sequence[int],
        special: Callable[[str], object],
        given: Mapping[str, object],
    ) -> None:
        self._records, self._blobs, self._special, self._given = records, blobs, special, given
        if not all(isinstance(size, int) and 0 < size <= _LARGEST and size % PAGE == 0 for size in buffers):
            raise SnapshotFileError("has a buffer of no whole pages, or too large")
        if sum(buffers) > 4 * _LARGEST:
            raise SnapshotFileError("has buffers that are too large together")
        self._buffers = [host_pages(size) for size in buffers]
        self._made: dict[int, Any] = {}
        self._being_made: set[int] = set()
        self._fill: deque[Callable[[], object]] = deque()
        self._keyed: deque[Callable[[], object]] = deque()  #: done when there is nothing more to fill
        self._last: deque[Callable[[], object]] = deque()  #: done when everything is filled
        self._unchecked: list[Any] = []
        self.missing: set[str] = set()

    def decode(self, value: object) -> Any:
        """The object of a value, with all that it refers to. Raises SnapshotFileError."""
        try:
            made = self._value(value)
            while todo := self._fill or self._keyed or self._last:
                todo.popleft()()
        except SnapshotFileError:
            raise
        except _WRONG as error:
            raise SnapshotFileError(f"does not describe a machine: {type(error).__name__}: {error}") from error
        return made

    def check(self, own: tuple[type, Mapping[str, object]]) -> None:
        """Raise SnapshotFileError unless the attributes of all objects, and of the class and attributes given, are
        what their classes declare. To be called when all has been decoded.
        """
        try:
            check_attributes(*own)
            for each in self._unchecked:
                if isinstance(each, partial):
                    check_arguments(each.func, each.args, each.keywords)
                elif isinstance(each, types.FunctionType):
                    free = zip(each.__code__.co_freevars, each.__closure__ or (), strict=True)
                    check_closure(each, {name: cell.cell_contents for name, cell in free if is_set(cell)})
                else:
                    check_object(each)
        except _WRONG as error:  # of comparing what cannot be compared
            raise SnapshotFileError(f"does not describe a machine: {type(error).__name__}: {error}") from error

    def _value(self, value: object) -> Any:
        if value is None or type(value) in _SCALARS:
            return value
        number: Any = value[0] if isinstance(value, list) and len(value) == 1 else None
        if type(number) is not int or not 0 <= number < len(self._records):
            raise SnapshotFileError("refers to a record that does not exist")
        if number not in self._made:
            if number in self._being_made:
                raise SnapshotFileError("has an object that contains itself")
            self._being_made.add(number)
            kind, *rest = self._records[number]
            made = self._KINDS[kind](self, number, *rest)
            self._made[number] = made
            self._being_made.discard(number)
        return self._made[number]

    def _kind(self, value: Any) -> object:
        return self._records[value[0]][0] if isinstance(value, list) else None

    def _values(self, values: Sequence[object]) -> list[Any]:
        return [self._value(each) for each in values]

    def _later(self, number: int, made: Any, fill: Callable[[], object]) -> Any:
        """An object that is filled when all that it may refer to exists."""
        self._made[number] = made
        self._fill.append(fill)
        return made

    # ------------------------------------------------------------ kinds

    def _object(self, number: int, module: str, name: str, attributes: Mapping[str, object]) -> Any:
        cls = project_class(module, name)
        made = blank(cls)
        if made is None:
            raise SnapshotFileError(f"has an object of {module}.{name}")

        def fill() -> None:
            for each, value in attributes.items():
                object.__setattr__(made, each, self._value(value))
            self._unchecked.append(made)
            if isinstance(made, Integer | Floating | Pointer):
                _check_size(made.size)
            if isinstance(made, Prototype):  # hashes of text differ by process
                self._keyed.appendleft(made.__post_init__)

        return self._later(number, made, fill)

    def _dict(self, number: int, kind: str, pairs: Sequence[Any], factory: object) -> Any:
        made = defaultdict(self._value(factory)) if kind == "defaultdict" else _DICTS[kind]()

        def fill() -> None:
            content = [(self._value(key), self._value(value)) for key, value in pairs]
            self._keyed.append(lambda: dict.update(made, content))  # keys must be complete to have their hashes

        return self._later(number, made, fill)

    def _list(self, number: int, values: Sequence[object]) -> Any:
        made: list[Any] = []
        return self._later(number, made, lambda: made.extend(self._values(values)))

    def _set(self, number: int, values: Sequence[object]) -> Any:
        made: set[Any] = set()

        def fill() -> None:
            content = self._values(values)
            self._keyed.append(lambda: made.update(content))

        return self._later(number, made, fill)

    def _deque(self, number: int, longest: int | None, values: Sequence[object]) -> Any:
        made: deque[Any] = deque(maxlen=longest)
        return self._later(number, made, lambda: made.extend(self._values(values)))

    def _tuple_of(self, number: int, module: str, name: str, values: Sequence[object]) -> Any:
        cls = project_class(module, name)
        if not issubclass(cls, tuple):
            raise SnapshotFileError(f"{module}.{name} is no tuple")
        made = tuple.__new__(cls, self._values(values))
        self._unchecked.append(made)
        return made

    def _scalar_of(
        self, number: int, module: str, name: str, value: object, attributes: Mapping[str, object]
    ) -> Any:
        cls: Any = project_class(module, name)
        plain = self._value(value)
        if issubclass(cls, enum.Enum):
            return cls(plain)
        base = next(base for base in (int, str, float) if issubclass(cls, base))
        made = base.__new__(cls, plain)

        def fill() -> None:
            for each, what in attributes.items():
                object.__setattr__(made, each, self._value(what))

        return self._later(number, made, fill)

    def _array(self, number: int, dtype: Any, shape: list[int], blob: int, writable: bool) -> Any:
        described = np.dtype([tuple(row) for row in dtype] if isinstance(dtype, list) else dtype)
        if described.hasobject:
            raise SnapshotFileError("has an array of objects")
        made = np.frombuffer(self._blobs[blob], described).reshape(shape)
        return made.copy() if writable else made

    def _number(self, number: int, dtype: str, value: float) -> Any:
        described = np.dtype(dtype)
        if described.hasobject or type(value) not in _SCALARS:
            raise SnapshotFileError("has an object as a number")
        return described.type(value)

    def _memory(self, number: int, buffer: int, offset: int, size: int) -> Any:
        whole = self._buffers[buffer]
        if not 0 <= offset <= offset + size <= len(whole):
            raise SnapshotFileError("has memory outside its buffer")
        return whole[offset : offset + size]

    def _class(self, number: int, module: str, name: str) -> Any:
        return BUILTIN_CLASSES[name] if module == "builtins" else project_class(module, name)

    def _partial(self, number: int, function: object, arguments: Sequence[object], keywords: Sequence[Any]) -> Any:
        called = self._value(function)
        if not callable(called):
            raise SnapshotFileError("has a partial function that cannot be called")
        made = partial(called, *self._values(arguments), **{key: self._value(each) for key, each in keywords})
        self._unchecked.append(made)
        return made

    def _method(self, number: int, owner: object, name: str) -> Any:
        made = self._value(owner)
        function = getattr(type(made), name)
        if isinstance(function, types.FunctionType):
            return types.MethodType(function, made)
        if isinstance(function, types.MethodDescriptorType | types.WrapperDescriptorType):
            return function.__get__(made)
        raise SnapshotFileError(f"has a method {name} of {type(made).__name__}")

    def _function(
        self,
        number: int,
        module: str,
        place: object,
        qualified: str,
        cells: Sequence[Any],
        defaults: Sequence[object],
        keywords: Sequence[Any],
    ) -> Any:
        code = code_at(module, place)
        found = existing(module, qualified, code)
        if found is not None and not code.co_freevars:
            return found
        closure = {name: types.CellType() for name in code.co_freevars}
        made = types.FunctionType(code, vars(project_module(module)), code.co_name, None, tuple(closure.values()))
        made.__qualname__ = qualified
        self._unchecked.append(made)

        def fill() -> None:
            for name, value in cells:
                if self._kind(value) == "y":  # its prototype must be complete
                    _, convention, prototype = self._records[value[0]]
                    self._last.append(partial(self._set_plan, closure[name], convention, self._value(prototype)))
                else:
                    closure[name].cell_contents = self._value(value)
            made.__defaults__ = tuple(self._values(defaults)) or None
            made.__kwdefaults__ = {key: self._value(each) for key, each in keywords}

        return self._later(number, made, fill)

    @staticmethod
    def _set_plan(cell: types.CellType, convention: str, prototype: Prototype | str) -> None:
        cell.cell_contents = plan_call(convention, prototype)

    def _host_function(self, number: int, name: str) -> Any:
        if name not in self._given:
            self.missing.add(name)
        found = self._given.get(name)
        return found[0] if isinstance(found, tuple) else found

    def _named(self, number: int, name: str) -> Any:
        if name in BUILTIN_FUNCTIONS:
            module, _, function = name.partition(".")
            import builtins
            import time

            return getattr({"builtins": builtins, "time": time}[module], function)
        return self._special(name)

    _KINDS: Mapping[object, Callable[..., Any]] = {
        "o": _object, "d": _dict, "l": _list, "s": _set, "q": _deque, "n": _tuple_of, "i": _scalar_of, "a": _array,
        "g": _number, "v": _memory, "c": _class, "p": _partial, "m": _method, "f": _function, "h": _host_function,
        "x": _named,
        "t": lambda self, number, values: tuple(self._values(values)),
        "F": lambda self, number, values: frozenset(self._values(values)),
        "b": lambda self, number, blob: self._blobs[blob],
        "B": lambda self, number, blob: bytearray(self._blobs[blob]),
        "M": lambda self, number, blob, form: memoryview(self._blobs[blob]).cast(form),
        "P": lambda self, number, path: Path(path),
        "r": lambda self, number, start, stop, step: range(start, stop, step),
        "S": lambda self, number, form: struct.Struct(form),
        "W": lambda self, number: WeakKeyDictionary(),
    }  # fmt: skip


def _check_size(size: object) -> None:
    """Before numbers of this size are computed."""
    if not isinstance(size, int) or not 0 < size <= _WIDEST:
        raise SnapshotFileError(f"has a number of {size!r:.20} bytes")

"""`NamedTuple` whose classes take a tenth of the time to define: for modules that every command imports.

When a class is defined, `typing.NamedTuple` compiles its constructor and all annotations that are strings: in
170 µs, and 4 ms of the 130 of a small load. Here the constructor is compiled at the first use, and annotations
stay strings, which `typing.get_type_hints` reads. Type checkers see the standard class.
"""

from __future__ import annotations

from collections import _tuplegetter  # type: ignore[attr-defined]  # as each field of the standard class is read
from functools import partial
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Self
    from typing import NamedTuple as NamedTuple

Made = TypeVar("Made")


class _Signature:
    """Where `inspect.signature` looks first: compiles the constructor, whose signature it then finds."""

    def __get__(self, instance: object, cls: Any) -> Any:
        owner = _owner(cls)
        if owner is not _Base and "__new__" not in owner.__dict__:
            _compile(owner)
        raise AttributeError("__signature__")


class _Base(tuple):  # type: ignore[type-arg]
    """The base of all classes; all but `__new__` is as `collections.namedtuple` makes it."""

    __slots__ = ()
    if TYPE_CHECKING:
        _fields: tuple[str, ...]
        _field_defaults: dict[str, Any]
    _fields = ()
    _field_defaults = {}  # noqa: RUF012
    _left = 8  #: tuples of a class that are made without compiling `__new__`, which takes longer
    __signature__ = _Signature()

    def __new__(cls, /, *positional: Any, **given: Any) -> Self:
        owner = _owner(cls)
        if owner._left and not given and len(positional) == len(owner._fields):
            owner._left -= 1
            return tuple.__new__(cls, positional)
        return _compile(owner)(cls, *positional, **given)  # type: ignore[no-any-return]

    @classmethod
    def _make(cls, iterable: Iterable[Any], /) -> Self:
        made = tuple.__new__(cls, iterable)
        if len(made) != len(cls._fields):
            raise TypeError(f"Expected {len(cls._fields)} arguments, got {len(made)}")
        return made

    def _replace(self, /, **changes: Any) -> Self:
        made = self._make(map(changes.pop, self._fields, self))
        if changes:
            raise ValueError(f"Got unexpected field names: {list(changes)!r}")
        return made

    __replace__ = _replace

    def _asdict(self) -> dict[str, Any]:
        return dict(zip(self._fields, self, strict=True))

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self)

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in zip(self._fields, self, strict=True))
        return f"{self.__class__.__name__}({values})"


def _owner(cls: type) -> Any:
    """The class that has the fields of a class."""
    if "_fields" in cls.__dict__:
        return cls
    return next(base for base in cls.__mro__ if "_fields" in base.__dict__)


def _compile(owner: Any) -> Any:
    """Give a class its constructor."""
    made = _constructor(owner)
    type.__setattr__(owner, "__new__", staticmethod(made))
    return made


def _constructor(owner: Any) -> Any:
    """The class's `__new__`, in the form that `collections.namedtuple` gives it."""
    names = ", ".join(owner._fields)
    source = f"lambda _cls, {names}: _new(_cls, ({names}{',' if owner._fields else ''}))"
    made = eval(source, {"_new": tuple.__new__, "__builtins__": {}, "__name__": owner.__module__})
    made.__defaults__ = tuple(owner._field_defaults.values())
    made.__name__ = "__new__"
    made.__qualname__ = f"{owner.__qualname__}.__new__"
    return made


def maker(cls: type[Made]) -> Callable[[Iterable[Any]], Made]:
    """A function that makes a tuple of the class from an iterable with a value for each field, whose number is not
    checked. It is C code: for classes of which one file needs many.
    """
    new: Any = tuple.__new__
    return partial(new, cls)


if not TYPE_CHECKING:

    class _Definition(type):
        """Makes ordinary classes, derived from `_Base`, of class statements."""

        def __new__(cls, name, bases, body):
            if not bases:  # NamedTuple itself
                return type.__new__(cls, name, bases, body)
            names = tuple(body.get("__annotations__", ()))
            defaults = {each: body[each] for each in names if each in body}
            if defaults and tuple(defaults) != names[-len(defaults) :]:
                raise TypeError(f"{name}: a field without a default follows one with a default")
            for index, each in enumerate(names):
                body[each] = _tuplegetter(index, None)
            body["__slots__"] = ()
            body["_fields"] = body["__match_args__"] = names
            if defaults:
                body["_field_defaults"] = defaults
            return type(name, (_Base, *bases[1:]), body)

    class NamedTuple(metaclass=_Definition):
        """`typing.NamedTuple`, for class statements."""

"""`dataclass` with methods that are generated on first use instead of at import.

The standard `dataclass` generates and compiles up to six methods when a class is defined, about half a millisecond
per class: for two hundred classes a third of a command's start-up time. Here each method is compiled on its first
use, `__init__` after a few; only the field names are read at import. The constructors of classes that every load
uses are in `generated_constructors`, which `python -m tools.constructors` writes: run it after changing their
fields. A class whose parameters differ from the generated ones does not use it.

Type checkers see the standard decorator, and the options below mean the same. `dataclasses.fields`, `replace` and
`asdict` work on these classes, and standard dataclasses can derive from them.
"""

from __future__ import annotations

from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING

from relink.records.assigned import ASSIGNMENTS as ASSIGNMENTS
from relink.records.assigned import Assigned as Assigned
from relink.records.generated_constructors import CONSTRUCTORS, MISSING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
    from dataclasses import field as field
    from dataclasses import fields as fields
    from dataclasses import is_dataclass as is_dataclass
    from dataclasses import replace as replace
    from functools import cached_property as cached_property
    from typing import Any

# ---------------------------------------------------------------- dataclasses

_MISSING: Any = MISSING
#: What factories of defaults make, as text.
_EMPTY: dict[Any, str] = {list: "[]", dict: "{}", set: "set()"}
_OWN = "__record_fields__"
#: Instances of a class that are made without compiling `__init__`, which takes longer than making this many so.
_FIRST = 12


class _Field:
    """The declaration of one field of a class."""

    __slots__ = ("compare", "default", "factory", "init", "kw_only", "name", "repr")

    def __init__(self, default: Any, factory: Any, init: bool, repr: bool, compare: bool, kw_only: Any) -> None:
        self.name = ""
        self.default = default
        self.factory = factory
        self.init = init
        self.repr = repr
        self.compare = compare
        self.kw_only = kw_only


class _Lazy:
    """A class attribute that is generated on first use and then replaced by the result."""

    __slots__ = ("make", "name", "owner")

    def __init__(self, owner: type, name: str, make: Any) -> None:
        self.owner = owner
        self.name = name
        self.make = make

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        made = self.make(self.owner)
        setattr(self.owner, self.name, made)
        return made.__get__(instance, owner) if callable(made) else made


class _LazyInit(_Lazy):
    """`__init__`: interpreted for the first instances, then compiled."""

    __slots__ = ("left",)

    def __init__(self, owner: type, name: str, make: Any) -> None:
        super().__init__(owner, name, make)
        self.left = _FIRST

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        self.left -= 1
        # From Python 3.13 on, `inspect.signature` gives the class as the instance.
        if instance is None or self.left < 0 or isinstance(instance, type):
            return super().__get__(instance, owner)
        return partial(self._fill, instance)

    def _fill(self, record: Any, /, *positional: Any, **given: Any) -> None:
        """Set the fields as the compiled `__init__` does. For wrong arguments call that: it raises the errors."""
        cls: Any = self.owner
        fields, places, frozen = cls.__record_fields__, cls.__match_args__, cls.__record_frozen__
        taken = dict(zip(places, positional, strict=False))
        taken.update(given)
        left_out, count = fields.keys() - taken.keys(), len(fields)
        # More where an argument is unknown or given twice, or there are too many.
        right = len(positional) + len(given) + len(left_out) == count
        if right and len(places) != count:  # there may be some that are no parameters
            right = all(fields[name].init for name in given)
        values = {**fields, **taken}
        for name in sorted(left_out) if left_out else ():
            value = fields[name].default
            if value is _MISSING:
                if (factory := fields[name].factory) is _MISSING:
                    right = False
                    break
                value = factory()
            values[name] = value
        if not right:
            self.make(cls)(record, *positional, **given)
            return
        if hasattr(cls, "__slots__") or not (frozen or cls.__setattr__ is object.__setattr__):
            put = object.__setattr__ if frozen else setattr
            for _ in map(put, repeat(record), values, values.values()):
                pass
        else:
            record.__dict__.update(values)
        if hasattr(cls, "__post_init__"):
            record.__post_init__()


if not TYPE_CHECKING:

    class cached_property:  # noqa: N801
        """`functools.cached_property` as of Python 3.12: without the lock that 3.11 takes at each use."""

        def __init__(self, function):
            self.function = function
            self.__doc__ = function.__doc__
            self.__module__ = function.__module__

        def __set_name__(self, owner, name):
            self.name = name

        def __get__(self, instance, owner=None):
            if instance is None:
                return self
            value = instance.__dict__[self.name] = self.function(instance)
            if ASSIGNMENTS.wanted and isinstance(instance, Assigned):
                ASSIGNMENTS.last = object()
            return value

    def field(*, default=_MISSING, default_factory=_MISSING, init=True, repr=True, compare=True, kw_only=None):
        """`dataclasses.field`, without `hash` and `metadata`."""
        return _Field(default, default_factory, init, repr, compare, kw_only)

    def dataclass(
        cls=None, /, *, init=True, repr=True, eq=True, frozen=False, kw_only=False, slots=False, weakref_slot=False
    ):
        """`dataclasses.dataclass`, without `order`, `unsafe_hash`, `match_args`, `InitVar` and `KW_ONLY`."""

        def wrap(cls):
            return _process(cls, init, repr, eq, frozen, kw_only, slots, weakref_slot)

        return wrap if cls is None else wrap(cls)

    def replace(record, /, **changes):
        """`dataclasses.replace`."""
        for f in getattr(record, _OWN).values():
            if f.init and f.name not in changes:
                changes[f.name] = getattr(record, f.name)
            elif not f.init and f.name in changes:
                raise ValueError(f"field {f.name} is declared with init=False, it cannot be specified")
        return record.__class__(**changes)

    def fields(record):
        """The fields of a class or an instance: `name`, `default`, `init` …; standard dataclasses too."""
        own = getattr(record, _OWN, None)
        if own is None:
            from dataclasses import fields as standard

            return standard(record)
        return tuple(own.values())

    def is_dataclass(value):
        """Whether this is a dataclass, or an instance of one."""
        cls = value if isinstance(value, type) else type(value)
        return hasattr(cls, _OWN) or hasattr(cls, "__dataclass_fields__")


def _process(
    cls: Any, init: bool, repr: bool, eq: bool, frozen: bool, kw_only: bool, slots: bool, weakref_slot: bool
) -> Any:
    found: dict[str, _Field] = {}
    for base in cls.__mro__[-1:0:-1]:
        found.update(base.__dict__.get(_OWN, {}))
    own = [
        name for name, kind in cls.__annotations__.items() if not kind.startswith(("ClassVar", "typing.ClassVar"))
    ]
    for name in own:
        given = cls.__dict__.get(name, _MISSING)
        one = given if isinstance(given, _Field) else _Field(given, _MISSING, True, True, True, None)
        if one.default.__class__.__hash__ is None:
            raise ValueError(f"mutable default {one.default!r} for field {name}: use default_factory")
        one.name = name
        one.kw_only = kw_only if one.kw_only is None else one.kw_only
        found[name] = one
        if one is given:
            if one.default is _MISSING:
                delattr(cls, name)
            else:
                setattr(cls, name, one.default)
    explicit_hash = cls.__dict__.get("__hash__", _MISSING)
    explicit = explicit_hash is not _MISSING and not (explicit_hash is None and "__eq__" in cls.__dict__)
    if slots:
        cls = _with_slots(cls, own, weakref_slot, frozen)
    setattr(cls, _OWN, found)
    positions = tuple([f.name for f in found.values() if f.init and not f.kw_only])
    type.__setattr__(cls, "__match_args__", positions)
    if init and "__init__" not in cls.__dict__:
        keywords = [f.name for f in found.values() if f.init and f.kw_only]
        cls.__init__ = _ready_init(cls, (*positions, *keywords)) or _LazyInit(cls, "__init__", _init)
    for name, wanted, make in (("__repr__", repr, _repr), ("__eq__", eq, _eq)):
        if wanted and name not in cls.__dict__:
            setattr(cls, name, _Lazy(cls, name, make))
    if eq and not explicit:
        cls.__hash__ = _Lazy(cls, "__hash__", _hash) if frozen else None
    if frozen:
        _freeze(cls)
    cls.__record_frozen__ = frozen
    cls.__dataclass_fields__ = _Lazy(cls, "__dataclass_fields__", _standard_fields)
    cls.__dataclass_params__ = _Lazy(cls, "__dataclass_params__", _standard_parameters)
    return cls


def _with_slots(cls: Any, own: list[str], weakref_slot: bool, frozen: bool) -> Any:
    """A copy of the class with `__slots__`, which cannot be added to an existing class."""
    inherited = {slot for base in cls.__mro__[1:-1] for slot in _slots_of(base)}
    body = dict(cls.__dict__)
    wanted = (*own, "__weakref__") if weakref_slot else own
    body["__slots__"] = tuple(name for name in wanted if name not in inherited)
    for name in (*own, "__dict__", "__weakref__"):
        body.pop(name, None)
    made = type(cls)(cls.__name__, cls.__bases__, body)
    made.__qualname__ = cls.__qualname__
    if frozen and "__getstate__" not in body:
        made.__getstate__ = _get_state
        made.__setstate__ = _set_state
    return made


def _slots_of(base: type) -> tuple[str, ...]:
    slots = base.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _get_state(self: Any) -> list[object]:
    return [getattr(self, name) for name in getattr(self, _OWN)]


def _set_state(self: Any, state: list[object]) -> None:
    for name, value in zip(getattr(self, _OWN), state, strict=True):
        object.__setattr__(self, name, value)


def _freeze(cls: Any) -> None:
    names = frozenset(cls.__record_fields__)

    def __setattr__(self: object, name: str, value: object) -> None:  # noqa: N807
        if type(self) is cls or name in names:
            _refuse(f"cannot assign to field {name!r}")
        super(cls, self).__setattr__(name, value)

    def __delattr__(self: object, name: str) -> None:  # noqa: N807
        if type(self) is cls or name in names:
            _refuse(f"cannot delete field {name!r}")
        super(cls, self).__delattr__(name)

    cls.__setattr__ = __setattr__
    cls.__delattr__ = __delattr__


def _refuse(problem: str) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(problem)


# ---------------------------------------------------------------- methods, each compiled at its first use


def _compiled(cls: type, name: str, parameters: str, body: list[str], names: dict[str, Any]) -> Any:
    source = f"def {name}({parameters}):\n " + "\n ".join(body or ["pass"])
    exec(source, names)  # the field names of a class statement, as the standard library does
    function = names[name]
    function.__qualname__ = f"{cls.__qualname__}.{name}"
    function.__module__ = cls.__module__
    return function


def _init(cls: Any) -> Any:
    parameters, body = constructor_of(cls)
    names = {"_set": object.__setattr__, "_missing": _MISSING}
    return _with_defaults(cls, _compiled(cls, "__init__", parameters, body, names))


def constructor_of(cls: Any) -> tuple[str, list[str]]:
    """The parameters and the statements of a class's `__init__`, as text without the values of defaults: the same
    for `_init` and for `python -m tools.constructors`.
    """
    positional, keyword, body, assigned = ["self"], list[str](), list[str](), list[str]()
    frozen, slots = cls.__record_frozen__, {slot for base in cls.__mro__[:-1] for slot in _slots_of(base)}
    for f in cls.__record_fields__.values():
        value = f.name
        if f.factory is not _MISSING:
            plain = _EMPTY.get(f.factory, f"self.__record_fields__[{f.name!r}].factory()")
            value = f"{plain} if {f.name} is _missing else {f.name}" if f.init else plain
        elif not f.init:
            if f.default is _MISSING:
                continue
            value = f"self.__record_fields__[{f.name!r}].default"
        if f.init:
            (keyword if f.kw_only else positional).append(f"{f.name}=_missing" if _is_optional(f) else f.name)
        assigned.append(f"{f.name}={value}")
        body.append(f"_set(self, {f.name!r}, {value})" if frozen else f"self.{f.name} = {value}")
    if frozen and assigned and slots.isdisjoint(cls.__record_fields__):  # quicker than `object.__setattr__`
        body = [f"self.__dict__.update({', '.join(assigned)})"]
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    return ", ".join([*positional, *(["*", *keyword] if keyword else [])]), body


def _is_optional(f: _Field) -> bool:
    return f.default is not _MISSING or f.factory is not _MISSING


def _with_defaults(cls: Any, constructor: Any) -> Any:
    """Give a constructor the name and the defaults of a class."""
    optional = [f for f in cls.__record_fields__.values() if f.init and _is_optional(f)]
    constructor.__defaults__ = tuple([f.default for f in optional if not f.kw_only])
    constructor.__kwdefaults__ = {f.name: f.default for f in optional if f.kw_only}
    constructor.__name__, constructor.__qualname__ = "__init__", f"{cls.__qualname__}.__init__"
    constructor.__module__ = cls.__module__
    return constructor


def _ready_init(cls: Any, parameters: tuple[str, ...]) -> Any:
    """The class's `__init__` where it has been generated for these parameters; else None."""
    found = CONSTRUCTORS.get(f"{cls.__module__}:{cls.__qualname__}")
    return found and found.__code__.co_varnames[1:] == parameters and _with_defaults(cls, found)


def _compared(cls: Any, owner: str) -> str:
    names = [f.name for f in cls.__record_fields__.values() if f.compare]
    return f"({''.join(f'{owner}.{name}, ' for name in names)})"


def _eq(cls: Any) -> Any:
    same = f"return {_compared(cls, 'self')} == {_compared(cls, 'other')}"
    body = [f"if other.__class__ is self.__class__: {same}", "return NotImplemented"]
    return _compiled(cls, "__eq__", "self, other", body, {})


def _hash(cls: Any) -> Any:
    return _compiled(cls, "__hash__", "self", [f"return hash({_compared(cls, 'self')})"], {})


def _repr(cls: Any) -> Any:
    from reprlib import recursive_repr

    names = [f.name for f in cls.__record_fields__.values() if f.repr]

    def __repr__(self: Any) -> str:  # noqa: N807
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    return recursive_repr()(__repr__)


def _standard_fields(cls: Any) -> Any:
    from relink.records.standard import fields_of  # only `dataclasses` asks for them

    return fields_of(cls, _MISSING)


def _standard_parameters(cls: Any) -> Any:
    from relink.records.standard import parameters_of

    return parameters_of(cls, _MISSING)

"""Functions of this project in files: by module and place in its code, with the values they close over."""

from __future__ import annotations

import enum
import importlib
import importlib.util
import types
from collections import Counter
from collections.abc import Iterator
from functools import cache
from operator import attrgetter
from typing import Any, TypeAlias

from emu.errors import SnapshotFileError
from relink.errors import RelinkError

#: Rooms whose functions may be in a file. No others are imported for one.
ROOMS = ("emu", "relink")
_NEVER = ("emu.cli", "emu.pytest_plugin", "emu.__main__")


def is_project_module(name: object) -> bool:
    """Whether a module may be named in a file."""
    return isinstance(name, str) and name.partition(".")[0] in ROOMS and not name.startswith(_NEVER)


def project_module(name: object) -> types.ModuleType:
    """Import a module of this project. Raises SnapshotFileError for any other."""
    if not isinstance(name, str) or not is_project_module(name) or importlib.util.find_spec(name) is None:
        raise SnapshotFileError(f"names the module {name!r}")
    return importlib.import_module(name)


def project_class(module: object, name: object) -> type:
    """A class of this project. Raises SnapshotFileError."""
    found: Any = project_module(module)
    for part in str(name).split("."):
        found = vars(found).get(part) if isinstance(found, types.ModuleType | type) else None
    if not isinstance(found, type) or found.__module__ != module:
        raise SnapshotFileError(f"names the class {module}.{name}")
    return found


def blank(cls: type) -> Any:
    """A new object of a class of this project, without attributes, none of whose code runs. None where all of its
    state may not be in attributes: such objects cannot be in a file.
    """
    if issubclass(cls, type | enum.Enum):
        return None
    # Errors are state too, such as what is wrong with a file that was loaded all the same.
    base: Any = Exception if issubclass(cls, RelinkError) else object
    try:
        return base.__new__(cls)
    except TypeError:  # derived from a class that is written in C
        return None


@cache
def _code_of(module: str) -> types.CodeType:
    loader: Any = project_module(module).__loader__
    code = loader.get_code(module)
    assert isinstance(code, types.CodeType)
    return code


#: From a module inwards: the name of each code object, with its number among those of this name.
Place: TypeAlias = "tuple[tuple[str, int], ...]"


@cache
def _places(module: str) -> tuple[dict[types.CodeType, Place], dict[Place, types.CodeType]]:
    """The places of the code objects of a module, and the code objects at these places."""
    found = list(_walk(_code_of(module), ()))
    return dict(found), {place: code for code, place in found}


#: Comprehensions, which Python compiles as parts of the function around them since 3.12.
_INLINED = frozenset({"<listcomp>", "<setcomp>", "<dictcomp>"})


def _walk(code: types.CodeType, place: Place) -> Iterator[tuple[types.CodeType, Place]]:
    seen: Counter[str] = Counter()
    for each in sorted(_inner(code), key=attrgetter("co_firstlineno")):
        inner = (*place, (each.co_name, seen[each.co_name]))
        seen[each.co_name] += 1
        yield each, inner
        yield from _walk(each, inner)


def _inner(code: types.CodeType) -> Iterator[types.CodeType]:
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            if each.co_name in _INLINED:
                yield from _inner(each)
            else:
                yield each


def place_of(function: types.FunctionType) -> Place | None:
    """The place of a function's code in its module; None where it has none, such as code made at run time."""
    return _places(function.__module__)[0].get(function.__code__)


def code_at(module: object, place: object) -> types.CodeType:
    """The code at a place, as read from a file. Raises SnapshotFileError."""
    name = project_module(module).__name__
    try:
        return _places(name)[1][tuple((str(part), int(number)) for part, number in place)]  # type: ignore[attr-defined]
    except (KeyError, TypeError, ValueError):
        raise SnapshotFileError(f"names a function of {module} that does not exist: {place!r:.200}") from None


def existing(module: str, qualified: str, code: types.CodeType) -> types.FunctionType | None:
    """The function of a module that has this code, when it is found by its name."""
    found: Any = project_module(module)
    for part in qualified.split("."):
        found = vars(found).get(part) if isinstance(found, types.ModuleType | type) else None
        if isinstance(found, staticmethod | classmethod):
            found = found.__func__
    return found if isinstance(found, types.FunctionType) and found.__code__ == code else None

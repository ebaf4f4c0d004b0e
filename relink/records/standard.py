"""The classes of `relink.records` as the standard library sees them."""

from __future__ import annotations

import dataclasses
from typing import Any


def _standard(cls: Any, missing: object) -> Any:
    """A standard dataclass with the same fields; `dataclasses` reads its field descriptions."""
    body: dict[str, Any] = {"__annotations__": {}}
    for f in cls.__record_fields__.values():
        given: dict[str, Any] = {"init": f.init, "repr": f.repr, "compare": f.compare, "kw_only": f.kw_only}
        if f.default is not missing:
            given["default"] = f.default
        elif f.factory is not missing:
            given["default_factory"] = f.factory
        body["__annotations__"][f.name] = next(
            (base.__annotations__[f.name] for base in cls.__mro__[:-1] if f.name in base.__annotations__), "object"
        )
        body[f.name] = dataclasses.field(**given)
    made = type(cls.__name__, (), {**body, "__doc__": cls.__doc__ or cls.__name__})
    return dataclasses.dataclass(init=False, repr=False, frozen=cls.__record_frozen__)(made)


def fields_of(cls: Any, missing: object) -> dict[str, dataclasses.Field[Any]]:
    """`__dataclass_fields__` of a class; `missing` stands for no default."""
    made: dict[str, dataclasses.Field[Any]] = _standard(cls, missing).__dataclass_fields__
    return made


def parameters_of(cls: Any, missing: object) -> Any:
    """`__dataclass_params__` of a class."""
    return _standard(cls, missing).__dataclass_params__

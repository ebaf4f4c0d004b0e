"""Printing reports as JSON or tables.

A command's report is a frozen dataclass; its JSON has its fields and `schema`, its name and version. An `Address`
is a hexadecimal string in JSON: addresses have 64 bits, and many JSON readers keep only 53.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar, Protocol, TypeAlias, TypeVar

from emu.cli.plain import Console, Table
from emu.cli.text import printable
from relink.records import fields, is_dataclass

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


class Address(int):
    """A guest address, or a link-time one."""

    def __str__(self) -> str:
        return f"{self:#x}"


class Report(Protocol):
    """A frozen dataclass with the result of a command."""

    schema: ClassVar[str]  #: "relink-emu/<command>/<version>"


_R = TypeVar("_R", bound=Report)


def emit(report: _R, show: Callable[[_R, Console], None], *, as_json: bool) -> None:
    """Print a report to standard output, as JSON or by `show`."""
    if as_json:
        write_json({"schema": report.schema, **fields_of(report)})
    else:
        show(report, console())


def write_json(value: Mapping[str, Json]) -> None:
    """One JSON object on standard output, the warnings of the command among its fields."""
    from emu.cli.log import warnings

    own = value.get("warnings") or []
    value = {**value, "warnings": [*(own if isinstance(own, list) else ()), *warnings()]}
    import json

    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=True, allow_nan=False) + "\n")


def fields_of(report: object) -> dict[str, Json]:
    """The fields of a dataclass as JSON values."""
    return {f.name: jsonable(getattr(report, f.name)) for f in fields(report)}  # type: ignore[arg-type]


def jsonable(value: object) -> Json:
    """A field as a JSON value. A float that JSON cannot express is its name as a string."""
    if isinstance(value, Address):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if is_dataclass(value):
        return fields_of(value)
    if isinstance(value, Iterable):
        return [jsonable(item) for item in value]
    raise TypeError(f"{type(value).__name__} has no JSON form")


def console(*, stderr: bool = False) -> Console:
    """A console that folds lines at the terminal's width (COLUMNS overrides it), but not in a pipe."""
    return Console(sys.stderr if stderr else sys.stdout)


def table(*columns: str) -> Table:
    """An empty table without lines. A column whose name starts with `>` is for numbers."""
    return Table(*columns)


def hexadecimal(value: int, width: int = 0) -> str:
    """`0x…`, zero-filled to `width` digits."""
    return f"{value:#0{width + 2}x}" if width else f"{value:#x}"


def shown(name: str, *, demangle: bool) -> str:
    """A symbol's name for display."""
    from emu.debug.demangle import demangled

    return printable((demangled(name) if demangle else None) or name)

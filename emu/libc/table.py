"""The table of the hosted C library's exports.

A function is exported by decorating it with its C prototype; nothing else is required:

    @export("size_t strlen(const char *s)")
    def strlen(libc: Libc, s: int) -> int: ...

Prototypes are parsed only when a guest binds the symbol. A data symbol is a function that returns its initial
bytes; it gets guest memory when it is first bound.
"""

from __future__ import annotations

import functools
import importlib
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias, TypeVar

from emu.isa.spec import Helpers, Isa
from relink.records import dataclass

#: Called with the Libc first, then the arguments of the prototype.
Implementation: TypeAlias = Callable[..., "int | float | None"]
_F = TypeVar("_F", bound=Implementation)
_D = TypeVar("_D", bound=Callable[..., bytes])

#: The modules with the functions, by subject, in the order of the generated documentation.
FAMILIES = (
    "allocation", "memory", "strings", "ctype", "wide", "locale", "locale_names", "uchar", "numbers", "sorting",
    "stdio", "formatted", "formatted_wide",
    "files", "mman", "limits", "internet", "resolver", "addresses", "configuration", "obstack", "temporary",
    "users", "at_calls", "permissions", "file_times", "pipes", "readiness", "iconv", "shared_memory", "terminals",
    "unavailable", "vectored", "stdio_ext", "paths", "directories", "process", "handlers", "signals",
    "signal_masks", "startup", "dlfcn", "reports", "environment", "getopt", "clock", "timers", "strftime", "rand",
    "jumps", "threads", "c11_threads", "locks", "lock_attributes", "cancellation", "scheduling", "semaphores",
    "timed_waits", "thread_attributes", "fortify", "fortify_rare", "memory_streams", "older_text", "regex_syntax",
    "libm", "libm_parts", "fenv", "integers", "softfloat", "quad",
    "eabi", "atomics",
)  # fmt: skip

#: Tells on which ISAs a function exists.
Condition: TypeAlias = Callable[[Isa], bool]


def wide(isa: Isa) -> bool:
    """ISAs with 64-bit registers, and therefore 128-bit integers."""
    return isa.wide


def long_double_by_value(isa: Isa) -> bool:
    """ISAs that pass a long double by value."""
    return isa.long_double_by_value


def has_aeabi(isa: Isa) -> bool:
    """ISAs with Arm's run-time ABI."""
    return Helpers.AEABI in isa.libc.helpers


_NAME = re.compile(r"(\w+)\s*\(")


@dataclass(frozen=True, slots=True)
class Export:
    """One exported function. `on` is None when every ISA has it."""

    name: str
    prototype: str
    call: Implementation
    family: str
    on: Condition | None = None

    def serves(self, isa: Isa) -> bool:
        return self.on is None or self.on(isa)


@dataclass(frozen=True, slots=True)
class DataExport:
    """One exported variable under all its names; `initial(libc)` gives its bytes (and so its size)."""

    names: tuple[str, ...]
    initial: Callable[..., bytes]
    family: str


_functions: dict[str, list[Export]] = {}
_data: dict[str, DataExport] = {}


def register(
    name: str, prototype: str, call: Implementation, on: Condition | None = None, *, family: str = ""
) -> None:
    """Add one function; used directly for generated functions.

    Several functions with the same name must have conditions of which at most one holds for an ISA. `family` is
    the module that registers it, if `call` is defined in another.
    """
    row = Export(name, prototype, call, family or call.__module__.rpartition(".")[2], on)
    rows = _functions.setdefault(name, [])
    if rows and (on is None or any(other.on is None for other in rows)):
        raise _twice(row, rows[0])
    rows.append(row)


def _twice(row: Export, other: Export) -> ValueError:
    return ValueError(f"{row.name} is exported twice: in {other.family} and {row.family}")


def export(prototype: str, *, alias: Iterable[str] = (), on: Condition | None = None) -> Callable[[_F], _F]:
    """Export a function under the name in its prototype and every `alias`, on ISAs for which `on` holds."""
    found = _NAME.search(prototype)
    if found is None:
        raise ValueError(f"no function name in {prototype!r}")

    def add(call: _F) -> _F:
        for name in (found[1], *alias):
            register(name, prototype, call, on)
        return call

    return add


def export_data(*names: str) -> Callable[[_D], _D]:
    """Export a variable under `names`; the function, given the Libc, returns its initial bytes."""

    def add(initial: _D) -> _D:
        row = DataExport(names, initial, initial.__module__.rpartition(".")[2])
        _data.update(dict.fromkeys(names, row))
        return initial

    return add


@functools.cache
def _load() -> None:
    for family in FAMILIES:
        _import(family)


def _import(family: str) -> None:
    try:
        importlib.import_module(f"emu.libc.{family}")
    except BaseException:  # of a signal handler, say: what modules have exported so far, they will export again
        for name, rows in list(_functions.items()):
            _functions[name] = [row for row in rows if f"emu.libc.{row.family}" in sys.modules]
            if not _functions[name]:
                del _functions[name]
        for name, row in list(_data.items()):
            if f"emu.libc.{row.family}" not in sys.modules:
                del _data[name]
        raise


def find(name: str, isa: Isa) -> Export | DataExport | None:
    """The row for `name` on an ISA. Imports only the family that has it, by the generated index.

    Raises ValueError when several rows are valid for the ISA.
    """
    if name not in _functions and name not in _data:
        family = family_of(name)
        if family is None:
            return None
        _import(family)
    rows = [row for row in _functions.get(name, ()) if row.serves(isa)]
    if len(rows) > 1:
        raise _twice(*rows[:2])
    return rows[0] if rows else _data.get(name)


def knows(name: str) -> bool:
    """Whether there is a row for `name` on any ISA."""
    return name in _functions or name in _data or family_of(name) is not None


def is_function(name: str) -> bool:
    """Whether `name` is a function on every ISA, by the generated index alone; no family is imported."""
    return family_of(name) is not None and name not in _index()[1]


def family_of(name: str) -> str | None:
    """The family that exports `name`, from the generated index."""
    return _index()[0].get(name)


@functools.cache
def _index() -> tuple[dict[str, str], frozenset[str]]:
    """Name -> family; the names of variables, and of functions that only some ISAs have."""
    from emu.libc.generated_index import NAMES, OTHERS

    return {name: family for family, names in NAMES.items() for name in names.split()}, frozenset(OTHERS.split())


def functions(isa: Isa | None = None) -> Iterator[Export]:
    """Every function row, or those of one ISA."""
    _load()
    for rows in _functions.values():
        yield from (row for row in rows if isa is None or row.serves(isa))


def variables() -> list[DataExport]:
    """Every variable row."""
    _load()
    return list(dict.fromkeys(_data.values()))

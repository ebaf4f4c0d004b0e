"""The one table of what the hosted C library exports.

A function is exported by decorating it with its C prototype; that line is all it takes:

    @export("size_t strlen(const char *s)")
    def strlen(libc: Libc, s: int) -> int: ...

Prototypes stay text: nothing is parsed until a guest binds the symbol. Data symbols are functions that
return their initial bytes; each is given guest memory when first asked for.
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

#: Called with the Libc first, then the arguments of the prototype.
Implementation: TypeAlias = Callable[..., "int | float | None"]
_F = TypeVar("_F", bound=Implementation)
_D = TypeVar("_D", bound=Callable[..., bytes])

#: The files that hold the functions, by subject, in the order of the generated documentation.
FAMILIES = (
    "allocation", "memory", "strings", "ctype", "wide", "locale", "numbers", "sorting", "stdio", "formatted",
    "files", "stdio_ext", "paths", "directories", "process", "startup", "dlfcn", "reports", "environment",
    "getopt", "clock", "rand", "jumps", "threads", "fortify", "libm", "integers", "softfloat", "quad", "eabi",
    "atomics",
)  # fmt: skip

#: The ISAs with 64-bit registers, and those without.
WIDE = ("x86_64", "aarch64", "riscv64", "loongarch64")
NARROW = ("i386", "arm", "riscv32")
#: The ISAs that pass a long double by value (RISC-V 32 does so by reference).
PASS_LONG_DOUBLE = (*WIDE, "i386", "arm")

_NAME = re.compile(r"(\w+)\s*\(")


@dataclass(frozen=True, slots=True)
class Export:
    """One exported function. `arches` is None when every ISA has it."""

    name: str
    prototype: str
    call: Implementation
    family: str
    arches: frozenset[str] | None = None

    def serves(self, arch: str) -> bool:
        return self.arches is None or arch in self.arches


@dataclass(frozen=True, slots=True)
class DataExport:
    """One exported variable under all its names; `initial(libc)` gives its bytes (and so its size)."""

    names: tuple[str, ...]
    initial: Callable[..., bytes]
    family: str


_functions: dict[str, list[Export]] = {}
_data: dict[str, DataExport] = {}


def register(
    name: str, prototype: str, call: Implementation, arches: Iterable[str] | None = None, *, family: str = ""
) -> None:
    """Add one function: how generated ones enter the table. Raises ValueError for a second definition.

    `family` is the file that registers it, where that is not the file `call` is written in.
    """
    chosen = None if arches is None else frozenset(arches)
    rows = _functions.setdefault(name, [])
    for row in rows:
        if row.arches is None or chosen is None or row.arches & chosen:
            raise ValueError(f"{name} is exported twice: in {row.family} and {call.__module__}")
    rows.append(Export(name, prototype, call, family or call.__module__.rpartition(".")[2], chosen))


def export(
    prototype: str, *, alias: Iterable[str] = (), arches: Iterable[str] | None = None
) -> Callable[[_F], _F]:
    """Export a function under the name in its prototype and under every `alias`, on `arches` (None: all)."""
    found = _NAME.search(prototype)
    if found is None:
        raise ValueError(f"no function name in {prototype!r}")
    arches = None if arches is None else tuple(arches)

    def add(call: _F) -> _F:
        for name in (found[1], *alias):
            register(name, prototype, call, arches)
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
        importlib.import_module(f"emu.libc.{family}")


def find(name: str, arch: str) -> Export | DataExport | None:
    """The row for `name` on `arch`. Imports only the family that, by the generated index, has it."""
    if name not in _functions and name not in _data:
        family = family_of(name)
        if family is None:
            return None
        importlib.import_module(f"emu.libc.{family}")
    for row in _functions.get(name, ()):
        if row.serves(arch):
            return row
    return _data.get(name)


def family_of(name: str) -> str | None:
    """The family that exports `name`, as the generated index has it."""
    return _index().get(name)


@functools.cache
def _index() -> dict[str, str]:
    from emu.libc.generated_index import NAMES

    return {name: family for family, names in NAMES.items() for name in names.split()}


def functions(arch: str | None = None) -> Iterator[Export]:
    """Every function row, or those of one ISA."""
    _load()
    for rows in _functions.values():
        yield from (row for row in rows if arch is None or row.serves(arch))


def variables() -> list[DataExport]:
    """Every variable row."""
    _load()
    return list(dict.fromkeys(_data.values()))

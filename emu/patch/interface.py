"""The interface of a library, and how that of another version of it differs.

An interface is what other images and callers rely on: SONAME, exported symbols with their versions, sizes and C
types, the layout of the types they refer to, and what the library needs itself. Nothing is loaded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from emu.calls.compare import TypeChange, TypeUses, record_changes, type_change
from emu.calls.declared import types_of
from emu.calls.types import CType, FunctionType, Prototype
from relink.arch import Architecture
from relink.elf import Decoded
from relink.elf.constants import (
    SHN_ABS,
    SHN_UNDEF,
    VER_FLG_BASE,
    VERSYM_HIDDEN,
    SymbolBind,
    SymbolType,
    Visibility,
)
from relink.errors import DebugInfoError
from relink.records import cached_property, dataclass

_KINDS: Mapping[int, str] = {
    SymbolType.FUNC: "function",
    SymbolType.GNU_IFUNC: "function",
    SymbolType.OBJECT: "variable",
    SymbolType.COMMON: "variable",
    SymbolType.TLS: "thread-local variable",
}
_VISIBLE = (Visibility.DEFAULT, Visibility.PROTECTED)


class Export(NamedTuple):
    """An exported symbol."""

    name: str
    version: str | None
    default: bool  #: whether references without a version bind to it
    kind: str  #: "function", "variable", "thread-local variable" or "symbol"
    size: int  #: bytes
    value: int  #: link-time address

    @property
    def full(self) -> str:
        """The name with its version: `f`, `f@V1`, or `f@@V2` for the default one."""
        return self.name if self.version is None else f"{self.name}{'@@' if self.default else '@'}{self.version}"

    def __str__(self) -> str:
        return f"{self.kind} {self.full}"


class Interface:
    """The interface of one decoded file."""

    def __init__(self, decoded: Decoded, arch: Architecture) -> None:
        self.decoded = decoded
        self._arch = arch
        self.problems: list[str] = []  #: why the types of some exports are unknown

    @cached_property
    def versions(self) -> set[str]:
        """The versions that it defines, without its own name."""
        return {each.name for each in self.decoded.versions.defined if not each.flags & VER_FLG_BASE}

    @cached_property
    def exports(self) -> dict[tuple[str, str | None], Export]:
        """Exported symbols by (name, version)."""
        table, versions = self.decoded.symbols, self.decoded.versions
        own = {each.name for each in versions.defined}
        visible = np.isin(table.visibility, _VISIBLE) & (table.bind != SymbolBind.LOCAL)
        rows = np.flatnonzero(visible & (table.section != SHN_UNDEF))
        found = {}
        for row, name in zip(rows.tolist(), table.names.take(rows).texts(), strict=True):
            if table.section[row] == SHN_ABS and name in own:
                continue  # the symbol of a version
            version = int(table.version[row])
            export = Export(
                name,
                versions.name_of(version),
                not version & VERSYM_HIDDEN,
                _KINDS.get(int(table.type[row]), "symbol"),
                int(table.size[row]),
                int(table.value[row]),
            )
            found[name, export.version] = export
        return found

    @cached_property
    def imports(self) -> set[str]:
        """The names of its undefined symbols, without weak ones."""
        table = self.decoded.symbols
        rows = np.flatnonzero((table.section == SHN_UNDEF) & (table.bind != SymbolBind.WEAK))
        return {name for name in table.names.take(rows).texts() if name}

    @cached_property
    def relocations(self) -> Counter[str]:
        """The number of entries by relocation type."""
        found: Counter[str] = Counter(RELR=len(self.decoded.relr))
        for table in self.decoded.relocations:
            for number, count in zip(
                *(a.tolist() for a in np.unique(table.type, return_counts=True)), strict=True
            ):
                found[self._arch.relocation_name(number)] += count
        return +found

    def type_of(self, export: Export) -> Prototype | CType | None:
        """The type of an export from DWARF; None where it is unknown."""
        try:
            types = types_of(self.decoded, self._arch.name)
            if types is None:
                return None
            if export.kind == "function":
                return types.prototype(export.name, export.value & self._arch.code_address_mask)
            return types.variable(export.name, None if export.kind.startswith("thread") else export.value)
        except DebugInfoError as error:
            self.problems.append(str(error))
            return None

    @cached_property
    def types(self) -> dict[tuple[str, str | None], Prototype | CType]:
        """The types of the exports, where they are known."""
        found = ((key, self.type_of(export)) for key, export in self.exports.items())
        return {key: ctype for key, ctype in found if ctype is not None}

    @cached_property
    def uses(self) -> TypeUses:
        """The types that the exports refer to."""
        return TypeUses(
            {
                self.exports[key].full: [FunctionType(ctype) if isinstance(ctype, Prototype) else ctype]
                for key, ctype in self.types.items()
            }
        )

    def serves(self, export: Export) -> Export | None:
        """The export that references to an export of another version of the library bind to; None without one."""
        exact = self.exports.get((export.name, export.version))
        if exact is not None or export.version is not None:
            return exact
        return next(
            (each for (name, _), each in self.exports.items() if name == export.name and each.default), None
        )


@dataclass(frozen=True)
class Difference:
    """The differences of one symbol, type or library of an interface."""

    subject: str  #: such as "function add", "struct point", "SONAME"
    change: str  #: "added", "removed" or "changed"
    compatible: bool  #: whether everything that uses the old version can use the new one as before
    details: tuple[str, ...] = ()
    users: tuple[str, ...] = ()  #: of a type: the exports that refer to it


def compare(old: Interface, new: Interface) -> list[Difference]:
    """The differences between two versions of a library: what is its own, symbols, types, what it needs."""
    return [*_identity(old, new), *_symbols(old, new), *_types(old, new), *_needs(old, new)]


def _identity(old: Interface, new: Interface) -> Iterator[Difference]:
    before, after = old.decoded.soname, new.decoded.soname
    if before != after:
        yield Difference("SONAME", "changed", False, (f"was {before or 'none'}, is {after or 'none'}",))
    for version in sorted(old.versions - new.versions):
        yield Difference(f"version {version}", "removed", False)


def _symbols(old: Interface, new: Interface) -> Iterator[Difference]:
    served = set[tuple[str, str | None]]()
    for key, export in old.exports.items():
        other = new.serves(export)
        if other is None:
            yield Difference(str(export), "removed", False)
            continue
        served.add((other.name, other.version))
        changes = [*_symbol(export, other)]
        one, two = old.types.get(key), new.types.get((other.name, other.version))
        if one is not None and two is not None and export.kind == other.kind:
            changes += [change] if (change := type_change(one, two)) is not None else []
        if changes:
            compatible = all(change.compatible for change in changes)
            yield Difference(str(export), "changed", compatible, tuple(change.text for change in changes))
    for key, export in new.exports.items():
        if key not in served and key not in old.exports:
            yield Difference(str(export), "added", True)


def _symbol(old: Export, new: Export) -> Iterator[TypeChange]:
    if old.kind != new.kind:
        yield TypeChange(f"is a {new.kind} now")
    elif old.kind != "function" and old.size != new.size:  # executables copy variables (R_*_COPY)
        yield TypeChange(f"its size was {old.size} bytes, is {new.size} bytes")
    if old.full != new.full:
        yield TypeChange(f"is {new.full} now", compatible=True)


def _types(old: Interface, new: Interface) -> Iterator[Difference]:
    for tag, before in sorted(old.uses.types.items()):
        after = new.uses.types.get(tag)
        changes = [] if after is None else record_changes(before, after)
        if changes:
            compatible = all(change.compatible for change in changes)
            texts = tuple(change.text for change in changes)
            yield Difference(tag, "changed", compatible, texts, tuple(old.uses.of(tag)))


def _needs(old: Interface, new: Interface) -> Iterator[Difference]:
    for what, before, after in (
        ("library", set(old.decoded.needed), set(new.decoded.needed)),
        ("import", old.imports, new.imports),
    ):
        yield from (Difference(f"{what} {name}", "removed", True) for name in sorted(before - after))
        yield from (Difference(f"{what} {name}", "added", True) for name in sorted(after - before))

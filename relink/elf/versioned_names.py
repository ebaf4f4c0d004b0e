"""Versions in the symbol names of relocatable objects: `N@@V` and `N@V`, made by the `.symver` directive.

- A definition `N@@V` defines N and also N with version V; `N@V` only the latter.
- A reference `N@V` refers to N with version V.

Linkers interpret these names for every kind of output (GNU ld, bfd/elflink.c; lld, `parseSymbolVersion`).
"""

from __future__ import annotations

from relink.records.tuples import NamedTuple


class VersionedName(NamedTuple):
    """The parts of a symbol's name; `version` is None for a plain name."""

    base: str
    version: str | None = None
    default: bool = False  #: of a definition: whether it also satisfies references without a version

    @property
    def full(self) -> str:
        """The name as used in references: `N` or `N@V`."""
        return self.base if self.version is None else f"{self.base}@{self.version}"


def versioned(name: str) -> VersionedName:
    """Split a name into its parts. A name that begins with @ or ends with it has no version."""
    base, at, version = name.partition("@")
    default = version.startswith("@")
    version = version.lstrip("@")
    return VersionedName(base, version, default) if at and base and version else VersionedName(name)


def names_defined(name: str) -> tuple[str, ...]:
    """The reference names that a definition with this name satisfies."""
    found = versioned(name)
    return (found.base, found.full) if found.default else (found.full,)

"""Versions in the names of objects' symbols: `N@@V` and `N@V`, which assemblers' `.symver` makes.

A definition `N@@V` defines N, and N in version V; `N@V` only the latter. A reference `N@V` asks for N in version
V. Linkers go by these names whatever they make (GNU ld, bfd/elflink.c; lld, `parseSymbolVersion`).
"""

from __future__ import annotations

from typing import NamedTuple


class VersionedName(NamedTuple):
    """A symbol's name taken apart; `version` is None for a plain one."""

    base: str
    version: str | None = None
    default: bool = False  #: of a definition: whether references without a version get it too

    @property
    def full(self) -> str:
        """The name as references ask for it."""
        return self.base if self.version is None else f"{self.base}@{self.version}"


def versioned(name: str) -> VersionedName:
    """Take a name apart. One that begins with @, or has nothing behind it, has no version."""
    base, at, version = name.partition("@")
    default = version.startswith("@")
    version = version.lstrip("@")
    return VersionedName(base, version, default) if at and base and version else VersionedName(name)


def names_defined(name: str) -> tuple[str, ...]:
    """What a definition of that name answers, as references ask for it."""
    found = versioned(name)
    return (found.base, found.full) if found.default else (found.full,)

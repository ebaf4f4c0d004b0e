"""A cache of what depends on an architecture and a relocation type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from relink.arch.spec import Architecture

T = TypeVar("T")


class _Types(dict[int, T]):
    """The cache of one architecture, by the number of the type."""

    def __init__(self, arch: Architecture, find: Callable[[Architecture, int], T]) -> None:
        self.arch, self.find = arch, find

    def __missing__(self, number: int) -> T:
        found = self[number] = self.find(self.arch, number)
        return found


class ByType(Generic[T]):
    """`ByType(find)[arch][number]` is `find(arch, number)`; what that raises is raised each time.

    An architecture has some hundred types, and there are few architectures: all is kept.
    """

    def __init__(self, find: Callable[[Architecture, int], T]) -> None:
        self._find = find
        self._known: dict[int, _Types[T]] = {}  # by identity: architectures have no hash; each keeps its own alive

    def __getitem__(self, arch: Architecture) -> _Types[T]:
        known = self._known.get(id(arch))
        return known if known is not None else self._known.setdefault(id(arch), _Types(arch, self._find))

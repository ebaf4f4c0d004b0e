"""The active patches of a machine, found by their addresses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar


class Written(Protocol):
    """The part of a patch that is used here."""

    address: int
    number: int
    code: bytes

    @property
    def end(self) -> int: ...


P = TypeVar("P", bound=Written)


class ActivePatches(Generic[P]):
    """Patches of one address are stacked; all others do not overlap."""

    def __init__(self) -> None:
        self._at: dict[int, list[P]] = {}  #: by the first changed byte, oldest first
        self._longest = 0  #: the most bytes that any has had
        self.count = 0  #: of all that there have been

    def __iter__(self) -> Iterator[P]:
        """All of them, oldest first."""
        return iter(
            sorted((patch for stack in self._at.values() for patch in stack), key=lambda each: each.number)
        )

    def stack_for(self, patch: P) -> list[P]:
        """The patches at the address of one that is to be added to them."""
        self._longest = max(self._longest, len(patch.code))
        self.count += 1
        patch.number = self.count
        return self._at.setdefault(patch.address, [])

    def stack_of(self, patch: P) -> list[P]:
        """The patches at the address of a patch."""
        return self._at.get(patch.address, [])

    def forget_empty(self, patch: P) -> None:
        """Forget the address of a patch that has been removed, if there is no other."""
        if not self.stack_of(patch):
            self._at.pop(patch.address, None)

    def overlapping(self, patch: P) -> P | None:
        """A patch that begins at another address and has bytes in common with this one."""
        for address in range(patch.address - self._longest + 1, patch.end):
            for other in self._at.get(address, ()):
                if address != patch.address and patch.address < other.end:
                    return other
        return None

"""The states of flash that cuts lead to, and what boots them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple, TypeAlias

from emu.boards.power.results import Cut, Outcome
from emu.boards.power.starts import End, Found


class State:
    """One content of all flash devices, and the cuts that lead to it."""

    __slots__ = ("contents", "cut", "depth", "digest", "end", "parent")

    def __init__(self, found: Found, parent: State | None) -> None:
        self.digest, self.contents, self.cut = found
        self.parent = parent
        self.depth: int = 1 if parent is None else parent.depth + 1
        self.end: End | None = None  #: once it has been booted

    def cuts(self) -> tuple[Cut, ...]:
        """The cuts that lead here."""
        return (*(() if self.parent is None else self.parent.cuts()), self.cut)

    def outcome(self) -> Outcome:
        """How starts from this state end."""
        assert self.end is not None
        return Outcome(self.cuts(), self.end.problem, self.end.trouble)


class Used(NamedTuple):
    """The runs and time that all starts so far have taken."""

    early: int  #: runs that ended early
    wear: int  #: the most erases of a sector since the start
    cpu_seconds: float


#: A state with how it ends up, and what was found in its recovery.
Booted: TypeAlias = tuple[State, End, list[Found]]
#: Boots states, and yields them in their order; notes what cuts of their recoveries would leave if asked to.
Booter: TypeAlias = Callable[[Sequence[State], bool], Generator[Booted]]

"""The code of one image that has run: blocks, and by them lines, functions and branches."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from relink.records import dataclass, field

if TYPE_CHECKING:
    from relink.elf.decoded import Decoded


class ModuleKey(NamedTuple):
    """The identity of an image."""

    path: str
    arch: str  #: "" if it is not known, as in a drcov file
    size: int


@dataclass(eq=False)
class Module:
    """The code of one image that has run. Offsets count from its first byte in memory."""

    path: str
    arch: str
    size: int  #: bytes in memory
    base: int  #: where it was loaded last
    low: int  #: link-time address of its first byte
    decoded: Decoded | None  #: None: only a drcov file knows of it
    #: (offset, size) of a block -> in how many recordings it has run
    blocks: Counter[tuple[int, int]] = field(default_factory=Counter)
    #: (end of a block that ends in a conditional branch, offset of what ran next) -> in how many recordings
    branches: Counter[tuple[int, int]] = field(default_factory=Counter)

    @property
    def key(self) -> ModuleKey:
        return ModuleKey(self.path, self.arch, self.size)


class LineHit(NamedTuple):
    """A line that has code."""

    file: str
    line: int
    hits: int


class FunctionHit(NamedTuple):
    """A function that DWARF describes."""

    name: str
    file: str
    line: int
    hits: int


class BranchHit(NamedTuple):
    """One outcome of a conditional branch that was reached."""

    file: str
    line: int
    branch: int  #: its link-time address
    outcome: int  #: 0: taken, 1: not taken
    hits: int

"""Inspection of each block of code before it first runs, for instructions that the engine executes wrongly.

Unicorn calls its edge hook when it has translated a new block, and a stop requested there takes effect before that
block runs (verified on all its ISAs, and in its source). So every new block stops the run, is inspected, and the
run continues. In a block with an instruction of `emu.cpu.misrun`, that instruction gets a hook and the translation
is dropped. The hook stops before the instruction each time, which is then computed here or refused. Other code has
no overhead once translated.

The first block of a run has no edge: it is inspected once per address. Stops are made by `emu.cpu.stop_hook`,
because exceptions of signal handlers in Python code inside the engine would be lost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from emu.cpu.misrun import Finder, Guest, Misrun, Outcome
from emu.cpu.stop_hook import StopRequest
from relink.errors import AddressSpaceError, GuestAccessError
from relink.records import dataclass

_PAGE = 4096
_LONGEST = 16  #: minimum size of an instruction in bytes


class Engine(Protocol):
    """The part of an engine that the inspector uses."""

    edges: StopRequest  #: stops at new edges
    instructions: StopRequest  #: stops before the instructions that are hooked

    def hook_instruction(self, address: int) -> None:
        """Call `instructions` before the instruction at an address."""

    def block_size(self, pc: int) -> int:
        """The size in bytes of the block translated last, which begins at `pc`."""

    def drop(self, low: int, high: int) -> None:
        """Drop translations of [low, high)."""


@dataclass(frozen=True)
class Verdict:
    """How a run stopped by the inspector continues: at `pc`, or not at all when `pc` is refused."""

    pc: int
    refused: bool = False
    looked: bool = False  #: the block at `pc` has just been inspected


class Inspector:
    """Inspects the code of one engine with `find`. `read(address, size)` returns guest bytes or raises
    AddressSpaceError. Bits of an address below `align` are not part of it.
    """

    def __init__(self, find: Finder, engine: Engine, read: Callable[[int, int], bytes], *, align: int = 1) -> None:
        self._find, self.align = find, align
        self._engine, self._read = engine, read
        self.known: set[int] = set()  #: start addresses of runs that were inspected
        self._hooked: set[int] = set()
        engine.edges.left = engine.instructions.left = 1

    def begin(self, pc: int) -> None:
        """Inspect the first block of a run. Called outside of runs."""
        pc -= pc % self.align
        if pc in self.known:
            return
        code = self._fetch(pc, _PAGE - pc % _PAGE + _LONGEST)  # an instruction may go on in the next page
        found = list(self._find(code, pc, to_branch=True))
        if found:
            self._watch(found)
            self._engine.drop(pc, found[-1].address + 1)
        self.known.add(pc)

    def forget(self, low: int, high: int) -> None:
        """Forget inspected code in [low, high), which has changed, and code that reaches it."""
        stale = [pc for pc in self.known if low - _PAGE < pc < high]
        self.known.difference_update(stale)

    def look_away(self, away: bool) -> None:
        """Set whether new blocks run without inspection. Called outside of runs."""
        self._engine.edges.left = 0 if away else 1

    def verdict(self, guest: Guest, pc: int) -> Verdict:
        """How to continue after one of the engine's two requests has ended a run at `pc`."""
        edges, instructions = self._engine.edges, self._engine.instructions
        if edges.stopped:
            edges.stopped = 0
            size = self._engine.block_size(pc)
            found = list(self._find(self._fetch(pc, size), pc))
            # Instructions with a hook have already been translated with it.
            if any(each.address not in self._hooked for each in found):
                self._watch(found)
                self._engine.drop(pc, pc + size)
            return Verdict(pc, looked=True)
        instructions.stopped, instructions.left = 0, 1
        found_here = next(self._find(self._fetch(pc, _LONGEST), pc), None)
        if found_here is None or found_here.address != pc:  # the code there has changed
            instructions.left = 2  # the hook lets it by
            return Verdict(pc)
        if found_here.run is None:
            return Verdict(pc, refused=True)
        try:
            outcome = found_here.run(guest)
        except GuestAccessError:
            outcome = Outcome.PREPARED  # the engine faults too
        if outcome is Outcome.PREPARED:
            instructions.left = 2  # the hook lets it by
        return Verdict(pc + found_here.size if outcome is Outcome.DONE else pc, outcome is Outcome.REFUSED)

    def _watch(self, found: list[Misrun]) -> None:
        for each in found:
            if each.address not in self._hooked:
                self._hooked.add(each.address)
                self._engine.hook_instruction(each.address)

    def _fetch(self, address: int, size: int) -> bytes:
        """Read code; only up to the end of its page if the next page is not readable."""
        try:
            return self._read(address, size)
        except AddressSpaceError:
            try:
                return self._read(address, min(size, _PAGE - address % _PAGE))
            except AddressSpaceError:
                return b""

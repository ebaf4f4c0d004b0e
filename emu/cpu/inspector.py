"""Inspects each block of code once before it first runs, for instructions the engine runs wrong.

Unicorn calls back when it has made an edge to a block it has just translated, and a stop asked for there comes
before that block runs (found by experiment on all its ISAs, and by its source). So every new block stops the run;
the block is looked at, and the run goes on. One with an instruction of `emu.cpu.misrun` gets a hook on that
instruction, and its translation is dropped; the hook stops before the instruction each time, and it is computed
here or refused. Other code costs nothing once it is translated. The block that a run starts with comes over no
edge: it is looked at once for each address.

What stops is `emu.cpu.stop_hook`: what signal handlers raise in Python code inside the engine would be lost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from emu.cpu.misrun import FINDERS, Guest, Misrun, Outcome
from emu.cpu.stop_hook import StopRequest
from relink.errors import AddressSpaceError, GuestAccessError
from relink.records import dataclass

_PAGE = 4096
_LONGEST = 16  #: bytes of an instruction, at least


class Engine(Protocol):
    """What the inspector asks of the engine it watches."""

    edges: StopRequest  #: stops at new edges
    instructions: StopRequest  #: stops before the instructions that are hooked

    def hook_instruction(self, address: int) -> None:
        """Have `instructions` looked at before the instruction at an address."""

    def block_size(self, pc: int) -> int:
        """Bytes of the block that was translated last, which begins at `pc`."""

    def drop(self, low: int, high: int) -> None:
        """Forget translations of [low, high)."""


@dataclass(frozen=True)
class Verdict:
    """How a run goes on that the inspector has stopped: at `pc`, or not at all where that is refused."""

    pc: int
    refused: bool = False


class Inspector:
    """Watches one engine. `read(address, size)` gives guest bytes or raises AddressSpaceError."""

    def __init__(self, arch: str, engine: Engine, read: Callable[[int, int], bytes]) -> None:
        self._find = FINDERS[arch]
        self._engine, self._read = engine, read
        self._known: set[int] = set()  #: addresses runs begin at that were looked at
        self._hooked: set[int] = set()
        engine.edges.left = engine.instructions.left = 1

    def begin(self, pc: int) -> None:
        """Look at the block a run begins with. Called outside of runs."""
        if pc in self._known:
            return
        code = self._fetch(pc, _PAGE - pc % _PAGE)
        found = list(self._find(code, pc, to_branch=True))
        if found:
            self._watch(found)
            self._engine.drop(pc, found[-1].address + 1)
        self._known.add(pc)

    def forget(self, low: int, high: int) -> None:
        """Code in [low, high) has changed: look again at what runs begin with from there, or reach it."""
        stale = [pc for pc in self._known if low - _PAGE < pc < high]
        self._known.difference_update(stale)

    def look_away(self, away: bool) -> None:
        """Whether new blocks run without being looked at. Called outside of runs."""
        self._engine.edges.left = 0 if away else 1

    def verdict(self, guest: Guest, pc: int) -> Verdict:
        """What to do after one of the engine's two requests has ended a run at `pc`."""
        edges, instructions = self._engine.edges, self._engine.instructions
        if edges.stopped:
            edges.stopped = 0
            size = self._engine.block_size(pc)
            found = list(self._find(self._fetch(pc, size), pc))
            # What is hooked already has been translated with its hook.
            if any(each.address not in self._hooked for each in found):
                self._watch(found)
                self._engine.drop(pc, pc + size)
            return Verdict(pc)
        instructions.stopped, instructions.left = 0, 1
        found_here = next(self._find(self._fetch(pc, _LONGEST), pc), None)
        if found_here is None or found_here.address != pc:  # other code lies there now
            instructions.left = 2  # the hook lets it by
            return Verdict(pc)
        if found_here.run is None:
            return Verdict(pc, refused=True)
        try:
            outcome = found_here.run(guest)
        except GuestAccessError:
            outcome = Outcome.PREPARED  # the engine faults as well
        if outcome is Outcome.PREPARED:
            instructions.left = 2  # the hook lets it by
        return Verdict(pc + found_here.size if outcome is Outcome.DONE else pc, outcome is Outcome.REFUSED)

    def _watch(self, found: list[Misrun]) -> None:
        for each in found:
            if each.address not in self._hooked:
                self._hooked.add(each.address)
                self._engine.hook_instruction(each.address)

    def _fetch(self, address: int, size: int) -> bytes:
        """Code, up to where its page ends if the next cannot be read."""
        try:
            return self._read(address, size)
        except AddressSpaceError:
            try:
                return self._read(address, min(size, _PAGE - address % _PAGE))
            except AddressSpaceError:
                return b""

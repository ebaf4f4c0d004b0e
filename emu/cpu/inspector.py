"""Looks at each block of code once before it first runs, and steps in where the engine would run it wrong.

Unicorn calls back when it has made an edge to a block it has just translated, and a stop asked for there comes
before that block runs (found by experiment on all its ISAs). A block with an instruction of `emu.cpu.misrun` gets
a hook on that instruction, its translation is dropped, and the run goes on; the hook stops before the instruction
each time, and it is computed here or refused. Other code costs nothing once it is translated. The block that a run
starts with comes over no edge: it is looked at in Python, once for each address.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from emu.cpu.misrun import FINDERS, Guest, Misrun
from relink.errors import AddressSpaceError

_PAGE = 4096
_LONGEST = 16  #: bytes of an instruction, at least


class Block(ctypes.Structure):
    """uc_tb, of Unicorn's uc.h."""

    _fields_ = (("pc", ctypes.c_uint64), ("icount", ctypes.c_uint16), ("size", ctypes.c_uint16))


EDGE_HOOK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.POINTER(Block), ctypes.POINTER(Block), ctypes.c_void_p)
CODE_HOOK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_void_p)


class Engine(Protocol):
    """What the inspector asks of the engine it watches."""

    def stop(self) -> object:
        """End the run, from within a hook."""

    def hook_edges(self, callback: Any) -> None:
        """Call an EDGE_HOOK for each new edge."""

    def hook_instruction(self, callback: Any, address: int) -> None:
        """Call a CODE_HOOK before the instruction at an address."""

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
        self._block: tuple[int, int] | None = None  #: [start, end) of a block to be hooked before it runs
        self._reached: int | None = None  #: where a hook has stopped
        self._passing: int | None = None  #: the instruction a hook is to let by
        self.callbacks = EDGE_HOOK(self._edge), CODE_HOOK(self._instruction)
        engine.hook_edges(self.callbacks[0])

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

    def verdict(self, guest: Guest) -> Verdict | None:
        """What to do after a run has ended; None where it was not the inspector that ended it."""
        if self._block is not None:
            low, high = self._block
            self._block = None
            self._watch(list(self._find(self._fetch(low, high - low), low)))
            self._engine.drop(low, high)
            return Verdict(low)
        address, self._reached = self._reached, None
        if address is None:
            return None
        found = next(self._find(self._fetch(address, _LONGEST), address), None)
        if found is None or found.address != address:  # other code lies there now
            self._passing = address
            return Verdict(address)
        if found.run is None:
            return Verdict(address, refused=True)
        found.run(guest)
        return Verdict(address + found.size)

    def _watch(self, found: list[Misrun]) -> None:
        for each in found:
            if each.address not in self._hooked:
                self._hooked.add(each.address)
                self._engine.hook_instruction(self.callbacks[1], each.address)

    def _fetch(self, address: int, size: int) -> bytes:
        """Code, up to where its page ends if the next cannot be read."""
        try:
            return self._read(address, size)
        except AddressSpaceError:
            try:
                return self._read(address, min(size, _PAGE - address % _PAGE))
            except AddressSpaceError:
                return b""

    # ------------------------------------------------------------ called by the engine

    def _edge(self, engine: object, block: Any, before: object, data: object) -> None:
        start, size = block.contents.pc, block.contents.size
        # What is hooked already has been translated with its hook.
        if any(each.address not in self._hooked for each in self._find(self._fetch(start, size), start)):
            self._block = start, start + size
            self._engine.stop()

    def _instruction(self, engine: object, address: int, size: int, data: object) -> None:
        if self._passing == address:
            self._passing = None
            return
        self._reached = address
        self._engine.stop()

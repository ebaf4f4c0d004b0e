"""The first block of a run of Unicorn, which may have been translated before, and so is on no new edge."""

from __future__ import annotations

from emu.cpu.hooks.inspector import Inspector
from emu.cpu.hooks.screen import NOWHERE
from emu.cpu.hooks.stop_hook import StopRequest
from emu.cpu.unicorn.hints import UnicornHints
from emu.cpu.unicorn.watched import Watched


class UnicornFirstBlocks(UnicornHints):
    """The part of a `UnicornCpu` that has the first blocks of runs inspected."""

    _every: int
    _watched: Watched | None
    _inspector: Inspector | None
    stops_at_blocks: bool
    #: The address of the first block of the run, if it may pass (`emu.cpu.hooks.screen`).
    _first: int | None = None

    def _begin_inspection(self, inspector: Inspector, pc: int) -> None:
        """Inspect the first block of a run, or stop before it for that; Arm's IT blocks may take a stop back."""
        if self._interworking or self._every or self.stops_at_blocks or self._look.budget:
            inspector.begin(pc)
        elif not inspector.may_begin(pc):
            look, screen = self._look, None if self._watched is None else self._watched.screen
            if screen is not None:
                look.again = int(look.left != 0)
                screen.begin = self._first = pc
            look.left = 1

    def _settle_first(self) -> None:
        """Note whether the first block of the run has passed (`emu.cpu.hooks.screen`)."""
        first, self._first = self._first, None
        assert first is not None
        assert self._inspector is not None
        assert self._watched is not None
        screen = self._watched.screen
        assert screen is not None
        if screen.begin == NOWHERE:
            self._inspector.know(first)
        else:
            screen.begin = NOWHERE

    def _stops_first(self, look: StopRequest) -> bool:
        """Whether the engine is to stop before the first block, for its inspection alone."""
        others = self._interworking or self._every or self.stops_at_blocks or look.budget
        return look.left == 1 and not others

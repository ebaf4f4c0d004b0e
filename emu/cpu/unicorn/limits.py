"""Limits inside blocks: the last instructions of a run that ends in the middle of a block."""

from __future__ import annotations

from emu.cpu.hooks.stop_hook import StopRequest
from emu.cpu.unicorn import api
from emu.cpu.unicorn.api import uc
from emu.cpu.unicorn.stops import LIMIT_REACHED, STORE_FAULTS, UnicornStops


class UnicornLimits(UnicornStops):
    """The part of a `UnicornCpu` for limits inside blocks."""

    #: Blocks that have been cut, each while those before it are: what makes them whole (`_translate_anew`).
    _cut: tuple[tuple[int, int, int, int], ...] = ()

    def _last_block(self, pc: int) -> tuple[int, int]:
        """Run the remaining instructions of the budget: the block at `pc` has more than these."""
        meter, hooks, place = self._meter, self._limit_hooks, (pc, self._look.budget)
        assert meter is not None
        if self._observed is not None and self._observed.active:
            hooks = None  # which would be called after those of records, for an instruction that does not run
        if hooks is not None and place in hooks.known:
            return self._stop_inside(pc, hooks.known[place])
        end, size = meter.cut(pc, bool(self.code_state)), self._look.size
        if end == pc:
            return LIMIT_REACHED, pc
        if hooks is not None and end is not None:
            request = hooks.request(pc, size, end, bool(self.code_state))
            if request is not None:
                hooks.know(*place, request)
                return self._stop_inside(pc, request)
        before = len(self._cut)
        if end is not None:
            looking = self._watched.edges.left if self._watched is not None else 0
            self._cut = *self._cut, (pc, size, self._until.value, looking)
            self._translate_anew(pc, size, end, 0)  # all of it has been inspected
        status = self._enter(pc | self._thumb_bit())
        self._make_whole(before)
        return status

    def _make_whole(self, left: int = 0) -> None:
        """Translate the blocks that have been cut whole again, the last first, but for so many of them."""
        while len(self._cut) > left:
            self._translate_anew(*self._cut[-1])
            self._cut = self._cut[:-1]

    def _stop_inside(self, pc: int, request: StopRequest) -> tuple[int, int]:
        """Run the block at `pc` up to the instruction of a hook."""
        assert self._meter is not None
        self._meter.begin_whole(pc)
        request.left = 1
        begin, started, inspector = pc | self.code_state, None, self._inspector
        if self._quick and inspector is not None and pc & -inspector.align in inspector.known:
            self._begin.value = begin
            started = self._start_engine()
        return self._stopped_inside(begin, request, started)

    def _stopped_inside(
        self, begin: int, request: StopRequest, started: tuple[int, int] | None
    ) -> tuple[int, int]:
        """Go on to the hook's instruction from what the first run of the engine gave, if that has been made."""
        try:
            if (
                started is not None
                and (request.stopped and started[0] not in STORE_FAULTS)
                and not (self._look.stopped or self._interrupted())
            ):
                return LIMIT_REACHED, started[1]
            status, stopped_at = self._enter(begin, started)
            reached = request.stopped and status not in STORE_FAULTS
            return (LIMIT_REACHED if reached else status), stopped_at
        finally:
            assert self._meter is not None
            inside, request.left, request.stopped = request.stopped, 0, 0
            self._meter.end_whole(bool(inside))

    def _translate_anew(self, block: int, size: int, until: int, looking: int) -> None:
        """Translate a block again, cut at `until` or whole; `looking`: whether new blocks are inspected."""
        api.control(self._handle, uc.UC_CTL_TB_REMOVE_CACHE, block, block + size)
        self._until.value = until
        if self._watched is not None:
            self._watched.edges.left = looking

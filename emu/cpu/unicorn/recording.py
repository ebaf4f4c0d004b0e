"""What is recorded of a run on Unicorn: a log that machine code writes, with its hook and its sink."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Final

import numpy as np

from emu.cpu.events import Recorded, Sink
from emu.cpu.hooks.event_hooks import Log
from emu.cpu.unicorn import api
from emu.cpu.unicorn.api import uc

_EVERYWHERE: Final = (1, 0)
_LAST: Final = (1 << 64) - 1
_ROWS: Final = 1 << 14  #: of a log
#: For each kind: when the hook is called, its name in `emu.cpu.hooks.event_hooks`, and its columns.
KINDS: Final = {
    Recorded.BLOCKS: (uc.UC_HOOK_BLOCK, "log", 2),
    Recorded.INSTRUCTIONS: (uc.UC_HOOK_CODE, "log", 2),
    Recorded.NEW_BLOCKS: (uc.UC_HOOK_EDGE_GENERATED, "new_block", 3),
    Recorded.EDGES: (uc.UC_HOOK_BLOCK, "edge", 3),
}


class UnicornRecording:
    """A log with its hook and its sink. `end` is called when it is closed."""

    def __init__(
        self, end: Callable[[UnicornRecording], None], what: Recorded, sink: Sink, low: int, high: int
    ) -> None:
        self.what, self.kind, self.hook_name, columns = what, *KINDS[what]
        self.sink: Sink = sink
        self.low, self.high = low, high
        ranged = what is Recorded.INSTRUCTIONS and (low, high) != (0, _LAST)
        self.place = (low, high - 1) if ranged else _EVERYWHERE
        self.log = Log(stop=api.EMU_STOP)
        self.log.prepare(_ROWS, columns, pairs=what is Recorded.EDGES)
        self.hook: ctypes.c_size_t | None = None
        self.began = 0  #: rows when the run began
        self._end: Callable[[UnicornRecording], None] | None = end

    def flush(self) -> None:
        rows = self.log.take()
        if not len(rows):
            return
        if self.what is Recorded.NEW_BLOCKS:
            rows = rows[:, :2]
        if (self.low, self.high) != (0, _LAST):
            at = rows[:, -2]
            rows = rows[(at >= np.uint64(self.low)) & (at < np.uint64(self.high))]
        if len(rows):
            self.sink(rows)

    def interrupted(self, pc: int) -> None:
        """The instruction at `pc`, and the rest of its block, has not run: correct the log."""
        if self.what is Recorded.EDGES:
            self.log.leave_block(pc)
            return
        last = self.log.last()
        if self.what is Recorded.NEW_BLOCKS or last is None or not last[0] <= pc < last[0] + last[1]:
            return
        if last[0] == pc:
            self.log.drop_last()
        elif self.what is Recorded.BLOCKS:
            self.log.change_last(1, pc - last[0])

    def unhook(self, handle: ctypes.c_void_p) -> None:
        """Remove the hook: once, and as long as it has its data."""
        delete, hook = api.uclib.uc_hook_del, self.hook
        if hook is not None:
            self.hook = None  # without a call from here on: no signal handler comes between
            delete(handle, hook)

    def close(self) -> None:
        if self._end is not None:
            self._end(self)
            self._end = None
            self.flush()

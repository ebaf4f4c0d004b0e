"""The command line's standard streams as the guest's: it waits for them no longer than its time."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from select import select
from typing import BinaryIO

_LOOK_SECONDS = 0.1  #: how long to wait for a stream between two looks at the time limit
_AT_ONCE = 4096  #: bytes for which a pipe that is ready has room (PIPE_BUF under Linux)


class GuestInput:
    """Standard input: up to so many bytes, as soon as there are any. Nobody else reads it."""

    def __init__(self) -> None:
        self.check_budget: Callable[[], object] = lambda: None

    def read(self, size: int) -> bytes:
        """Raises BudgetExceeded when there are none within the guest's time, OSError for what cannot be read."""
        if sys.stdin is None:  # the caller has closed it
            return b""
        try:
            number = sys.stdin.fileno()
        except (OSError, ValueError):  # no file of the system
            return sys.stdin.buffer.read1(size)  # type: ignore[union-attr, no-any-return]
        while not select([number], [], [], _LOOK_SECONDS)[0]:
            self.check_budget()
        return os.read(number, size)


class GuestOutput:
    """Lets bytes through to a stream of the host at once, and knows whether a line is unfinished."""

    def __init__(self, stream: BinaryIO, check_budget: Callable[[], object]) -> None:
        self._stream, self._check_budget = stream, check_budget
        self._last = b"\n"
        try:
            self._number: int | None = stream.fileno()
        except (OSError, ValueError):  # no file of the system
            self._number = None

    def write(self, data: bytes) -> None:
        """What the guest writes. Raises BudgetExceeded when there is no room within its time, OSError."""
        self._write(data, self._check_budget)

    def line(self, text: str | None) -> None:
        """`text` on a line of its own; nothing for None."""
        if text is not None:
            start = b"" if self._last == b"\n" else b"\n"
            self._write(start + text.encode("utf-8", "surrogateescape") + b"\n", lambda: None)

    def _write(self, data: bytes, check_budget: Callable[[], object]) -> None:
        if not data:
            return
        self._last = data[-1:]
        if self._number is None:
            self._stream.write(data)
            self._stream.flush()
            return
        view = memoryview(data)
        while view:
            while not select([], [self._number], [], _LOOK_SECONDS)[1]:
                check_budget()
            view = view[os.write(self._number, view[:_AT_ONCE]) :]

"""The command's standard streams for the guest, which waits for them only within its time limit."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from select import select
from typing import BinaryIO

_LOOK_SECONDS = 0.1  #: seconds to wait for a stream between two checks of the time limit
_AT_ONCE = 4096  #: bytes that a ready pipe accepts (PIPE_BUF under Linux)


class GuestInput:
    """Standard input: reads return as soon as bytes are available. There is no other reader."""

    def __init__(self) -> None:
        self.check_budget: Callable[[], object] = lambda: None

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes. Raises BudgetExceeded when none arrive within the guest's time limit, OSError
        for read errors.
        """
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
    """Passes bytes to a stream of the host at once, and knows whether a line is unfinished."""

    def __init__(self, stream: BinaryIO, check_budget: Callable[[], object]) -> None:
        self._stream, self._check_budget = stream, check_budget
        self._last = b"\n"
        try:
            self._number: int | None = stream.fileno()
        except (OSError, ValueError):  # no file of the system
            self._number = None

    def write(self, data: bytes) -> None:
        """Write the guest's output. Raises BudgetExceeded when the stream accepts none within the guest's time
        limit, OSError.
        """
        self._write(data, self._check_budget)

    def line(self, text: str | None) -> None:
        """Write `text` on a separate line; nothing for None."""
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

"""Where the guest's standard output goes."""

from __future__ import annotations

from collections.abc import Callable

from emu.libc.errno import of_host
from emu.memory.limit import MemoryLimit


class CaptureStream:
    """Keeps what is written; `tee`, if set, is given every piece as well (to show it while it comes).

    What is kept is charged to `limit`. With `keep` unset nothing is.
    """

    def __init__(self, limit: MemoryLimit, tee: Callable[[bytes], object] | None = None) -> None:
        self.tee = tee
        self.keep = True
        self._limit = limit
        self._data = bytearray()

    def write(self, data: bytes) -> int:
        """Bytes taken: all, or what the memory limit leaves room for.

        Raises what `of_host` does for an OSError of `tee`.
        """
        if self.keep:
            data = data[: self._limit.left]
            self._limit.take(len(data))
            self._data += data
        if self.tee is not None and data:
            of_host(self.tee, data)
        return len(data)

    def getvalue(self) -> bytes:
        """Everything written since the last `clear`."""
        return bytes(self._data)

    def clear(self) -> None:
        self._limit.give(len(self._data))
        self._data = bytearray()

    def __len__(self) -> int:
        return len(self._data)

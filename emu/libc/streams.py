"""Capturing the guest's standard output."""

from __future__ import annotations

from collections.abc import Callable

from emu.memory.limit import MemoryLimit


class CaptureStream:
    """Stores written bytes, charged to `limit`; with `keep` unset it stores nothing. `tee`, if set, is called with
    every piece, to show it at once.
    """

    def __init__(self, limit: MemoryLimit, tee: Callable[[bytes], object] | None = None) -> None:
        self.tee = tee
        self.keep = True
        self._limit = limit
        self._data = bytearray()

    def write(self, data: bytes) -> int:
        """Write and return the number of bytes: all, or as many as the memory limit allows. Raises as `of_host`
        does for an OSError of `tee`.
        """
        if self.keep:
            data = data[: self._limit.left]
            self._limit.take(len(data))
            self._data += data
        if self.tee is not None and data:
            from emu.libc.errno import of_host

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

"""Where the guest's standard output goes."""

from __future__ import annotations

from collections.abc import Callable


class CaptureStream:
    """Keeps what is written; `tee`, if set, is given every piece as well (to show it while it comes)."""

    def __init__(self, tee: Callable[[bytes], object] | None = None) -> None:
        self.tee = tee
        self._data = bytearray()

    def write(self, data: bytes) -> int:
        self._data += data
        if self.tee is not None:
            self.tee(data)
        return len(data)

    def getvalue(self) -> bytes:
        """Everything written since the last `clear`."""
        return bytes(self._data)

    def clear(self) -> None:
        self._data.clear()

    def __len__(self) -> int:
        return len(self._data)

"""Making an input smaller that still fails in the same way."""

from __future__ import annotations

from collections.abc import Callable


class _Tries:
    """A number of executions: whether an input fails alike, and False when there are none left."""

    def __init__(self, fails_alike: Callable[[bytes], bool], left: int) -> None:
        self._fails_alike, self.left = fails_alike, left

    def __call__(self, candidate: bytes) -> bool:
        self.left -= 1
        return self.left >= 0 and self._fails_alike(candidate)


def smaller(data: bytes, fails_alike: Callable[[bytes], bool], executions: int) -> bytes:
    """Remove blocks, of half the input down to single bytes, then replace bytes by '0', as long as it fails alike.

    At most `executions` inputs are tried.
    """
    tried = _Tries(fails_alike, executions)
    size = max(len(data) // 2, 1)
    while size and tried.left > 0:
        before, at = data, 0
        while at < len(data) and tried.left > 0:
            candidate = data[:at] + data[at + size :]
            if tried(candidate):
                data = candidate
            else:
                at += size
        if size > 1 or data == before:
            size //= 2
    for at in range(len(data)):
        if tried.left <= 0:
            break
        candidate = data[:at] + b"0" + data[at + 1 :]
        if candidate != data and tried(candidate):
            data = candidate
    return data

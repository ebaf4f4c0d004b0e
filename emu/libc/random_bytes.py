"""Bytes for getrandom, /dev/urandom and similar: the same in every run, not secret."""

from __future__ import annotations

_MASK = (1 << 48) - 1


class RandomBytes:
    """The 48-bit generator of drand48 with a separate state: one stream per machine (`Libc.state`)."""

    def __init__(self, libc: object) -> None:
        self._state = 0x1234_ABCD_330E

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        taken = bytearray(size)
        for index in range(size):
            self._state = (self._state * 0x5DEECE66D + 0xB) & _MASK
            taken[index] = self._state >> 40
        return bytes(taken)

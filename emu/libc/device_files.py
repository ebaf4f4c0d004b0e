"""The character devices that always exist: what they give and take, and their numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from emu.libc.errno import Errno, FileError
from emu.libc.random_bytes import RandomBytes

if TYPE_CHECKING:
    from emu.libc.library import Libc

#: st_rdev of each, major << 8 | minor (Linux, Documentation/admin-guide/devices.txt). Programs compare that of
#: their standard output with it, to find out whether they write to /dev/null.
NUMBERS: Mapping[str, int] = {
    "/dev/null": 0x103, "/dev/zero": 0x105, "/dev/full": 0x107, "/dev/random": 0x108, "/dev/urandom": 0x109,
}  # fmt: skip
TERMINAL = 136 << 8  #: st_rdev of the host's streams: that of the first pseudo-terminal


def readers(libc: Libc) -> dict[str, Callable[[int], bytes]]:
    """Path -> function that returns the bytes read."""

    def random(size: int) -> bytes:
        return libc.state(RandomBytes).take(size)

    return {
        "/dev/null": lambda size: b"",
        "/dev/zero": bytes,
        "/dev/full": bytes,
        "/dev/urandom": random,
        "/dev/random": random,
    }


def writer(path: str) -> Callable[[bytes], int]:
    """Discards what is written; /dev/full refuses it with ENOSPC."""
    return _full if path == "/dev/full" else len


def _full(data: bytes) -> int:
    raise FileError(Errno.ENOSPC)

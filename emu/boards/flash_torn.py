"""Operations that power loss has cut short: how far they came, and bits that changed half-way.

Everything follows from the operation (not its number) and a seed, by SHAKE-128: so a cut can be repeated on any
host, and one that happens again and again, in the same place, does not lead to ever new contents.
"""

from __future__ import annotations

from hashlib import shake_128

import numpy as np

from emu.boards.flash_types import FlashEvent
from relink.arrays import U8

_PLACE = 8  #: bytes that choose the place of the cut


def _random(event: FlashEvent, seed: int, what: str, size: int) -> bytes:
    return shake_128(f"{seed}:{event.operation}:{event.address}:{event.size}:{what}".encode()).digest(size)


def torn_place(event: FlashEvent, seed: int, at: int | None, step: int) -> int:
    """The number of bytes carried out whole: `at`, or any from 0 to all, a multiple of `step`."""
    if at is None:
        at = int.from_bytes(_random(event, seed, "place", _PLACE), "little") % (event.size + step)
    return min(max(at, 0), event.size) // step * step


def torn_bits(event: FlashEvent, seed: int, old: U8, new: U8) -> U8:
    """Bytes between `old` and `new`: of the bits that differ, each has changed with the same probability, which
    the seed decides too.
    """
    if not len(old):
        return new.copy()
    random = _random(event, seed, "bits", 1 + 8 * len(old))
    changed = np.frombuffer(random, np.uint8)[1:] < random[0]
    mask = np.packbits(changed)
    result: U8 = old ^ ((old ^ new) & mask)
    return result

"""Access to numbers in an image's host buffer: arrays of little-endian words, aligned or not, and ULEB128
numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np

from relink.arrays import I64, U8, U64

#: One little-endian word by its size in bytes.
WORDS: Mapping[int, struct.Struct] = {4: struct.Struct("<I"), 8: struct.Struct("<Q")}
#: log2 of each word size.
_SHIFT = {2: 1, 4: 2, 8: 3}
_ULEB_LIMIT = 16  #: maximum length in bytes; ten bytes hold 64 bits


def read_words(buffer: U8, where: I64, size: int) -> U64:
    """Read little-endian words of `size` bytes at the byte indices `where`, as uint64[n]."""
    if size == 1:
        return buffer[where].astype(np.uint64)
    if not _misaligned(where, size):
        whole = buffer[: len(buffer) & -size]  # the content of a section may end with a part of a word
        words: U64 = whole.view(f"<u{size}")[where >> _SHIFT[size]].astype(np.uint64)
        return words
    rows = buffer[where[:, None] + np.arange(size)]
    return np.ascontiguousarray(rows).view(f"<u{size}")[:, 0].astype(np.uint64)


def write_words(buffer: U8, where: I64, size: int, value: U64) -> None:
    """Store `value` (truncated to `size` bytes) at the byte indices `where`; for equal indices the later value is
    stored.
    """
    if size == 1:
        buffer[where] = value.astype(np.uint8)
    elif not _misaligned(where, size):
        buffer.view(f"<u{size}")[where >> _SHIFT[size]] = value.astype(f"<u{size}", copy=False)
    else:
        rows = np.ascontiguousarray(value.astype(f"<u{size}")).view(np.uint8).reshape(-1, size)
        buffer[where[:, None] + np.arange(size)] = rows


def read_uleb(buffer: U8, where: int) -> tuple[int, int]:
    """(value, bytes) of the ULEB128 at the byte index `where`."""
    value = length = 0
    for byte in buffer[where : where + _ULEB_LIMIT].tolist():
        value |= (byte & 0x7F) << 7 * length
        length += 1
        if not byte & 0x80:
            break
    return value, length


def write_uleb(buffer: U8, where: int, length: int, value: int) -> None:
    """Store `value` as a ULEB128 of `length` bytes; it must fit."""
    for i in range(length):
        buffer[where + i] = value >> 7 * i & 0x7F | (0x80 if i < length - 1 else 0)


def _misaligned(where: I64, size: int) -> bool:
    return bool(np.bitwise_or.reduce(where, initial=0) & (size - 1))

"""Compressed sections: SHF_COMPRESSED (gABI chapter 4, "Section Compression") and the older `.zdebug_*`.

Old GNU tools and Go write `.zdebug_*` sections: "ZLIB", the uncompressed size as eight big-endian bytes, and a
zlib stream. They have no section flag, only the name.
"""

from __future__ import annotations

import importlib
import sys
import zlib
from typing import Any

import numpy as np

from relink.arrays import U8
from relink.elf.constants import Compression
from relink.elf.layout import Layout
from relink.errors import MalformedElf, Truncated, UnsupportedElf
from relink.records import dataclass

# Limit for all decompressed sections of a file together: this multiple of the file's size, at least the floor
# (bytes).
_MAX_EXPANSION = 64
_FLOOR = 1 << 20
_GNU_HEADER = 12  #: bytes before the stream of a .zdebug section


@dataclass(frozen=True)
class Compressed:
    """The compression header: ch_type, ch_size and ch_addralign (bytes), and the offset of the compressed
    stream.
    """

    type: int
    size: int
    addralign: int
    begin: int


def compressed(where: str, raw: U8, layout: Layout) -> Compressed:
    """Read the compression header at the start of a section's bytes. Raises Truncated."""
    entry = layout.compression_header
    if len(raw) < entry.size:
        raise Truncated(where, f"the compression header is cut short: {len(raw)} bytes")
    type_, *_, size, addralign = entry.unpack_from(raw[: entry.size].tobytes())
    return Compressed(type_, size, addralign, entry.size)


def gnu_compressed(raw: U8) -> Compressed | None:
    """Read the header of a `.zdebug_*` section; None when the bytes are not compressed, which is allowed."""
    if len(raw) < _GNU_HEADER or raw[:4].tobytes() != b"ZLIB":
        return None
    return Compressed(Compression.ZLIB, int.from_bytes(raw[4:_GNU_HEADER].tobytes(), "big"), 1, _GNU_HEADER)


def decompress(where: str, raw: U8, header: Compressed, file_size: int, spent: int) -> U8:
    """Decompress a section.

    `spent` is the number of bytes the other sections of the file have after decompression; it counts towards the
    file's limit. Raises MalformedElf for a bad stream, UnsupportedElf beyond the limit and for a compression other
    than zlib and zstd.
    """
    most = max(_FLOOR, _MAX_EXPANSION * file_size) - spent
    if header.size > most:
        raise UnsupportedElf(
            where,
            f"ch_size is {header.size:#x}, the limit for the file's decompressed sections leaves {most:#x} bytes",
        )
    stream, failure = _decompressor(where, header.type)
    try:
        plain: bytes = stream.decompress(raw[header.begin :].tobytes(), header.size + 1)
    except failure as error:
        raise MalformedElf(where, f"cannot be decompressed: {error}") from error
    if len(plain) != header.size:
        more = "more" if len(plain) > header.size else f"{len(plain):#x}"
        raise MalformedElf(where, f"ch_size is {header.size:#x}, decompressed it has {more} bytes")
    return np.frombuffer(plain, np.uint8)


def _decompressor(where: str, type_: int) -> tuple[Any, type[Exception]]:
    """A decompressor for `ch_type`, and the exception it raises. Raises UnsupportedElf for an unknown type."""
    if type_ == Compression.ZLIB:
        return zlib.decompressobj(), zlib.error
    if type_ != Compression.ZSTD:
        raise UnsupportedElf(where, f"compressed with ch_type {type_}; only zlib and zstd are supported")
    try:
        zstd = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    except ImportError:
        raise UnsupportedElf(where, "compressed with zstd, for which backports.zstd is not installed") from None
    return zstd.ZstdDecompressor(), zstd.ZstdError

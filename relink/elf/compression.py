"""Compressed sections: SHF_COMPRESSED (gABI chapter 4, "Section Compression"), and .zdebug_* before it.

A `.zdebug_*` section, as old GNU tools and Go write it, is "ZLIB", its size as eight big-endian bytes, and a zlib
stream; it has no flag, so its name says it.
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

# What the sections of a file may grow to together: this multiple of its file, and at least the floor (bytes).
_MAX_EXPANSION = 64
_FLOOR = 1 << 20
_GNU_HEADER = 12  #: bytes before the stream of a .zdebug section


@dataclass(frozen=True)
class Compressed:
    """The compression header: ch_type, ch_size and ch_addralign in bytes, and where the stream begins."""

    type: int
    size: int
    addralign: int
    begin: int


def compressed(where: str, raw: U8, layout: Layout) -> Compressed:
    """The compression header at the start of a section's bytes. Raises Truncated."""
    entry = layout.compression_header
    if len(raw) < entry.size:
        raise Truncated(where, f"the compression header is cut short: {len(raw)} bytes")
    type_, *_, size, addralign = entry.unpack_from(raw[: entry.size].tobytes())
    return Compressed(type_, size, addralign, entry.size)


def gnu_compressed(raw: U8) -> Compressed | None:
    """The header of a `.zdebug_*` section's bytes; None where they are not compressed, which is allowed."""
    if len(raw) < _GNU_HEADER or raw[:4].tobytes() != b"ZLIB":
        return None
    return Compressed(Compression.ZLIB, int.from_bytes(raw[4:_GNU_HEADER].tobytes(), "big"), 1, _GNU_HEADER)


def decompress(where: str, raw: U8, header: Compressed, file_size: int, spent: int) -> U8:
    """A section's bytes as they were; `spent` is what others of the file already take.

    Raises MalformedElf, and UnsupportedElf for more than is taken on, or for a compression other than zlib and
    zstd.
    """
    most = max(_FLOOR, _MAX_EXPANSION * file_size) - spent
    if header.size > most:
        raise UnsupportedElf(
            where, f"claims {header.size:#x} bytes once decompressed, more than the {most:#x} left to this file"
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
    """What decompresses streams of a `ch_type`, and what it raises. Raises UnsupportedElf."""
    if type_ == Compression.ZLIB:
        return zlib.decompressobj(), zlib.error
    if type_ != Compression.ZSTD:
        raise UnsupportedElf(where, f"compressed with ch_type {type_}; zlib and zstd are understood")
    try:
        zstd = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    except ImportError:
        raise UnsupportedElf(where, "compressed with zstd, for which backports.zstd is not installed") from None
    return zstd.ZstdDecompressor(), zstd.ZstdError

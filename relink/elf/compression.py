"""Compressed sections (SHF_COMPRESSED): gABI chapter 4, "Section Compression"."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from relink.arrays import U8
from relink.elf.constants import Compression
from relink.elf.layout import Layout
from relink.errors import MalformedElf, Truncated, UnsupportedElf

# What the sections of a file may grow to together: this multiple of its file, and at least the floor (bytes).
_MAX_EXPANSION = 64
_FLOOR = 1 << 20


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


def decompress(where: str, raw: U8, header: Compressed, file_size: int, spent: int) -> U8:
    """A section's bytes as they were; `spent` is what others of the file already take.

    Raises MalformedElf, and UnsupportedElf for more than is taken on, or other than zlib.
    """
    if header.type != Compression.ZLIB:
        kind = "zstd" if header.type == Compression.ZSTD else f"ch_type {header.type}"
        raise UnsupportedElf(where, f"compressed with {kind}; only zlib is understood")
    most = max(_FLOOR, _MAX_EXPANSION * file_size) - spent
    if header.size > most:
        raise UnsupportedElf(
            where, f"claims {header.size:#x} bytes once decompressed, more than the {most:#x} left to this file"
        )
    stream = zlib.decompressobj()
    try:
        plain = stream.decompress(raw[header.begin :].tobytes(), header.size + 1)
    except zlib.error as error:
        raise MalformedElf(where, f"cannot be decompressed: {error}") from error
    if len(plain) != header.size:
        more = "more" if len(plain) > header.size else f"{len(plain):#x}"
        raise MalformedElf(where, f"ch_size is {header.size:#x}, decompressed it has {more} bytes")
    return np.frombuffer(plain, np.uint8)

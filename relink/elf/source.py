"""Where the bytes of a file come from: a mapping, a buffer, a file object."""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path
from typing import BinaryIO

import numpy as np

from relink.elf.contents import U8, frozen
from relink.errors import ElfError


def map_file(path: Path, name: str) -> U8:
    """A file's bytes, mapped; empty for an empty file. Raises ElfError."""
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            # Not even opened: opening a named pipe waits for a writer.
            raise ElfError(name, "cannot be read: not a regular file")
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return frozen(np.empty(0, np.uint8))
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ElfError(name, f"cannot be read: {reason}") from error
    return np.frombuffer(mapped, np.uint8)


def buffer(source: bytes | bytearray | memoryview) -> U8:
    """The bytes as an array that nobody can change: a view when `source` is immutable, else a copy."""
    if isinstance(source, memoryview) and source.readonly and source.c_contiguous:
        return np.frombuffer(source, np.uint8)
    return np.frombuffer(source if isinstance(source, bytes) else bytes(source), np.uint8)


def read_all(file: BinaryIO, name: str) -> bytes:
    """What a binary file object has left. Raises ElfError."""
    try:
        content = file.read()
    except (OSError, ValueError) as error:
        raise ElfError(name, f"cannot be read: {error}") from error
    if not isinstance(content, bytes | bytearray):
        raise ElfError(name, "cannot be read: the file object yields text, not bytes")
    return bytes(content)

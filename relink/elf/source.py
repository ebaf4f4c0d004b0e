"""Where the bytes of a file come from: a mapping, a buffer, a file object."""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path
from typing import BinaryIO

import numpy as np

from relink.arrays import U8
from relink.errors import ElfError

ARCHIVE, THIN_ARCHIVE = b"!<arch>\n", b"!<thin>\n"  #: what archives begin with

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO


def open_source(source: Source, name: str | None) -> tuple[str, Path | None, U8]:
    """What errors call `source` (`name`, if given), the path it is mapped from, if any, and its bytes.

    A path is mapped, so that only what is looked at is read; of bytes and buffers it is a view when they are
    immutable; a binary file object is read from its position to its end. Raises ElfError.
    """
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        name = name or os.fspath(source)
        return name, path, map_file(path, name)
    if isinstance(source, bytes | bytearray | memoryview):
        return name or "<bytes>", None, buffer(source)
    name = name or str(getattr(source, "name", "<file>"))
    return name, None, buffer(read_all(source, name))


def is_archive(data: bytes | bytearray | memoryview | U8) -> bool:
    """Whether these bytes (eight are enough) begin an archive, thin or not."""
    return bytes(data[: len(ARCHIVE)]) in (ARCHIVE, THIN_ARCHIVE)


#: Bytes up to which a file is read and not mapped. That costs less than a tenth of a load of it, and what becomes
#: of the file afterwards, cut short or overwritten in place, is no matter then.
COPIED = 1 << 20


def is_mapped(data: U8) -> bool:
    """Whether bytes are a mapping of a file, which others may change."""
    owner: object = data
    while isinstance(owner, np.ndarray | memoryview):
        owner = owner.base if isinstance(owner, np.ndarray) else owner.obj
    return isinstance(owner, mmap.mmap)


def map_file(path: Path, name: str) -> U8:
    """A file's bytes: of a small one (see `COPIED`) a copy, of another a mapping. Raises ElfError."""
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            # Not even opened: opening a named pipe waits for a writer.
            raise ElfError(name, "cannot be read: not a regular file")
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size <= COPIED:
                return np.frombuffer(file.read(COPIED), np.uint8)
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

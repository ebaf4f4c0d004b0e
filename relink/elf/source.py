"""Access to the bytes of a file: a mapping, a buffer or a file object."""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path
from typing import BinaryIO

import numpy as np

from relink.arrays import U8
from relink.errors import ElfError

ARCHIVE, THIN_ARCHIVE = b"!<arch>\n", b"!<thin>\n"  #: the magic bytes of archives

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO


def open_source(source: Source, name: str | None) -> tuple[str, Path | None, U8]:
    """The name of `source` for errors (`name`, if given), its path, if any, and its bytes.

    - A path: the file is mapped, so that only the pages used are read.
    - Bytes or a buffer: a view when it is immutable, else a copy.
    - A binary file object: read from its position to its end.

    Raises ElfError.
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
    """Whether the data begins like an archive, thin or not; eight bytes are enough."""
    return bytes(data[: len(ARCHIVE)]) in (ARCHIVE, THIN_ARCHIVE)


#: Files up to this size (bytes) are read instead of mapped. That takes less than a tenth of the time of a load,
#: and the file may then be truncated or overwritten.
COPIED = 1 << 20


def is_mapped(data: U8) -> bool:
    """Whether the array is a mapping of a file, which other processes may change."""
    owner: object = data
    while isinstance(owner, np.ndarray | memoryview):
        owner = owner.base if isinstance(owner, np.ndarray) else owner.obj
    return isinstance(owner, mmap.mmap)


def map_file(path: Path, name: str) -> U8:
    """A file's bytes: a copy for a small file (see `COPIED`), else a mapping. Raises ElfError."""
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            # Checked before opening: opening a named pipe blocks until there is a writer.
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
    """The bytes as an immutable array: a view when `source` is immutable, else a copy."""
    if isinstance(source, memoryview) and source.readonly and source.c_contiguous:
        return np.frombuffer(source, np.uint8)
    return np.frombuffer(source if isinstance(source, bytes) else bytes(source), np.uint8)


def read_all(file: BinaryIO, name: str) -> bytes:
    """Read a binary file object from its position to its end. Raises ElfError."""
    try:
        content = file.read()
    except (OSError, ValueError) as error:
        raise ElfError(name, f"cannot be read: {error}") from error
    if not isinstance(content, bytes | bytearray):
        raise ElfError(name, "cannot be read: the file object yields text, not bytes")
    return bytes(content)

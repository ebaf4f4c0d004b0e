"""Access to the bytes of a file: a mapping, a buffer or a file object."""

from __future__ import annotations

import enum
import mmap
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO

import numpy as np

from relink.arrays import U8
from relink.errors import ElfError, reason

ARCHIVE, THIN_ARCHIVE = b"!<arch>\n", b"!<thin>\n"  #: the magic bytes of archives

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO


def open_source(source: Source, name: str | None) -> tuple[str, Path | None, U8]:
    """The name of `source` for errors (`name`, if given), its path, if any, and its bytes.

    - A path: see `map_file`.
    - Bytes or a buffer: a view when it is immutable, else a copy.
    - A binary file object: read from its position to its end.

    Raises ElfError.
    """
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        name = name or path or repr(path)
        return name, Path(source), map_file(path, name)
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


class FileMode(enum.Enum):
    """How files that are given by their path are read."""

    COPY = "copy"  #: read whole: the file may change in any way afterwards
    FILE = "file"  #: mapped: only the pages used are read, and none may be cut off while they are in use


#: How files are read from here on; None: by their size (see `COPIED`).
_mode: ContextVar[FileMode | None] = ContextVar("mode", default=None)
#: Folders of the caller's, in which members of thin archives may lie.
_folders: ContextVar[tuple[Path, ...]] = ContextVar("folders", default=())


@contextmanager
def reading(mode: FileMode | None, folders: Sequence[str | os.PathLike[str]] = ()) -> Iterator[None]:
    """Have the files opened inside read like this (None: as before); thin archives may use these folders too."""
    tokens = _mode.set(mode or _mode.get()), _folders.set((*_folders.get(), *map(Path, folders)))
    try:
        yield
    finally:
        _mode.reset(tokens[0])
        _folders.reset(tokens[1])


def file_mode() -> FileMode | None:
    """The mode that `reading` chose; None: by the size of the file."""
    return _mode.get()


def caller_folders() -> tuple[Path, ...]:
    """The folders that `reading` names."""
    return _folders.get()


class FileMapping(mmap.mmap):
    """A mapping of a file, which other processes may change."""

    path: str
    name: str  #: the file's name for errors
    identity: tuple[int, int, int, int]  #: device, inode, size, time of the last change in ns

    def check(self, *, overwritten: bool = True) -> None:
        """Raise ElfError when the file has been cut short, or written to (`overwritten`), since it was mapped.

        Accesses beyond the end of a file end the process (SIGBUS). One that was replaced by another file of its
        name, as by rename, stays as it was.
        """
        if overwritten:
            try:
                now = identity_of(os.stat(self.path))
            except OSError:
                now = (0, 0, 0, 0)
            if now == self.identity:
                return
        size = self.size()
        if size < len(self):
            problem = f"the file has been cut short while it was in use, from {len(self)} bytes to {size}"
            raise ElfError(self.name, problem)
        if overwritten and now[:2] == self.identity[:2]:
            raise ElfError(self.name, "the file has been changed while it was being loaded")


def identity_of(status: os.stat_result) -> tuple[int, int, int, int]:
    """Device, inode, size (bytes) and time of the last change (nanoseconds) of a file."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def file_mapping(data: U8) -> FileMapping | None:
    """The file mapping behind an array; None for bytes that other processes cannot change."""
    owner: object = data
    while isinstance(owner, np.ndarray | memoryview):
        owner = owner.base if isinstance(owner, np.ndarray) else owner.obj
    return owner if isinstance(owner, FileMapping) else None


def check_not_cut(data: U8) -> None:
    """Raise ElfError when the array is a mapping of a file that has been cut short."""
    mapped = file_mapping(data)
    if mapped is not None:
        mapped.check(overwritten=False)


def is_mapped(data: U8) -> bool:
    """Whether the array is a mapping of a file, which other processes may change."""
    return file_mapping(data) is not None


def map_file(path: str | os.PathLike[str], name: str) -> U8:
    """A file's bytes: a copy for a small file (see `COPIED`), else a mapping, unless `reading` says otherwise.

    Raises ElfError.
    """
    how = _mode.get()
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            # Checked before opening: opening a named pipe blocks until there is a writer.
            raise ElfError(name, "cannot be read: not a regular file")
        with open(path, "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            if how is FileMode.COPY or (how is None and status.st_size <= COPIED) or not status.st_size:
                return np.frombuffer(file.read(), np.uint8)
            mapped = FileMapping(file.fileno(), status.st_size, access=mmap.ACCESS_READ)
            mapped.path, mapped.name, mapped.identity = os.fspath(path), name, identity_of(status)
    except (OSError, ValueError) as error:
        raise ElfError(name, f"cannot be read: {reason(error)}") from error
    return np.frombuffer(mapped, np.uint8)


def buffer(source: bytes | bytearray | memoryview) -> U8:
    """The bytes as an immutable array: a view when `source` is immutable, else a copy."""
    if isinstance(source, memoryview) and source.readonly and source.c_contiguous:
        return np.frombuffer(source, np.uint8)
    return np.frombuffer(source if isinstance(source, bytes) else bytes(source), np.uint8)


def read_all(file: BinaryIO, name: str) -> bytes:
    """Read a binary file object from its position to its end. Raises ElfError."""
    if not callable(getattr(file, "read", None)):
        raise ElfError(name, f"of type {type(file).__name__} is neither a path nor bytes nor a binary file object")
    try:
        content = file.read()
    except (OSError, ValueError) as error:
        raise ElfError(name, f"cannot be read: {reason(error)}") from error
    if not isinstance(content, bytes | bytearray):
        raise ElfError(name, "cannot be read: the file object yields text, not bytes")
    return bytes(content)

"""Renaming files and folders: all of it or nothing, whatever a signal handler raises."""

from __future__ import annotations

from typing import Protocol

from emu.libc.errno import Errno, FileError
from emu.libc.file_index import FileIndex, absolute
from emu.libc.file_node import FIRST_FOLDERS, Nodes, entry_cost
from emu.memory.limit import MemoryLimit
from relink.memory.rollback import Rollback, Step


class Files(Protocol):
    """The part of `emu.libc.filesystem.FileSystem` that is needed here."""

    files: dict[str, bytes | bytearray]
    directories: set[str]
    index: FileIndex
    nodes: Nodes
    limit: MemoryLimit

    def is_directory(self, path: str) -> bool: ...
    def children(self, path: str) -> list[str]: ...
    def charged(self, key: str) -> int: ...
    def folder_charged(self, path: str) -> int: ...
    def forget(self, key: str) -> None: ...


def rename(files: Files, source: str, target: str) -> None:
    """Rename a file, or a folder with all below it. Raises FileError."""
    files.nodes.require_change(source)
    files.nodes.require_change(target)
    if source not in files.files:
        _rename_folder(files, source, target)
        return
    if files.is_directory(target):
        raise FileError(Errno.EISDIR)
    if source != target:
        Rollback(_moves(files, source, target)).close()


def _rename_folder(files: Files, source: str, target: str) -> None:
    """The new name is free, or that of an empty folder."""
    if not files.is_directory(source):
        raise FileError(Errno.ENOENT)
    if target in files.files:
        raise FileError(Errno.ENOTDIR)
    old, new = absolute(source), absolute(target)
    if old == new:
        return
    if old in FIRST_FOLDERS or new.startswith(old + "/"):
        raise FileError(Errno.EBUSY if old in FIRST_FOLDERS else Errno.EINVAL)
    if files.children(new):
        raise FileError(Errno.ENOTEMPTY)
    steps: list[Step] = []
    for path in files.index.below(old):
        key = files.index.key(path)
        assert key is not None
        steps += _moves(files, key, new + path[len(old) :])
    for path in files.directories:
        if path == old or path.startswith(old + "/"):
            steps += _folder_moves(files, path, new + path[len(old) :])
    Rollback(steps).close()


def _moves(files: Files, source: str, target: str) -> list[Step]:
    """The steps that move a file, in the order of `Rollback`."""
    longer = 4 * (len(target) - len(source)) if files.charged(source) else 0
    return [
        (files.nodes.move, (source, target)),
        (files.limit.give, (files.charged(target) - longer,)),
        (files.forget, (source,)),
        (files.index.put, (target, files.files[source])),
    ]


def _folder_moves(files: Files, source: str, target: str) -> list[Step]:
    """As `_moves`, for a folder that mkdir made, without what is below it."""
    charge = 0 if target in FIRST_FOLDERS else entry_cost(target)
    return [
        (files.nodes.move, (source, target)),
        (files.limit.give, (files.folder_charged(source) + files.folder_charged(target) - charge,)),
        (files.directories.discard, (source,)),
        (files.directories.add, (target,)),
    ]

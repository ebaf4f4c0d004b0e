"""Directories of the in-memory file system, functions relative to a directory, and functions on several files.

Links are not supported: creating one fails with EPERM, as on a file system without links. Layouts of struct
dirent and struct statvfs: glibc, sysdeps/unix/sysv/linux/bits.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from emu.libc import filesystem as fs
from emu.libc.descriptors import O_WRONLY
from emu.libc.errno import Errno
from emu.libc.files import attempt, open_
from emu.libc.table import export
from emu.memory.guest_view import PIECE

if TYPE_CHECKING:
    from emu.libc.library import Libc

_DT_DIR, _DT_REG = 4, 8
_DIRENT = 280  #: bytes of the largest struct dirent


class Directories:
    """Open directories: address of the DIR -> (descriptor, entries, number of entries read)."""

    def __init__(self, libc: Libc) -> None:
        self.open: dict[int, tuple[int, list[str], int]] = {}


def _directory(libc: Libc, number: int) -> int:
    files = fs.file_system(libc)
    try:
        path = files.get(number).path
        if path in files.files or not files.is_directory(path):
            raise fs.FileError(Errno.ENOTDIR)
    except fs.FileError as error:
        return libc.fail(error.errno, 0)
    address = libc.heap.malloc(_DIRENT)
    if not address:
        return libc.fail(Errno.ENOMEM, 0)
    names = [".", "..", *files.children(path)]
    if not libc.limit.take(_name_cost(names)):
        libc.heap.free(address)
        return libc.fail(Errno.ENOMEM, 0)
    libc.state(Directories).open[address] = number, names, 0
    return address


def _name_cost(names: list[str]) -> int:
    """Bytes of host memory for the names of an open folder."""
    return sum(80 + 4 * len(name) for name in names)


@export("void *opendir(const char *path)", alias=("__opendir",))
def opendir(libc: Libc, path: int) -> int:
    number = open_(libc, path, 0)
    if number < 0:
        return 0
    directory = _directory(libc, number)
    if not directory:
        fs.file_system(libc).close(number)
    return directory


@export("void *fdopendir(int number)")
def fdopendir(libc: Libc, number: int) -> int:
    return _directory(libc, number)


@export("int dirfd(void *directory)")
def dirfd(libc: Libc, directory: int) -> int:
    found = libc.state(Directories).open.get(directory)
    return libc.fail(Errno.EINVAL) if found is None else found[0]


@export("int closedir(void *directory)", alias=("__closedir",))
def closedir(libc: Libc, directory: int) -> int:
    found = libc.state(Directories).open.pop(directory, None)
    if found is None:
        return libc.fail(Errno.EBADF)
    libc.limit.give(_name_cost(found[1]))
    libc.heap.free(directory)
    return attempt(libc, lambda: fs.file_system(libc).close(found[0]))


@export("long telldir(void *directory)")
def telldir(libc: Libc, directory: int) -> int:
    found = libc.state(Directories).open.get(directory)
    return libc.fail(Errno.EBADF) if found is None else found[2]


@export("void seekdir(void *directory, long position)")
def seekdir(libc: Libc, directory: int, position: int) -> None:
    """Go to a position that telldir returned; others are ignored."""
    directories = libc.state(Directories).open
    if directory in directories and 0 <= position <= len(directories[directory][1]):
        directories[directory] = (*directories[directory][:2], position)


@export("void rewinddir(void *directory)")
def rewinddir(libc: Libc, directory: int) -> None:
    directories = libc.state(Directories).open
    if directory in directories:
        number, names, _ = directories[directory]
        files = fs.file_system(libc)
        fresh = [".", "..", *files.children(files.get(number).path)]
        if libc.limit.take(_name_cost(fresh) - _name_cost(names)):
            names = fresh
        directories[directory] = number, names, 0


def _next_entry(libc: Libc, directory: int, offset_size: int) -> int:
    """The next entry, written into the DIR: d_ino, d_off, d_reclen, d_type, d_name; 0 at the end."""
    directories = libc.state(Directories).open
    if directory not in directories:
        return libc.fail(Errno.EBADF, 0)
    number, names, position = directories[directory]
    if position == len(names):
        return 0
    directories[directory] = number, names, position + 1
    files = fs.file_system(libc)
    path = posixpath.normpath(posixpath.join("/", files.get(number).path, names[position]))
    kind = _DT_DIR if files.is_directory(path) else _DT_REG
    name = names[position].encode("utf-8", "surrogateescape")[:255]
    head = fs.inode(path).to_bytes(offset_size, "little") + (position + 1).to_bytes(offset_size, "little")
    size = (len(head) + 3 + len(name) + 1 + 7) & -8
    libc.memory.write(directory, head + size.to_bytes(2, "little") + bytes([kind]) + name + b"\0")
    return directory


@export("void *readdir(void *directory)", alias=("__readdir",))
def readdir(libc: Libc, directory: int) -> int:
    return _next_entry(libc, directory, libc.isa.data.time_size)


@export("void *readdir64(void *directory)", alias=("__readdir64",))
def readdir64(libc: Libc, directory: int) -> int:
    return _next_entry(libc, directory, 8)


def _readdir_r(libc: Libc, directory: int, entry: int, result: int, offset_size: int) -> int:
    if directory not in libc.state(Directories).open:
        return Errno.EBADF
    found = _next_entry(libc, directory, offset_size)
    if found:
        libc.memory.copy(entry, found, libc.memory.read_uint(found + 2 * offset_size, 2))
    libc.set_pointer(result, entry if found else 0)
    return 0


@export("int readdir_r(void *directory, void *entry, void **result)")
def readdir_r(libc: Libc, directory: int, entry: int, result: int) -> int:
    return _readdir_r(libc, directory, entry, result, libc.isa.data.time_size)


@export("int readdir64_r(void *directory, void *entry, void **result)")
def readdir64_r(libc: Libc, directory: int, entry: int, result: int) -> int:
    return _readdir_r(libc, directory, entry, result, 8)


# ---------------------------------------------------------------- relative to a directory


@export("int link(const char *old, const char *new_path)", alias=("symlink",))
def link(libc: Libc, old: int, new_path: int) -> int:
    return libc.fail(Errno.EPERM)


@export("int truncate(const char *path, off_t size)")
def truncate(libc: Libc, path: int, size: int) -> int:
    def operation() -> None:
        files = fs.file_system(libc)
        number = files.open(fs.path_at(libc, path), O_WRONLY)
        try:
            files.get(number).resize(size)
        finally:
            files.close(number)

    return attempt(libc, operation)


@export("int truncate64(const char *path, off64_t size)")
def truncate64(libc: Libc, path: int, size: int) -> int:
    return truncate(libc, path, size)


# ---------------------------------------------------------------- several at once


def _sendfile(libc: Libc, target: int, source: int, offset: int, count: int, size: int) -> int:
    def operation() -> int:
        files = fs.file_system(libc)
        at = libc.memory.read_uint(offset, size) if offset else None
        origin, sink = files.get(source), files.get(target)
        total = 0
        while total < count:
            data = origin.read(min(PIECE, count - total), None if at is None else at + total)
            taken = sink.write(data) if data else 0
            total += taken
            if not data or taken < len(data) or origin.gives_what_is_there:
                break
            libc.check_budget()
        if offset and at is not None:
            libc.memory.write_uint(offset, size, at + total)
        return total

    return attempt(libc, operation)


@export("ssize_t sendfile(int target, int source, void *offset, size_t count)")
def sendfile(libc: Libc, target: int, source: int, offset: int, count: int) -> int:
    return _sendfile(libc, target, source, offset, count, libc.isa.data.time_size)


@export("ssize_t sendfile64(int target, int source, void *offset, size_t count)")
def sendfile64(libc: Libc, target: int, source: int, offset: int, count: int) -> int:
    return _sendfile(libc, target, source, offset, count, 8)

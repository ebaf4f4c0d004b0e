"""Functions on paths of the in-memory file system."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from emu.libc.errno import Errno
from emu.libc.files import attempt
from emu.libc.filesystem import FileError, file_system, path_at
from emu.libc.table import export

if TYPE_CHECKING:
    from emu.libc.library import Libc


def _check(libc: Libc, path: int) -> int:
    """0 for a path that exists, else -1 with errno."""

    def operation() -> None:
        file_system(libc).status(path_at(libc, path))

    return attempt(libc, operation)


@export("int unlink(const char *path)")
def unlink(libc: Libc, path: int) -> int:
    return attempt(libc, lambda: file_system(libc).unlink(path_at(libc, path)))


@export("int remove(const char *path)")
def remove(libc: Libc, path: int) -> int:
    files = file_system(libc)
    try:
        name = path_at(libc, path)
        if files.is_directory(files.resolve(name)):
            return attempt(libc, lambda: files.remove_directory(name))
    except FileError as error:
        return libc.fail(error.errno)
    return attempt(libc, lambda: files.unlink(name))


@export("int rename(const char *old, const char *new_path)")
def rename(libc: Libc, old: int, new_path: int) -> int:
    return attempt(libc, lambda: file_system(libc).rename(path_at(libc, old), path_at(libc, new_path)))


@export("int mkdir(const char *path, unsigned mode)")
def mkdir(libc: Libc, path: int, mode: int) -> int:
    return attempt(libc, lambda: file_system(libc).make_directory(path_at(libc, path), mode))


@export("int rmdir(const char *path)")
def rmdir(libc: Libc, path: int) -> int:
    return attempt(libc, lambda: file_system(libc).remove_directory(path_at(libc, path)))


@export("ssize_t readlink(const char *path, char *buffer, size_t size)")
def readlink(libc: Libc, path: int, buffer: int, size: int) -> int:
    """There are no symbolic links: EINVAL for an existing path, else ENOENT."""
    found = _check(libc, path)
    return found if found < 0 else libc.fail(Errno.EINVAL)


@export("char *getcwd(char *buffer, size_t size)")
def getcwd(libc: Libc, buffer: int, size: int) -> int:
    text = file_system(libc).working_directory.encode("utf-8", "surrogateescape")
    if not buffer:
        return libc.new_string(text)
    if size <= len(text):
        return libc.fail(Errno.ERANGE, 0)
    libc.put_string(buffer, text)
    return buffer


@export("int chdir(const char *path)")
def chdir(libc: Libc, path: int) -> int:
    files = file_system(libc)

    def operation() -> None:
        target = files.resolve(path_at(libc, path))
        if not files.is_directory(target):
            raise FileError(Errno.ENOTDIR if target in files.files else Errno.ENOENT)
        files.working_directory = posixpath.normpath(posixpath.join("/", target))

    return attempt(libc, operation)


@export("char *realpath(const char *path, char *buffer)")
def realpath(libc: Libc, path: int, buffer: int) -> int:
    if _check(libc, path) < 0:
        return 0
    text = posixpath.join("/", file_system(libc).resolve(path_at(libc, path))).encode("utf-8", "surrogateescape")
    if not buffer:
        return libc.new_string(text)
    libc.put_string(buffer, text)
    return buffer

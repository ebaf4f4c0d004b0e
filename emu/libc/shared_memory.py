"""POSIX shared memory, as files in /dev/shm; keys of System V's, which is not supported itself (ENOSYS)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.libc import filesystem as fs
from emu.libc.descriptors import O_CLOEXEC
from emu.libc.errno import Errno
from emu.libc.files import attempt
from emu.libc.table import export

if TYPE_CHECKING:
    from emu.libc.library import Libc

_DEVICE = 1  #: st_dev of all files


def _path(libc: Libc, name: int) -> bytes:
    """The file of a shared memory object. Raises FileError EINVAL for a name that is none."""
    text = libc.bounded_string(name, 256).lstrip(b"/")
    if not text or b"/" in text or len(text) > 255:
        raise fs.FileError(Errno.EINVAL)
    return b"/dev/shm/" + text


@export("int shm_open(const char *name, int flags, unsigned mode)")
def shm_open(libc: Libc, name: int, flags: int, mode: int) -> int:
    return attempt(libc, lambda: fs.file_system(libc).open(_path(libc, name), flags | O_CLOEXEC, mode))


@export("int shm_unlink(const char *name)")
def shm_unlink(libc: Libc, name: int) -> int:
    return attempt(libc, lambda: fs.file_system(libc).unlink(_path(libc, name)))


@export("int ftok(const char *path, int project)")
def ftok(libc: Libc, path: int, project: int) -> int:
    """glibc's key: the project's low byte, the device's, and two of the inode's."""

    def operation() -> int:
        inode = fs.file_system(libc).status(fs.path_at(libc, path)).inode
        key = (project & 0xFF) << 24 | _DEVICE << 16 | inode & 0xFFFF
        return key - (key >> 31 << 32)

    return attempt(libc, operation)

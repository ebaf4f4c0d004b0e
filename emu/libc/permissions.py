"""Permissions of files: chmod, chown, access and related functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.libc import filesystem as fs
from emu.libc.at_calls import AT_FDCWD, AT_SYMLINK_NOFOLLOW, path_from
from emu.libc.errno import Errno
from emu.libc.file_node import USER_ID, Node
from emu.libc.files import attempt
from emu.libc.table import export

if TYPE_CHECKING:
    from emu.libc.library import Libc

_AT_EACCESS = 0x200
_UNCHANGED = 0xFFFF_FFFF  #: chown's -1


def node_from(libc: Libc, directory: int, path: int) -> Node:
    """The node at a guest's path, relative to an open directory, to be changed. Raises FileError."""
    return fs.file_system(libc).node_at(path_from(libc, directory, path))


def open_node(files: fs.FileSystem, number: int) -> Node:
    """The node of an open file or folder, to be changed; of a stream, one that nothing else uses."""
    descriptor = files.get(number)
    if descriptor.node is not None:
        return descriptor.node
    if descriptor.output is None and files.is_directory(descriptor.path):
        return files.find_node(descriptor.path, keep=True)
    return Node(0o600)


# ---------------------------------------------------------------- modes


@export("int fchmodat(int directory, const char *path, unsigned mode, int flags)")
def fchmodat(libc: Libc, directory: int, path: int, mode: int, flags: int) -> int:
    if flags & ~AT_SYMLINK_NOFOLLOW:
        return libc.fail(Errno.EINVAL)
    return attempt(libc, lambda: fs.file_system(libc).change_mode(node_from(libc, directory, path), mode))


@export("int chmod(const char *path, unsigned mode)", alias=("lchmod",))
def chmod(libc: Libc, path: int, mode: int) -> int:
    return fchmodat(libc, AT_FDCWD, path, mode, 0)


@export("int fchmod(int number, unsigned mode)")
def fchmod(libc: Libc, number: int, mode: int) -> int:
    files = fs.file_system(libc)
    return attempt(libc, lambda: files.change_mode(open_node(files, number), mode))


@export("unsigned umask(unsigned mask)")
def umask(libc: Libc, mask: int) -> int:
    nodes = fs.file_system(libc).nodes
    before, nodes.mask = nodes.mask, mask & 0o777
    return before


# ---------------------------------------------------------------- owners


def check_owner(owner: int, group: int) -> None:
    """Raises FileError EPERM: an unprivileged user cannot give files away."""
    if owner not in (USER_ID, _UNCHANGED) or group not in (USER_ID, _UNCHANGED):
        raise fs.FileError(Errno.EPERM)


@export("int fchownat(int directory, const char *path, unsigned owner, unsigned group, int flags)")
def fchownat(libc: Libc, directory: int, path: int, owner: int, group: int, flags: int) -> int:
    def operation() -> None:
        node_from(libc, directory, path)
        check_owner(owner, group)

    return attempt(libc, operation)


@export("int chown(const char *path, unsigned owner, unsigned group)", alias=("lchown",))
def chown(libc: Libc, path: int, owner: int, group: int) -> int:
    return fchownat(libc, AT_FDCWD, path, owner, group, 0)


@export("int fchown(int number, unsigned owner, unsigned group)")
def fchown(libc: Libc, number: int, owner: int, group: int) -> int:
    def operation() -> None:
        fs.file_system(libc).get(number)
        check_owner(owner, group)

    return attempt(libc, operation)


# ---------------------------------------------------------------- access


@export("int faccessat(int directory, const char *path, int mode, int flags)")
def faccessat(libc: Libc, directory: int, path: int, mode: int, flags: int) -> int:
    if mode & ~7 or flags & ~(AT_SYMLINK_NOFOLLOW | _AT_EACCESS):
        return libc.fail(Errno.EINVAL)
    return attempt(libc, lambda: fs.file_system(libc).check_access(path_from(libc, directory, path), mode))


@export("int access(const char *path, int mode)", alias=("euidaccess", "eaccess"))
def access(libc: Libc, path: int, mode: int) -> int:
    return faccessat(libc, AT_FDCWD, path, mode, 0)

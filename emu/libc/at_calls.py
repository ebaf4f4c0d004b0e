"""Functions on a path relative to an open directory, and other later additions to the kernel's file interface.

As on a file system without links and extended attributes, making a link fails with EPERM, and accessing an
attribute with EOPNOTSUPP.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.libc import filesystem as fs
from emu.libc.errno import Errno
from emu.libc.files import attempt, creation_mode, put_status, statx_bytes
from emu.libc.table import export, register

if TYPE_CHECKING:
    from emu.libc.guest import Arguments
    from emu.libc.library import Libc

AT_FDCWD, AT_SYMLINK_NOFOLLOW = -100, 0x100
_AT_REMOVEDIR = 0x200
_AT_EMPTY_PATH = 0x1000
_RENAME_NOREPLACE = 1
#: pathconf's numbers -> values: LINK_MAX, NAME_MAX, PATH_MAX, PIPE_BUF, CHOWN_RESTRICTED, NO_TRUNC.
_PATHCONF = {0: 1, 3: 255, 4: 4096, 5: 4096, 6: 1, 7: 1}


def path_from(libc: Libc, directory: int, path: int) -> bytes:
    """Return the path, made absolute where it is relative to a descriptor. Raises FileError."""
    name = fs.path_at(libc, path)
    if directory == AT_FDCWD or name.startswith(b"/"):
        return name
    files = fs.file_system(libc)
    base = files.get(directory).path
    if not files.is_directory(base):
        raise fs.FileError(Errno.ENOTDIR)
    return posixpath.join(base.encode("utf-8", "surrogateescape"), name)


def _existing(libc: Libc, directory: int, path: int) -> None:
    fs.file_system(libc).status(path_from(libc, directory, path))


def _open(libc: Libc, number: int) -> None:
    fs.file_system(libc).get(number)


def _status(libc: Libc, directory: int, path: int, flags: int) -> fs.Status:
    files = fs.file_system(libc)
    if flags & _AT_EMPTY_PATH and not libc.bounded_string(path, 1):
        return files.descriptor_status(directory)
    return files.status(path_from(libc, directory, path))


def _fstatat(suffix: str) -> Callable[..., int]:
    def call(libc: Libc, directory: int, path: int, buffer: int, flags: int) -> int:
        return attempt(libc, lambda: put_status(libc, _status(libc, directory, path, flags), buffer, suffix))

    return call


def _versioned(call: Callable[..., int]) -> Callable[..., int]:
    """The entry of glibc before 2.33, with the version of struct stat first."""
    return lambda libc, version, directory, path, buffer, flags: call(libc, directory, path, buffer, flags)


@export("int statx(int directory, const char *path, int flags, unsigned mask, void *buffer)")
def statx(libc: Libc, directory: int, path: int, flags: int, mask: int, buffer: int) -> int:
    """All fields are filled, whatever `mask` asks for."""
    return attempt(libc, lambda: libc.memory.write(buffer, statx_bytes(_status(libc, directory, path, flags))))


for _name, _suffix in (("fstatat", ""), ("fstatat64", "64")):
    register(_name, f"int {_name}(int directory, const char *path, void *buffer, int flags)", _fstatat(_suffix))
    register(
        f"__fxstatat{_suffix}",
        f"int __fxstatat{_suffix}(int version, int directory, const char *path, void *buffer, int flags)",
        _versioned(_fstatat(_suffix)),
    )
register(
    "__fstatat64_time64",
    "int __fstatat64_time64(int directory, const char *path, void *buffer, int flags)",
    _fstatat("64_time64"),
    lambda isa: "64_time64" in isa.libc.stat,
)


@export("int fchdir(int directory)")
def fchdir(libc: Libc, directory: int) -> int:
    def operation() -> None:
        files = fs.file_system(libc)
        base = files.get(directory).path
        if not files.is_directory(base):
            raise fs.FileError(Errno.ENOTDIR)
        files.working_directory = posixpath.normpath(posixpath.join("/", base))

    return attempt(libc, operation)


@export("int openat(int directory, const char *path, int flags, ...)", alias=("openat64",))
def openat(libc: Libc, directory: int, path: int, flags: int, arguments: Arguments | None = None) -> int:
    mode = creation_mode(flags, arguments)
    return attempt(libc, lambda: fs.file_system(libc).open(path_from(libc, directory, path), flags, mode))


@export("int __openat_2(int directory, const char *path, int flags)", alias=("__openat64_2",))
def openat_2(libc: Libc, directory: int, path: int, flags: int) -> int:
    return openat(libc, directory, path, flags)


@export("int unlinkat(int directory, const char *path, int flags)")
def unlinkat(libc: Libc, directory: int, path: int, flags: int) -> int:
    def operation() -> None:
        files, name = fs.file_system(libc), path_from(libc, directory, path)
        if flags & ~_AT_REMOVEDIR:
            raise fs.FileError(Errno.EINVAL)
        files.remove_directory(name) if flags else files.unlink(name)

    return attempt(libc, operation)


@export("int mkdirat(int directory, const char *path, unsigned mode)")
def mkdirat(libc: Libc, directory: int, path: int, mode: int) -> int:
    return attempt(libc, lambda: fs.file_system(libc).make_directory(path_from(libc, directory, path), mode))


@export("int renameat2(int old_directory, const char *old, int directory, const char *path, unsigned flags)")
def renameat2(libc: Libc, old_directory: int, old: int, directory: int, path: int, flags: int) -> int:
    def operation() -> None:
        files, target = fs.file_system(libc), path_from(libc, directory, path)
        if flags & ~_RENAME_NOREPLACE:
            raise fs.FileError(Errno.EINVAL)
        if flags and files.resolve(target) in files.files:
            raise fs.FileError(Errno.EEXIST)
        files.rename(path_from(libc, old_directory, old), target)

    return attempt(libc, operation)


@export("int renameat(int old_directory, const char *old, int directory, const char *path)")
def renameat(libc: Libc, old_directory: int, old: int, directory: int, path: int) -> int:
    return renameat2(libc, old_directory, old, directory, path, 0)


@export("ssize_t readlinkat(int directory, const char *path, char *buffer, size_t size)")
def readlinkat(libc: Libc, directory: int, path: int, buffer: int, size: int) -> int:
    """There are no symbolic links."""
    found = attempt(libc, lambda: _existing(libc, directory, path))
    return found if found < 0 else libc.fail(Errno.EINVAL)


@export("int linkat(int old_directory, const char *old, int directory, const char *path, int flags)")
def linkat(libc: Libc, old_directory: int, old: int, directory: int, path: int, flags: int) -> int:
    return libc.fail(Errno.EPERM)


@export("int symlinkat(const char *old, int directory, const char *path)")
def symlinkat(libc: Libc, old: int, directory: int, path: int) -> int:
    return libc.fail(Errno.EPERM)


@export("int mkfifo(const char *path, unsigned mode)")
def mkfifo(libc: Libc, path: int, mode: int) -> int:
    return libc.fail(Errno.EPERM)


@export("int mknod(const char *path, unsigned mode, uint64_t device)")
def mknod(libc: Libc, path: int, mode: int, device: int) -> int:
    return libc.fail(Errno.EPERM)


@export("int mkfifoat(int directory, const char *path, unsigned mode)")
def mkfifoat(libc: Libc, directory: int, path: int, mode: int) -> int:
    return libc.fail(Errno.EPERM)


@export("int mknodat(int directory, const char *path, unsigned mode, uint64_t device)")
def mknodat(libc: Libc, directory: int, path: int, mode: int, device: int) -> int:
    return libc.fail(Errno.EPERM)


@export("long pathconf(const char *path, int name)")
def pathconf(libc: Libc, path: int, name: int) -> int:
    return _PATHCONF[name] if name in _PATHCONF else libc.fail(Errno.EINVAL)


@export("long fpathconf(int number, int name)")
def fpathconf(libc: Libc, number: int, name: int) -> int:
    return _PATHCONF[name] if name in _PATHCONF else libc.fail(Errno.EINVAL)


@export("char *canonicalize_file_name(const char *path)")
def canonicalize_file_name(libc: Libc, path: int) -> int:
    from emu.libc.paths import realpath

    return realpath(libc, path, 0)


@export("char *get_current_dir_name(void)")
def get_current_dir_name(libc: Libc) -> int:
    return libc.new_string(fs.file_system(libc).working_directory.encode("utf-8", "surrogateescape"))


def _allocate(libc: Libc, number: int, end: int) -> Errno | None:
    try:
        descriptor = fs.file_system(libc).get(number)
        if descriptor.data is None:
            return Errno.ENODEV
        if end > len(descriptor.data):
            descriptor.resize(end)
    except fs.FileError as error:
        return error.errno
    return None


for _name, _type in (("posix_fallocate", "off_t"), ("posix_fallocate64", "off64_t")):
    register(
        _name,
        f"int {_name}(int number, {_type} start, {_type} size)",
        lambda libc, number, start, size: int(_allocate(libc, number, start + size) or 0),
    )
for _name, _type in (("fallocate", "off_t"), ("fallocate64", "off64_t")):
    register(
        _name,
        f"int {_name}(int number, int mode, {_type} start, {_type} size)",
        lambda libc, number, mode, start, size: (
            libc.fail(Errno.EOPNOTSUPP)
            if mode
            else libc.fail(error)
            if (error := _allocate(libc, number, start + size))
            else 0
        ),
    )

# ---------------------------------------------------------------- what every file system need not have

_UNSUPPORTED = {
    "getxattr": "const char *path, const char *name, void *value, size_t size",
    "lgetxattr": "const char *path, const char *name, void *value, size_t size",
    "fgetxattr": "int number, const char *name, void *value, size_t size",
    "listxattr": "const char *path, char *list, size_t size",
    "llistxattr": "const char *path, char *list, size_t size",
    "flistxattr": "int number, char *list, size_t size",
    "setxattr": "const char *path, const char *name, const void *value, size_t size, int flags",
    "lsetxattr": "const char *path, const char *name, const void *value, size_t size, int flags",
    "fsetxattr": "int number, const char *name, const void *value, size_t size, int flags",
    "removexattr": "const char *path, const char *name",
    "lremovexattr": "const char *path, const char *name",
    "fremovexattr": "int number, const char *name",
}
for _name, _parameters in _UNSUPPORTED.items():
    register(_name, f"ssize_t {_name}({_parameters})", lambda libc, *_: libc.fail(Errno.EOPNOTSUPP))


@export("void sync(void)")
def sync(libc: Libc) -> None:
    """Nothing to do: writes take effect at once."""


@export("int syncfs(int number)")
def syncfs(libc: Libc, number: int) -> int:
    return attempt(libc, lambda: _open(libc, number))

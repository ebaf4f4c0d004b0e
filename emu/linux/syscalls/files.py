"""System calls for files, on the in-memory file system of the hosted C library.

struct stat has the C library's layout on every ISA that has the call (Linux, arch/*/include/uapi/asm/stat.h).
"""

from __future__ import annotations

import struct
from functools import partial
from typing import TYPE_CHECKING

from emu.libc.descriptors import O_CLOEXEC
from emu.libc.errno import Errno
from emu.libc.file_times import read_timespecs, set_times
from emu.libc.files import read_into, status_bytes, statx_bytes, transfer_vectors, write_from
from emu.libc.filesystem import Status, file_system, inode
from emu.libc.permissions import open_node
from emu.libc.pipes import make_pipe
from emu.libc.terminals import control
from emu.linux.syscalls.kernel import call

if TYPE_CHECKING:
    from emu.linux.syscalls.kernel import SystemCalls

_AT_FDCWD = -100
_AT_REMOVEDIR, _AT_EMPTY_PATH = 0x200, 0x1000
_PROGRAM_LINK = b"/proc/self/exe"


def _path_at(kernel: SystemCalls, folder: int, address: int) -> bytes:
    """Read a path and resolve it relative to a descriptor's folder. Raises FileError."""
    path = kernel.path(address)
    number = kernel.signed(folder, 4)
    if path.startswith(b"/") or number == _AT_FDCWD:
        return path
    below = file_system(kernel.libc).get(number).path
    return f"{below}/".encode("utf-8", "surrogateescape") + path


# ---------------------------------------------------------------- reading and writing


@call("read")
def read(kernel: SystemCalls, number: int, buffer: int, size: int) -> int:
    return read_into(kernel.memory, file_system(kernel.libc).get(kernel.signed(number, 4)), buffer, size)


@call("write")
def write(kernel: SystemCalls, number: int, buffer: int, size: int) -> int:
    return write_from(kernel.memory, file_system(kernel.libc).get(kernel.signed(number, 4)), buffer, size)


@call("readv")
def readv(kernel: SystemCalls, number: int, address: int, count: int) -> int:
    return transfer_vectors(kernel.memory, address, count, kernel.word, partial(read, kernel, number))


@call("writev")
def writev(kernel: SystemCalls, number: int, address: int, count: int) -> int:
    return transfer_vectors(kernel.memory, address, count, kernel.word, partial(write, kernel, number))


def _offset(kernel: SystemCalls, first: int, second: int, third: int) -> int:
    """A 64-bit offset after three arguments: on 32-bit ISAs a register pair, which starts at an even register if
    the ABI requires it.
    """
    if kernel.word == 8:
        return kernel.signed(first)
    return kernel.wide(second, third) if kernel.abi.pairs_aligned else kernel.wide(first, second)


@call("pread64")
def pread64(kernel: SystemCalls, number: int, buffer: int, size: int, a: int, b: int, c: int) -> int:
    at = _offset(kernel, a, b, c)
    if at < 0:
        return -Errno.EINVAL
    return read_into(kernel.memory, file_system(kernel.libc).get(kernel.signed(number, 4)), buffer, size, at)


@call("pwrite64")
def pwrite64(kernel: SystemCalls, number: int, buffer: int, size: int, a: int, b: int, c: int) -> int:
    at = _offset(kernel, a, b, c)
    if at < 0:
        return -Errno.EINVAL
    return write_from(kernel.memory, file_system(kernel.libc).get(kernel.signed(number, 4)), buffer, size, at)


@call("lseek")
def lseek(kernel: SystemCalls, number: int, offset: int, whence: int) -> int:
    return file_system(kernel.libc).get(kernel.signed(number, 4)).seek(kernel.signed(offset), whence)


@call("llseek")
def llseek(kernel: SystemCalls, number: int, high: int, low: int, result: int, whence: int) -> int:
    position = file_system(kernel.libc).get(kernel.signed(number, 4)).seek(kernel.wide(low, high), whence)
    kernel.put(result, position, size=8)
    return 0


# ---------------------------------------------------------------- descriptors


@call("openat")
def openat(kernel: SystemCalls, folder: int, path: int, flags: int, mode: int) -> int:
    return file_system(kernel.libc).open(_path_at(kernel, folder, path), flags, mode & 0o7777)


@call("open")
def open_(kernel: SystemCalls, path: int, flags: int, mode: int) -> int:
    return openat(kernel, _AT_FDCWD, path, flags, mode)


@call("pipe2")
def pipe2(kernel: SystemCalls, numbers: int, flags: int) -> int:
    for index, number in enumerate(make_pipe(kernel.libc, flags)):
        kernel.put(numbers + 4 * index, number, size=4)
    return 0


@call("pipe")
def pipe(kernel: SystemCalls, numbers: int) -> int:
    return pipe2(kernel, numbers, 0)


@call("close")
def close(kernel: SystemCalls, number: int) -> int:
    file_system(kernel.libc).close(kernel.signed(number, 4))
    return 0


@call("fsync")
def fsync(kernel: SystemCalls, number: int) -> int:
    file_system(kernel.libc).get(kernel.signed(number, 4))
    return 0


@call("ioctl")
def ioctl(kernel: SystemCalls, number: int, request: int, argument: int) -> int:
    return control(kernel.libc, kernel.signed(number, 4), request, argument)


@call("dup")
def dup(kernel: SystemCalls, number: int) -> int:
    return file_system(kernel.libc).duplicate(kernel.signed(number, 4))


@call("dup2")
def dup2(kernel: SystemCalls, number: int, target: int) -> int:
    return file_system(kernel.libc).duplicate(kernel.signed(number, 4), kernel.signed(target, 4))


@call("dup3")
def dup3(kernel: SystemCalls, number: int, target: int, flags: int) -> int:
    if number == target or flags & ~O_CLOEXEC:
        return -Errno.EINVAL
    found = dup2(kernel, number, target)
    if flags:
        file_system(kernel.libc).close_on_exec.add(found)
    return found


@call("fcntl", "fcntl64")
def fcntl(kernel: SystemCalls, number: int, command: int, argument: int) -> int:
    return file_system(kernel.libc).control(kernel.signed(number, 4), command, argument & 0xFFFF_FFFF)


@call("ftruncate")
def ftruncate(kernel: SystemCalls, number: int, size: int) -> int:
    file_system(kernel.libc).get(kernel.signed(number, 4)).resize(kernel.signed(size))
    return 0


@call("ftruncate64")
def ftruncate64(kernel: SystemCalls, number: int, a: int, b: int, c: int) -> int:
    """The size is a register pair, after one argument: there is a gap where pairs start at an even register."""
    low, high = (b, c) if kernel.abi.pairs_aligned else (a, b)
    file_system(kernel.libc).get(kernel.signed(number, 4)).resize(kernel.wide(low, high))
    return 0


_DT_DIR, _DT_REG = 4, 8


@call("getdents64")
def getdents64(kernel: SystemCalls, number: int, buffer: int, size: int) -> int:
    """struct linux_dirent64: ino, off, reclen, type, name; the descriptor's position counts entries."""
    files = file_system(kernel.libc)
    descriptor = files.get(kernel.signed(number, 4))
    if descriptor.path in files.files or not files.is_directory(descriptor.path):
        return -Errno.ENOTDIR
    content = b""
    for name in [".", "..", *files.children(descriptor.path)][descriptor.position :]:
        path = f"{descriptor.path.rstrip('/')}/{name}"
        kind = _DT_REG if path in files.files else _DT_DIR
        text = name.encode("utf-8", "surrogateescape") + b"\0"
        length = (19 + len(text) + 7) & -8
        if len(content) + length > size:
            if not content:
                return -Errno.EINVAL  # not even one entry fits
            break
        descriptor.position += 1
        entry = struct.pack("<QqHB", inode(path), descriptor.position, length, kind) + text
        content += entry.ljust(length, b"\0")
    kernel.memory.write(buffer, content)
    return len(content)


# ---------------------------------------------------------------- paths


@call("stat", "lstat", "stat64", "lstat64")
def stat(kernel: SystemCalls, path: int, buffer: int) -> int:
    return _put_status(kernel, file_system(kernel.libc).status(kernel.path(path)), buffer)


@call("fstat", "fstat64")
def fstat(kernel: SystemCalls, number: int, buffer: int) -> int:
    return _put_status(kernel, file_system(kernel.libc).descriptor_status(kernel.signed(number, 4)), buffer)


@call("newfstatat", "fstatat64")
def newfstatat(kernel: SystemCalls, folder: int, path: int, buffer: int, flags: int) -> int:
    return _put_status(kernel, _status_at(kernel, folder, path, flags), buffer)


def _status_at(kernel: SystemCalls, folder: int, path: int, flags: int) -> Status:
    files = file_system(kernel.libc)
    if flags & _AT_EMPTY_PATH and not (path and kernel.path(path)):
        return files.descriptor_status(kernel.signed(folder, 4))
    return files.status(_path_at(kernel, folder, path))


def _put_status(kernel: SystemCalls, status: Status, buffer: int) -> int:
    kernel.memory.write(buffer, status_bytes(kernel.isa, status, "64"))
    return 0


@call("statx")
def statx(kernel: SystemCalls, folder: int, path: int, flags: int, mask: int, buffer: int) -> int:
    kernel.memory.write(buffer, statx_bytes(_status_at(kernel, folder, path, flags)))
    return 0


@call("faccessat", "faccessat2")
def faccessat(kernel: SystemCalls, folder: int, path: int, mode: int) -> int:
    if mode & 0xFFFF_FFFF & ~7:
        return -Errno.EINVAL
    file_system(kernel.libc).check_access(_path_at(kernel, folder, path), mode & 7)
    return 0


@call("access")
def access(kernel: SystemCalls, path: int, mode: int) -> int:
    return faccessat(kernel, _AT_FDCWD, path, mode)


@call("fchmodat")
def fchmodat(kernel: SystemCalls, folder: int, path: int, mode: int) -> int:
    files = file_system(kernel.libc)
    files.change_mode(files.node_at(_path_at(kernel, folder, path)), mode)
    return 0


@call("chmod")
def chmod(kernel: SystemCalls, path: int, mode: int) -> int:
    return fchmodat(kernel, _AT_FDCWD, path, mode)


@call("fchmod")
def fchmod(kernel: SystemCalls, number: int, mode: int) -> int:
    files = file_system(kernel.libc)
    files.change_mode(open_node(files, kernel.signed(number, 4)), mode)
    return 0


@call("umask")
def umask(kernel: SystemCalls, mask: int) -> int:
    nodes = file_system(kernel.libc).nodes
    before, nodes.mask = nodes.mask, mask & 0o777
    return before


def _utimensat(kernel: SystemCalls, folder: int, path: int, times: int, size: int) -> int:
    files = file_system(kernel.libc)
    if path:
        node = files.node_at(_path_at(kernel, folder, path))
    else:
        node = open_node(files, kernel.signed(folder, 4))
    pairs = read_timespecs(kernel.memory, size, kernel.word, times) if times else None
    set_times(files, node, pairs)
    return 0


@call("utimensat")
def utimensat(kernel: SystemCalls, folder: int, path: int, times: int) -> int:
    return _utimensat(kernel, folder, path, times, kernel.word)


@call("utimensat_time64")
def utimensat_time64(kernel: SystemCalls, folder: int, path: int, times: int) -> int:
    return _utimensat(kernel, folder, path, times, 8)


@call("readlinkat")
def readlinkat(kernel: SystemCalls, folder: int, path: int, buffer: int, size: int) -> int:
    """There is one symbolic link: the program's own."""
    name = _path_at(kernel, folder, path)
    if name == _PROGRAM_LINK and kernel.program_name:
        data = kernel.program_name[:size]
        kernel.memory.write(buffer, data)
        return len(data)
    file_system(kernel.libc).status(name)
    return -Errno.EINVAL


@call("readlink")
def readlink(kernel: SystemCalls, path: int, buffer: int, size: int) -> int:
    return readlinkat(kernel, _AT_FDCWD, path, buffer, size)


@call("getcwd")
def getcwd(kernel: SystemCalls, buffer: int, size: int) -> int:
    text = file_system(kernel.libc).working_directory.encode("utf-8", "surrogateescape") + b"\0"
    if len(text) > size:
        return -Errno.ERANGE
    kernel.memory.write(buffer, text)
    return len(text)


@call("chdir")
def chdir(kernel: SystemCalls, path: int) -> int:
    files = file_system(kernel.libc)
    folder = files.resolve(kernel.path(path))
    if not files.is_directory(folder):
        return -(Errno.ENOTDIR if folder in files.files else Errno.ENOENT)
    files.working_directory = folder
    return 0


@call("unlinkat")
def unlinkat(kernel: SystemCalls, folder: int, path: int, flags: int) -> int:
    files = file_system(kernel.libc)
    name = _path_at(kernel, folder, path)
    files.remove_directory(name) if flags & _AT_REMOVEDIR else files.unlink(name)
    return 0


@call("unlink")
def unlink(kernel: SystemCalls, path: int) -> int:
    return unlinkat(kernel, _AT_FDCWD, path, 0)


@call("mkdirat")
def mkdirat(kernel: SystemCalls, folder: int, path: int, mode: int) -> int:
    file_system(kernel.libc).make_directory(_path_at(kernel, folder, path), mode)
    return 0


@call("mkdir")
def mkdir(kernel: SystemCalls, path: int, mode: int) -> int:
    return mkdirat(kernel, _AT_FDCWD, path, mode)


@call("renameat2")
def renameat2(kernel: SystemCalls, old_folder: int, old: int, new_folder: int, new: int) -> int:
    file_system(kernel.libc).rename(_path_at(kernel, old_folder, old), _path_at(kernel, new_folder, new))
    return 0


@call("rename")
def rename(kernel: SystemCalls, old: int, new: int) -> int:
    return renameat2(kernel, _AT_FDCWD, old, _AT_FDCWD, new)

"""open, read, write and related functions on the in-memory file system; stat."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.cpu.protocol import Protection
from emu.libc import filesystem as fs
from emu.libc.descriptors import O_CLOEXEC, O_CREAT, O_TRUNC, O_WRONLY, Descriptor
from emu.libc.errno import Errno
from emu.libc.file_node import USER_ID
from emu.libc.memory import overflow_abort
from emu.libc.table import export, register
from emu.memory.guest_view import PIECE, GuestView
from relink.errors import GuestAccessError

if TYPE_CHECKING:
    from emu.isa.spec import Isa
    from emu.libc.guest import Arguments
    from emu.libc.library import Libc


_SECOND = 1_000_000_000
_DEVICE = 1  #: st_dev of all files
_MOST_VECTORS = 1024  #: maximum number of buffers of readv and writev (Linux, UIO_MAXIOV)
_MOST = 0x7FFF_F000  #: maximum number of bytes of one read or write (Linux, MAX_RW_COUNT)


def attempt(libc: Libc, operation: Callable[[], int | None]) -> int:
    """The operation's result (0 for None), or -1 with errno; EFAULT for a bad address, as from a kernel."""
    try:
        return operation() or 0
    except fs.FileError as error:
        return libc.fail(error.errno)
    except GuestAccessError:
        return libc.fail(Errno.EFAULT)


def statx_bytes(status: fs.Status) -> bytes:
    """struct statx, which is the same on all ISAs (Linux, include/uapi/linux/stat.h)."""
    blocks = (status.size + 511) // 512
    # mask, blksize, attributes, nlink, uid, gid, mode, padding, ino, size, blocks, attributes' mask
    facts = 0x7FF, 4096, 0, 1, USER_ID, USER_ID, status.mode, 0, status.inode, status.size, blocks, 0
    accessed, modified, changed = (struct.pack("<qII", *divmod(each, _SECOND), 0) for each in status.times)
    times = accessed + bytes(16) + changed + modified  # the second is the time of birth
    devices = struct.pack("<IIII", status.device >> 8, status.device & 0xFF, _DEVICE >> 8, _DEVICE & 0xFF)
    return (struct.pack("<IIQIIIHHQQQQ", *facts) + times + devices).ljust(256, b"\0")


def status_bytes(isa: Isa, status: fs.Status, suffix: str) -> bytes:
    """struct stat of stat{suffix} on an ISA."""
    layout = isa.libc.stat[suffix]
    block = bytearray(layout.bytes)
    values = {
        layout.dev: _DEVICE,
        layout.ino: status.inode,
        layout.mode: status.mode,
        layout.nlink: 1,
        layout.uid: USER_ID,
        layout.gid: USER_ID,
        layout.rdev: status.device,
        layout.size: status.size,
        layout.blksize: 4096,
        layout.blocks: (status.size + 511) // 512,
    }
    for (offset, size), value in values.items():
        block[offset : offset + size] = value.to_bytes(size, "little")
    at, size = layout.times
    for time in status.times:
        for value in divmod(time, _SECOND):
            block[at : at + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
            at += size
    return bytes(block)


def put_status(libc: Libc, status: fs.Status, address: int, suffix: str) -> None:
    """Store a struct stat, in the layout given by `suffix` (see `LibcAbi.stat`)."""
    libc.memory.write(address, status_bytes(libc.isa, status, suffix))


def _stat(libc: Libc, path: int, buffer: int, suffix: str) -> int:
    return attempt(
        libc, lambda: put_status(libc, fs.file_system(libc).status(fs.path_at(libc, path)), buffer, suffix)
    )


def _fstat(libc: Libc, number: int, buffer: int, suffix: str) -> int:
    return attempt(libc, lambda: put_status(libc, fs.file_system(libc).descriptor_status(number), buffer, suffix))


def _export_stat_family() -> None:
    for stem, parameter, call in (
        ("stat", "const char *path", _stat),
        ("lstat", "const char *path", _stat),
        ("fstat", "int number", _fstat),
    ):
        for suffix in ("", "64"):

            def plain(libc: Libc, what: int, buffer: int, *, call=call, suffix=suffix) -> int:  # type: ignore[no-untyped-def]
                return int(call(libc, what, buffer, suffix))

            def versioned(libc: Libc, version: int, what: int, buffer: int, *, call=call, suffix=suffix) -> int:  # type: ignore[no-untyped-def]
                return int(call(libc, what, buffer, suffix))

            name, old = f"{stem}{suffix}", f"__{stem.replace('stat', 'xstat')}{suffix}"
            register(name, f"int {name}({parameter}, void *buffer)", plain)
            register(old, f"int {old}(int version, {parameter}, void *buffer)", versioned)

        def time64(libc: Libc, what: int, buffer: int, *, call=call) -> int:  # type: ignore[no-untyped-def]
            return int(call(libc, what, buffer, "64_time64"))

        name = f"__{stem}64_time64"
        register(name, f"int {name}({parameter}, void *buffer)", time64, lambda isa: "64_time64" in isa.libc.stat)


_export_stat_family()


# ---------------------------------------------------------------- descriptors


def creation_mode(flags: int, arguments: Arguments | None) -> int:
    """The mode of a file that open may make: an argument that is only there if it does."""
    return int(arguments.take("unsigned")) if flags & O_CREAT and arguments is not None else 0


@export("int open(const char *path, int flags, ...)", alias=("open64", "__open", "__open64"))
def open_(libc: Libc, path: int, flags: int, arguments: Arguments | None = None) -> int:
    mode = creation_mode(flags, arguments)
    return attempt(libc, lambda: fs.file_system(libc).open(fs.path_at(libc, path), flags, mode))


@export("int __open_2(const char *path, int flags)", alias=("__open64_2",))
def open_2(libc: Libc, path: int, flags: int) -> int:
    return open_(libc, path, flags)


@export("int creat(const char *path, int mode)", alias=("creat64",))
def creat(libc: Libc, path: int, mode: int) -> int:
    flags = O_WRONLY | O_CREAT | O_TRUNC
    return attempt(libc, lambda: fs.file_system(libc).open(fs.path_at(libc, path), flags, mode))


@export("int close(int number)", alias=("__close",))
def close(libc: Libc, number: int) -> int:
    return attempt(libc, lambda: fs.file_system(libc).close(number))


@export("void closefrom(int lowest)")
def closefrom(libc: Libc, lowest: int) -> None:
    files = fs.file_system(libc)
    for number in sorted(number for number in files.descriptors if number >= lowest):
        close(libc, number)


def transfer_vectors(
    memory: GuestView, vectors: int, count: int, word: int, transfer: Callable[[int, int], int]
) -> int:
    """Call `transfer(address, size)` for each of `count` struct iovec until one moves less than its size; return
    the total.

    Raises FileError: EINVAL for too many, and the error of `transfer` if no byte was moved before.
    """
    if not 0 <= count <= _MOST_VECTORS:
        raise fs.FileError(Errno.EINVAL)
    places = range(vectors, vectors + 2 * word * count, 2 * word)
    total = 0
    # All are read before any transfer (Linux, `import_iovec`).
    for address, size in [(memory.read_uint(at, word), memory.read_uint(at + word, word)) for at in places]:
        try:
            done = transfer(address, size)
        except fs.FileError:
            if total:
                break
            raise
        total += done
        if done < size:
            break
    return total


def read_into(memory: GuestView, descriptor: Descriptor, buffer: int, count: int, at: int | None = None) -> int:
    """Read from a descriptor into guest memory, piece by piece; return the number of bytes.

    Raises FileError, EFAULT when the buffer's first byte is not writable.
    """
    total = 0
    while total < count:
        room = memory.available(buffer + total, min(PIECE, count - total), Protection.W)
        if not room:
            return _enough(total, Errno.EFAULT)
        data = descriptor.read(room, None if at is None else at + total)
        memory.write(buffer + total, data)
        total += len(data)
        if len(data) < room or descriptor.gives_what_is_there:
            break
        memory.check_budget()
    return total


def write_from(memory: GuestView, descriptor: Descriptor, data: int, count: int, at: int | None = None) -> int:
    """Write guest memory to a descriptor, piece by piece; return the number of bytes. Raises FileError when none
    were written.
    """
    if not count:
        return descriptor.write(b"", at)
    total = 0
    while total < count:
        size = memory.available(data + total, min(PIECE, count - total))
        if not size:
            return _enough(total, Errno.EFAULT)
        try:
            taken = descriptor.write(memory.read(data + total, size), None if at is None else at + total)
        except fs.FileError as error:
            return _enough(total, error.errno)
        total += taken
        if taken < size:
            break
        memory.check_budget()
    return total


def _enough(total: int, error: Errno) -> int:
    """The total so far; raise the error if it is 0."""
    if not total:
        raise fs.FileError(error)
    return total


def _read(libc: Libc, number: int, buffer: int, count: int, at: int | None) -> int:
    return attempt(
        libc, lambda: read_into(libc.memory, fs.file_system(libc).get(number), buffer, min(count, _MOST), at)
    )


def _write(libc: Libc, number: int, data: int, count: int, at: int | None) -> int:
    return attempt(
        libc, lambda: write_from(libc.memory, fs.file_system(libc).get(number), data, min(count, _MOST), at)
    )


@export("ssize_t read(int number, void *buffer, size_t count)", alias=("__read",))
def read(libc: Libc, number: int, buffer: int, count: int) -> int:
    return _read(libc, number, buffer, count, None)


@export("ssize_t __read_chk(int number, void *buffer, size_t count, size_t room)")
def read_chk(libc: Libc, number: int, buffer: int, count: int, room: int) -> int:
    if count > room:
        raise overflow_abort(count, room, "read")
    return read(libc, number, buffer, count)


@export("ssize_t write(int number, const void *data, size_t count)", alias=("__write",))
def write(libc: Libc, number: int, data: int, count: int) -> int:
    return _write(libc, number, data, count, None)


@export("ssize_t pread(int number, void *buffer, size_t count, off_t at)")
def pread(libc: Libc, number: int, buffer: int, count: int, at: int) -> int:
    return _read(libc, number, buffer, count, at) if at >= 0 else libc.fail(Errno.EINVAL)


@export("ssize_t pread64(int number, void *buffer, size_t count, off64_t at)")
def pread64(libc: Libc, number: int, buffer: int, count: int, at: int) -> int:
    return pread(libc, number, buffer, count, at)


@export("ssize_t pwrite(int number, const void *data, size_t count, off_t at)")
def pwrite(libc: Libc, number: int, data: int, count: int, at: int) -> int:
    return _write(libc, number, data, count, at) if at >= 0 else libc.fail(Errno.EINVAL)


@export("ssize_t pwrite64(int number, const void *data, size_t count, off64_t at)")
def pwrite64(libc: Libc, number: int, data: int, count: int, at: int) -> int:
    return pwrite(libc, number, data, count, at)


@export("off_t lseek(int number, off_t offset, int whence)", alias=("__lseek",))
def lseek(libc: Libc, number: int, offset: int, whence: int) -> int:
    return attempt(libc, lambda: fs.file_system(libc).get(number).seek(offset, whence))


@export("off64_t lseek64(int number, off64_t offset, int whence)")
def lseek64(libc: Libc, number: int, offset: int, whence: int) -> int:
    return lseek(libc, number, offset, whence)


@export("int ftruncate(int number, off_t size)")
def ftruncate(libc: Libc, number: int, size: int) -> int:
    return attempt(libc, lambda: fs.file_system(libc).get(number).resize(size))


@export("int ftruncate64(int number, off64_t size)")
def ftruncate64(libc: Libc, number: int, size: int) -> int:
    return ftruncate(libc, number, size)


@export("int dup(int number)")
def dup(libc: Libc, number: int) -> int:
    return attempt(libc, lambda: fs.file_system(libc).duplicate(number))


@export("int dup3(int number, int target, int flags)")
def dup3(libc: Libc, number: int, target: int, flags: int) -> int:
    if number == target or flags & ~O_CLOEXEC:
        return libc.fail(Errno.EINVAL)
    found = dup2(libc, number, target)
    if found >= 0 and flags:
        fs.file_system(libc).close_on_exec.add(target)
    return found


@export("int dup2(int number, int target)")
def dup2(libc: Libc, number: int, target: int) -> int:
    return attempt(libc, lambda: fs.file_system(libc).duplicate(number, target))


@export("int fsync(int number)", alias=("fdatasync",))
def fsync(libc: Libc, number: int) -> int:
    def operation() -> None:
        fs.file_system(libc).get(number)

    return attempt(libc, operation)


@export("int sync_file_range(int number, off64_t start, off64_t size, unsigned flags)")
def sync_file_range(libc: Libc, number: int, start: int, size: int, flags: int) -> int:
    return fsync(libc, number)


@export("ssize_t readahead(int number, off64_t start, size_t size)")
def readahead(libc: Libc, number: int, start: int, size: int) -> int:
    return fsync(libc, number)


@export("int flock(int number, int operation)")
def flock(libc: Libc, number: int, operation: int) -> int:
    """Succeeds for an open descriptor: there is no other process to lock out."""
    return fsync(libc, number)


def _region_lock(libc: Libc, number: int, command: int, size: int) -> int:
    """lockf: F_ULOCK, F_LOCK, F_TLOCK, F_TEST."""
    return fsync(libc, number) if 0 <= command <= 3 else libc.fail(Errno.EINVAL)


for _suffix in ("", "64"):
    register(f"lockf{_suffix}", f"int lockf{_suffix}(int number, int command, off{_suffix}_t size)", _region_lock)


@export("int posix_fadvise(int number, off_t offset, off_t size, int advice)")
def posix_fadvise(libc: Libc, number: int, offset: int, size: int, advice: int) -> int:
    return 0


@export("int posix_fadvise64(int number, off64_t offset, off64_t size, int advice)")
def posix_fadvise64(libc: Libc, number: int, offset: int, size: int, advice: int) -> int:
    return 0


_F_SETLOCK = frozenset({6, 7, 13, 14})  # F_SETLK, F_SETLKW, and the variants of 32-bit ISAs for 64-bit offsets
_F_GETLOCK = frozenset({5, 12})
_F_UNLCK = 2


@export("int fcntl(int number, int command, ...)", alias=("fcntl64", "__fcntl_time64"))
def fcntl(libc: Libc, number: int, command: int, arguments: Arguments | None = None) -> int:
    """Grants every lock, as there is one process."""

    def operation() -> int:
        files = fs.file_system(libc)
        files.get(number)
        if command in _F_SETLOCK:
            return 0
        argument = int(arguments.take("unsigned long")) if arguments is not None and command not in _WITHOUT else 0
        if command in _F_GETLOCK:
            libc.memory.write_uint(argument, 2, _F_UNLCK)  # l_type comes first
            return 0
        return files.control(number, command, argument & 0xFFFF_FFFF)

    return attempt(libc, operation)


_WITHOUT = frozenset({fs.F_GETFD, fs.F_GETFL})  #: commands without an argument

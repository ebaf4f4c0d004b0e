"""The guest's files: a dictionary of paths and a table of descriptors; the host's disk is not used.

A directory exists when a file is below it, or when `mkdir` made it. Contents opened for writing become bytearrays
in the dictionary, where the user finds what the guest wrote.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from emu.libc.errno import Errno, of_host
from emu.libc.errno import FileError as FileError
from emu.libc.file_index import FileIndex, absolute
from emu.libc.proc_files import GENERATED
from emu.libc.random_bytes import RandomBytes
from emu.libc.shared import Shared, synchronize
from relink.errors import GuestAccessError
from relink.records import dataclass

if TYPE_CHECKING:
    from emu.libc.library import Libc
    from emu.memory.limit import MemoryLimit

O_WRONLY, O_RDWR, O_CREAT, O_EXCL, O_TRUNC, O_APPEND = 1, 2, 0o100, 0o200, 0o1000, 0o2000
SEEK_SET, SEEK_CUR, SEEK_END = 0, 1, 2
S_IFDIR, S_IFREG, S_IFCHR = 0o040000, 0o100000, 0o020000
#: O_DIRECTORY by ISA: Arm's differ from the generic ones.
MOST_DESCRIPTORS = 1024  #: maximum number of open descriptors (Linux, the usual RLIMIT_NOFILE)
PATH_MAX = 4096  #: bytes of a path, its NUL included (Linux, include/uapi/linux/limits.h)
_NAME_MAX = 255
_DIRECTORIES = ("/", "/tmp")  #: that exist at first, where the user has given no files
_ZEROS = 1 << 20  # bytes a file grows by at a time
_ENTRY_COST = 512  #: host memory in bytes for a file or folder, without its name and content


@dataclass
class Descriptor:
    """One open file; with `data` None a stream: `output` takes bytes, `input` the most it may return."""

    path: str
    flags: int = 0
    data: bytearray | bytes | None = None
    output: Callable[[bytes], int] | None = None
    position: int = 0
    input: Callable[[int], bytes] | None = None
    limit: MemoryLimit | None = None  #: the account for growth of `data`
    shared: Sequence[Shared] = ()  #: shared mappings of all files

    @property
    def readable(self) -> bool:
        return self.flags & 3 != O_WRONLY and (self.data is not None or self.input is not None)

    @property
    def writable(self) -> bool:
        return self.flags & 3 != 0

    def read(self, count: int, at: int | None = None) -> bytes:
        if not self.readable:
            raise FileError(Errno.EBADF)
        if self.input is not None:
            if at is not None and not self.path.startswith("/dev/"):
                raise FileError(Errno.ESPIPE)
            return of_host(self.input, count) if count else b""
        assert self.data is not None
        start = self.position if at is None else at
        if self.shared:
            synchronize(self.shared, self.path, start, start + count)
        piece = bytes(self.data[start : start + count])
        if at is None:
            self.position += len(piece)
        return piece

    def write(self, data: bytes, at: int | None = None) -> int:
        if not self.writable:
            raise FileError(Errno.EBADF)
        if self.output is not None:
            taken = self.output(data)
            if data and not taken:
                raise FileError(Errno.ENOSPC)
            return taken
        assert isinstance(self.data, bytearray)
        start = len(self.data) if self.flags & O_APPEND else self.position if at is None else at
        if data and start + len(data) > len(self.data):
            if start + len(data) > FileSystem.LARGEST_FILE:
                raise FileError(Errno.EFBIG)
            self.resize(max(start, len(self.data)))
            self._charge(start + len(data) - len(self.data))
        if self.shared:
            synchronize(self.shared, self.path, start, start + len(data))
        self.data[start : start + len(data)] = data
        if self.shared:
            synchronize(self.shared, self.path, start, start + len(data))
        if at is None:
            self.position = start + len(data)
        return len(data)

    def seek(self, offset: int, whence: int) -> int:
        if self.path.startswith("/dev/") and self.data is None:
            return 0
        if self.output is not None or self.data is None:
            raise FileError(Errno.ESPIPE)
        bases = {SEEK_SET: 0, SEEK_CUR: self.position, SEEK_END: len(self.data)}
        if whence not in bases or bases[whence] + offset < 0:
            raise FileError(Errno.EINVAL)
        self.position = bases[whence] + offset
        return self.position

    def resize(self, size: int) -> None:
        if not self.writable or not isinstance(self.data, bytearray):
            raise FileError(Errno.EINVAL)
        if size < 0:
            raise FileError(Errno.EINVAL)
        if size > FileSystem.LARGEST_FILE:
            raise FileError(Errno.EFBIG)
        self._charge(size - len(self.data))
        if self.shared:
            synchronize(self.shared, self.path)
        if size < len(self.data):
            del self.data[size:]
        while len(self.data) < size:
            self.data.extend(bytes(min(_ZEROS, size - len(self.data))))
        if self.shared:
            synchronize(self.shared, self.path)

    def _charge(self, size: int) -> None:
        if self.limit is not None and not self.limit.take(size):
            raise FileError(Errno.ENOSPC)


@dataclass(frozen=True)
class Status:
    """The result of stat."""

    mode: int
    size: int
    inode: int


class FileSystem:
    """Paths and descriptors of one machine."""

    LARGEST_FILE = 1 << 30  #: size limit of a file in bytes

    def __init__(self, libc: Libc) -> None:
        self.shared: list[Shared] = []  #: shared mappings of files
        self.files = libc.files
        self.limit = libc.limit
        self.directories: set[str] = {*_DIRECTORIES}
        self._index = FileIndex(self.files)
        self.working_directory = "/"
        self._directory_flag = libc.isa.libc.directory_flag
        #: Devices that always exist: path -> function that returns the bytes read.
        self.devices: dict[str, Callable[[int], bytes]] = {
            "/dev/null": lambda size: b"",
            "/dev/zero": bytes,
            "/dev/full": bytes,
            "/dev/urandom": lambda size: libc.state(RandomBytes).take(size),
            "/dev/random": lambda size: libc.state(RandomBytes).take(size),
        }
        #: Files made when they are opened: path -> function that returns the content.
        self.generated: dict[str, Callable[[], bytes]] = {
            path: partial(make, libc) for path, make in GENERATED.items()
        }
        given = {"input": libc.stdin} if callable(libc.stdin) else {"data": libc.stdin}
        self.descriptors: dict[int, Descriptor] = {
            0: Descriptor("<stdin>", **given),
            1: Descriptor("<stdout>", O_WRONLY, output=libc.stdout.write),
            2: Descriptor("<stderr>", O_WRONLY, output=libc.stderr.write),
        }

    # ---------------------------------------------------------------- paths

    def resolve(self, path: bytes) -> str:
        """The key in `files` for a path: as given there, else absolute and normalised.

        Raises FileError: ENOENT for an empty path, ENAMETOOLONG.
        """
        if len(path) >= PATH_MAX or max(map(len, path.split(b"/"))) > _NAME_MAX:
            raise FileError(Errno.ENAMETOOLONG)
        text = path.decode("utf-8", "surrogateescape")
        if text in self.files:
            return text
        if not text:
            raise FileError(Errno.ENOENT)
        full = posixpath.normpath(posixpath.join(self.working_directory, text)).replace("//", "/")
        return self._index.key(full) or full

    def is_directory(self, path: str) -> bool:
        full = posixpath.normpath(posixpath.join("/", path))
        return full in self.directories or next(self._index.below(full), None) is not None

    def children(self, path: str) -> list[str]:
        """Names directly in a directory, sorted; not those of empty folders that exist at first."""
        folder = absolute(path)
        prefix = folder.rstrip("/") + "/"
        made = self.directories.difference(_DIRECTORIES)
        folders = (each for each in made if each.startswith(prefix) and each != prefix)
        return sorted({each[len(prefix) :].split("/")[0] for each in (*self._index.below(folder), *folders)})

    def status(self, path: bytes) -> Status:
        key = self.resolve(path)
        if key in self.devices and key not in self.files:
            return Status(S_IFCHR | 0o666, 0, inode(key))
        if key in self.generated and key not in self.files:
            return Status(S_IFREG | 0o444, 0, inode(key))
        if key in self.files:
            return Status(S_IFREG | 0o644, len(self.files[key]), inode(key))
        if self.is_directory(key):
            return Status(S_IFDIR | 0o755, 4096, inode(key))
        raise FileError(Errno.ENOENT)

    def unlink(self, path: bytes) -> None:
        key = self.resolve(path)
        if key not in self.files:
            raise FileError(Errno.EISDIR if self.is_directory(key) else Errno.ENOENT)
        self.limit.give(self._cost(key) if isinstance(self.files[key], bytearray) else 0)
        self._index.pop(key)

    def _cost(self, key: str) -> int:
        """The charged size of a file that the guest has made or changed."""
        return _ENTRY_COST + 4 * len(key) + len(self.files[key])

    def _store(self, key: str, content: bytearray) -> None:
        """Make or replace a file and charge its size. Raises FileError."""
        if not self.limit.take(_ENTRY_COST + 4 * len(key) + len(content)):
            raise FileError(Errno.ENOSPC)
        self._index.put(key, content)

    def rename(self, old: bytes, new: bytes) -> None:
        source, target = self.resolve(old), self.resolve(new)
        if source not in self.files:
            raise FileError(Errno.ENOENT)
        if self.is_directory(target):
            raise FileError(Errno.EISDIR)
        if source == target:
            return
        if target in self.files:
            self.unlink(target.encode("utf-8", "surrogateescape"))
        self._index.put(target, self._index.pop(source))

    def make_directory(self, path: bytes) -> None:
        key = self.resolve(path)
        if key in self.files or self.is_directory(key):
            raise FileError(Errno.EEXIST)
        if not self.is_directory(posixpath.dirname(key)):
            raise FileError(Errno.ENOENT)
        if not self.limit.take(_ENTRY_COST + 4 * len(key)):
            raise FileError(Errno.ENOSPC)
        self.directories.add(key)

    def remove_directory(self, path: bytes) -> None:
        key = self.resolve(path)
        if not self.is_directory(key):
            raise FileError(Errno.ENOTDIR if key in self.files else Errno.ENOENT)
        if self.children(key):
            raise FileError(Errno.ENOTEMPTY)
        if key == "/":
            raise FileError(Errno.EBUSY)
        if key in self.directories and key not in _DIRECTORIES:
            self.limit.give(_ENTRY_COST + 4 * len(key))
        self.directories.discard(key)

    # ---------------------------------------------------------------- descriptors

    def open(self, path: bytes, flags: int) -> int:
        """The lowest free descriptor, opened on `path` with Linux's O_ flags."""
        key = self.resolve(path)
        if key in self.devices and key not in self.files:
            return self.add(self._device(key, flags))
        if key in self.generated and key not in self.files:
            if flags & 3 or flags & self._directory_flag:
                raise FileError(Errno.EACCES if flags & 3 else Errno.ENOTDIR)
            return self.add(Descriptor(key, flags, self.generated[key]()))
        if key not in self.files and self.is_directory(key):
            if flags & 3:
                raise FileError(Errno.EISDIR)
            return self.add(Descriptor(key, flags, b""))
        if flags & self._directory_flag:
            raise FileError(Errno.ENOTDIR if key in self.files else Errno.ENOENT)
        if key in self.files:
            if flags & O_CREAT and flags & O_EXCL:
                raise FileError(Errno.EEXIST)
        elif not flags & O_CREAT:
            raise FileError(Errno.ENOENT)
        else:
            self._store(key, bytearray())
        content = self.files[key]
        if flags & 3 and not isinstance(content, bytearray):
            self._store(key, content := bytearray(b"" if flags & O_TRUNC else content))
        descriptor = Descriptor(key, flags, content, limit=self.limit, shared=self.shared)
        if flags & O_TRUNC and descriptor.writable:
            descriptor.resize(0)
        return self.add(descriptor)

    def _device(self, path: str, flags: int) -> Descriptor:
        """A character device: data written to it is discarded; /dev/full refuses it."""
        if flags & self._directory_flag:
            raise FileError(Errno.ENOTDIR)
        return Descriptor(path, flags, output=_full if path == "/dev/full" else len, input=self.devices[path])

    def add(self, descriptor: Descriptor) -> int:
        """The lowest free number, for this."""
        number = next(n for n in range(MOST_DESCRIPTORS + 1) if n not in self.descriptors)
        if number == MOST_DESCRIPTORS:
            raise FileError(Errno.EMFILE)
        self.descriptors[number] = descriptor
        return number

    def get(self, number: int) -> Descriptor:
        if number not in self.descriptors:
            raise FileError(Errno.EBADF)
        return self.descriptors[number]

    def close(self, number: int) -> None:
        self.get(number)
        del self.descriptors[number]

    def duplicate(self, number: int, target: int | None = None) -> int:
        descriptor = self.get(number)
        if target is None:
            return self.add(descriptor)
        if not 0 <= target < MOST_DESCRIPTORS:
            raise FileError(Errno.EBADF)
        self.descriptors[target] = descriptor
        return target

    def descriptor_status(self, number: int) -> Status:
        descriptor = self.get(number)
        if descriptor.output is not None or number == 0:
            return Status(S_IFCHR | 0o620, 0, number + 1)
        if descriptor.path not in self.files and self.is_directory(descriptor.path):
            return Status(S_IFDIR | 0o755, 4096, inode(descriptor.path))
        return Status(S_IFREG | 0o644, len(descriptor.data or b""), inode(descriptor.path))


def _full(data: bytes) -> int:
    """Write to /dev/full: ENOSPC."""
    raise FileError(Errno.ENOSPC)


def inode(path: str) -> int:
    """An inode number for each path, the same in every run (FNV-1a)."""
    value = 0x811C9DC5
    for byte in path.encode("utf-8", "surrogateescape"):
        value = (value ^ byte) * 0x01000193 & 0xFFFF_FFFF
    return value & 0x7FFF_FFFF or 1


def file_system(libc: Libc) -> FileSystem:
    """The machine's file system."""
    return libc.state(FileSystem)


def path_at(libc: Libc, address: int) -> bytes:
    """Read a path from guest memory. Raises FileError: EFAULT, ENAMETOOLONG."""
    try:
        text = libc.bounded_string(address, PATH_MAX)
    except GuestAccessError:
        raise FileError(Errno.EFAULT) from None
    if len(text) == PATH_MAX:
        raise FileError(Errno.ENAMETOOLONG)
    return text

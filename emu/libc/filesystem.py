"""The guest's files: a dictionary of paths and a table of descriptors; the host's disk is not used.

A directory exists when a file is below it, or when `mkdir` made it. Contents opened for writing become bytearrays
in the dictionary, where the user finds what the guest wrote.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from emu.libc import device_files
from emu.libc.descriptors import (
    CHANGEABLE,
    O_CLOEXEC,
    O_CREAT,
    O_EXCL,
    O_TRUNC,
    O_WRONLY,
    S_IFCHR,
    S_IFDIR,
    S_IFREG,
    Descriptor,
    Folder,
)
from emu.libc.errno import Errno
from emu.libc.errno import FileError as FileError
from emu.libc.file_index import FileIndex, absolute
from emu.libc.file_node import (
    FILE_MODE,
    FIRST_FOLDERS,
    FOLDER_MODE,
    READ,
    WRITE,
    Node,
    Nodes,
    entry_cost,
    folders_above,
)
from emu.libc.proc_files import GENERATED
from emu.libc.renaming import rename
from emu.libc.shared import Shared
from relink.errors import GuestAccessError
from relink.memory.rollback import Rollback
from relink.records import dataclass

if TYPE_CHECKING:
    from emu.libc.library import Libc

F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC = 0, 1, 2, 3, 4, 1030
MOST_DESCRIPTORS = 1024  #: maximum number of open descriptors (Linux, the usual RLIMIT_NOFILE)
PATH_MAX = 4096  #: bytes of a path, its NUL included (Linux, include/uapi/linux/limits.h)
_NAME_MAX = 255
_POLLNVAL = 0x20


@dataclass(frozen=True)
class Status:
    """The result of stat."""

    mode: int
    size: int
    inode: int
    times: tuple[int, int, int] = (0, 0, 0)  #: of access, modification and change, in nanoseconds since the epoch
    device: int = 0  #: st_rdev: major and minor number, of a character device


class FileSystem:
    """Paths and descriptors of one machine."""

    def __init__(self, libc: Libc) -> None:
        self.shared: list[Shared] = []  #: shared mappings of files
        self.files = libc.files
        self.limit = libc.limit
        self.directories: set[str] = {*FIRST_FOLDERS}
        self.index = FileIndex(self.files)
        self.nodes = Nodes(libc.clock)
        self.working_directory = "/"
        self._directory_flag = libc.isa.libc.directory_flag
        self.devices = device_files.readers(libc)
        #: Files made when they are opened: path -> function that returns the content.
        self.generated: dict[str, Callable[[], bytes]] = {
            path: partial(make, libc) for path, make in GENERATED.items()
        }
        given = {"input": libc.stdin} if callable(libc.stdin) else {"data": libc.stdin}
        self.most_descriptors = MOST_DESCRIPTORS  #: the limit, which setrlimit may lower
        self.close_on_exec: set[int] = set()
        self.descriptors: dict[int, Descriptor] = {
            0: Descriptor("<stdin>", **given),
            1: Descriptor("<stdout>", O_WRONLY, output=libc.stdout.write),
            2: Descriptor("<stderr>", O_WRONLY, output=libc.stderr.write),
        }

    # ---------------------------------------------------------------- paths

    def resolve(self, path: bytes) -> str:
        """The key in `files` for a path: as given there, else absolute and normalised.

        Raises FileError: ENOENT for an empty path, ENAMETOOLONG, ENOTDIR and EACCES for a folder on the way.
        """
        if len(path) >= PATH_MAX or max(map(len, path.split(b"/"))) > _NAME_MAX:
            raise FileError(Errno.ENAMETOOLONG)
        text = path.decode("utf-8", "surrogateescape")
        if not text:
            raise FileError(Errno.ENOENT)
        full = posixpath.normpath(posixpath.join(self.working_directory, text)).replace("//", "/")
        key = text if text in self.files else self.index.key(full)
        above = folders_above(full) if key is None else ()
        file = next((each for each in above if each in self.devices or self.index.key(each) is not None), None)
        self.nodes.require_search(file or full)
        if file or (key is not None and text.endswith("/")):
            raise FileError(Errno.ENOTDIR)
        return key or full

    def is_directory(self, path: str) -> bool:
        full = posixpath.normpath(posixpath.join("/", path))
        return full in self.directories or next(self.index.below(full), None) is not None

    def children(self, path: str) -> list[str]:
        """Names directly in a directory, sorted; not those of empty folders that exist at first."""
        folder = absolute(path)
        prefix = folder.rstrip("/") + "/"
        made = self.directories.difference(FIRST_FOLDERS)
        folders = (each for each in made if each.startswith(prefix) and each != prefix)
        return sorted({each[len(prefix) :].split("/")[0] for each in (*self.index.below(folder), *folders)})

    def status(self, path: bytes) -> Status:
        key = self.resolve(path)
        if key in self.devices and key not in self.files:
            return _device_status(key)
        if key in self.generated and key not in self.files:
            return Status(S_IFREG | 0o444, 0, inode(key))
        size = len(self.files[key]) if key in self.files else 4096
        return _status(key, size, self.find_node(key), is_folder=key not in self.files)

    def find_node(self, key: str, *, keep: bool = False) -> Node:
        """The node of a file or folder; with `keep` it may be changed. Raises FileError ENOENT."""
        if key not in self.files and not self.is_directory(key):
            raise FileError(Errno.ENOENT)
        default = FILE_MODE if key in self.files else FOLDER_MODE
        return self.nodes.keep(key, default) if keep else self.nodes.find(key, default)

    def node_at(self, path: bytes) -> Node:
        """The node of the file or folder at a path, to be changed. Raises FileError."""
        return self.find_node(self.resolve(path), keep=True)

    def check_access(self, path: bytes, access: int) -> None:
        """Raises FileError if there is no such file, or EACCES if the guest's user lacks `access` (access(2))."""
        Node(self.status(path).mode).require(access)

    def change_mode(self, node: Node, mode: int) -> None:
        node.mode, node.changed = mode & 0o7777, self.nodes.now()

    def unlink(self, path: bytes) -> None:
        key = self.resolve(path)
        if key not in self.files:
            raise FileError(Errno.EISDIR if self.is_directory(key) else Errno.ENOENT)
        self.nodes.require_change(key)
        # All of it, or nothing, whatever a signal handler raises.
        steps = (self.nodes.remove, (key,)), (self.limit.give, (self.charged(key),)), (self.forget, (key,))
        Rollback(steps).close()

    def charged(self, key: str) -> int:
        """The bytes charged for the file with this key; 0 if there is none."""
        return self._cost(key) if isinstance(self.files.get(key), bytearray) else 0

    def _cost(self, key: str) -> int:
        """The charged size of a file that the guest has made or changed."""
        return entry_cost(key) + len(self.files[key])

    def _store(self, key: str, content: bytearray) -> None:
        """Make or replace a file and charge its size. Raises FileError."""
        cost = entry_cost(key) + len(content)
        if not self.limit.take(cost):
            raise FileError(Errno.ENOSPC)
        try:
            self.index.put(key, content)
        except BaseException:  # of a signal handler
            if self.files.get(key) is not content:
                self.limit.give(cost)
            raise

    def rename(self, old: bytes, new: bytes) -> None:
        """Rename a file or folder. Raises FileError."""
        rename(self, self.resolve(old), self.resolve(new))

    def forget(self, key: str) -> None:
        """Remove a file from the dictionary, if it is there."""
        if key in self.files:
            self.index.pop(key)

    def folder_charged(self, path: str) -> int:
        """What was charged for a folder; 0 for one that mkdir did not make."""
        return entry_cost(path) if path in self.directories.difference(FIRST_FOLDERS) else 0

    def make_directory(self, path: bytes, mode: int = 0o777) -> None:
        key = self.resolve(path)
        if key in self.files or self.is_directory(key):
            raise FileError(Errno.EEXIST)
        if not self.is_directory(posixpath.dirname(key)):
            raise FileError(Errno.ENOENT)
        self.nodes.require_change(key)
        if not self.limit.take(entry_cost(key)):
            raise FileError(Errno.ENOSPC)
        try:
            self.nodes.make(key, mode)
            self.directories.add(key)
        except BaseException:  # of a signal handler
            if key not in self.directories:
                self.nodes.remove(key)
                self.limit.give(entry_cost(key))
            raise

    def remove_directory(self, path: bytes) -> None:
        key = self.resolve(path)
        if not self.is_directory(key):
            raise FileError(Errno.ENOTDIR if key in self.files else Errno.ENOENT)
        if self.children(key):
            raise FileError(Errno.ENOTEMPTY)
        if key == "/":
            raise FileError(Errno.EBUSY)
        self.nodes.require_change(key)
        charged = self.folder_charged(key)
        steps = (self.nodes.remove, (key,)), (self.limit.give, (charged,)), (self.directories.discard, (key,))
        Rollback(steps).close()  # as in `unlink`

    # ---------------------------------------------------------------- descriptors

    def open(self, path: bytes, flags: int, mode: int = 0o666) -> int:
        """The lowest free descriptor, opened on `path` with Linux's O_ flags; `mode` is that of a new file."""
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
            self.find_node(key).require(READ)
            return self.add(Folder(key, flags, b""))
        if flags & self._directory_flag:
            raise FileError(Errno.ENOTDIR if key in self.files else Errno.ENOENT)
        node = self._opened(key, flags, mode)
        content = self.files[key]
        if flags & 3 and not isinstance(content, bytearray):
            self._store(key, content := bytearray(b"" if flags & O_TRUNC else content))
        now = self.nodes.now
        descriptor = Descriptor(key, flags, content, limit=self.limit, shared=self.shared, node=node, now=now)
        if flags & O_TRUNC and descriptor.writable:
            descriptor.resize(0)
        return self.add(descriptor, close_on_exec=bool(flags & O_CLOEXEC))

    def _opened(self, key: str, flags: int, mode: int) -> Node:
        """The node of a file to open, which is made if `flags` ask for it. Raises FileError."""
        if key in self.files:
            if flags & O_CREAT and flags & O_EXCL:
                raise FileError(Errno.EEXIST)
            node = self.find_node(key, keep=True)
            node.require((READ, WRITE, READ | WRITE, 0)[flags & 3])
            return node
        if not flags & O_CREAT:
            raise FileError(Errno.ENOENT)
        self.nodes.require_change(key)
        node = self.nodes.make(key, mode)
        try:
            self._store(key, bytearray())
        except BaseException:  # the limit, or a signal handler
            if key not in self.files:
                self.nodes.remove(key)
            raise
        return node

    def _device(self, path: str, flags: int) -> Descriptor:
        if flags & self._directory_flag:
            raise FileError(Errno.ENOTDIR)
        return Descriptor(path, flags, output=device_files.writer(path), input=self.devices[path])

    def add(self, descriptor: Descriptor, lowest: int = 0, *, close_on_exec: bool = False) -> int:
        """The lowest free number that is at least `lowest`, for this. Raises FileError EMFILE."""
        number = next((n for n in range(lowest, self.most_descriptors) if n not in self.descriptors), None)
        if number is None:
            raise FileError(Errno.EMFILE)
        self.descriptors[number] = descriptor
        if close_on_exec:
            self.close_on_exec.add(number)
        return number

    def get(self, number: int) -> Descriptor:
        if number not in self.descriptors:
            raise FileError(Errno.EBADF)
        return self.descriptors[number]

    def close(self, number: int) -> None:
        descriptor = self.get(number)
        del self.descriptors[number]
        self.close_on_exec.discard(number)
        if not any(each is descriptor for each in self.descriptors.values()):
            descriptor.closed()

    def duplicate(self, number: int, target: int | None = None) -> int:
        descriptor = self.get(number)
        if target is None:
            return self.add(descriptor)
        if not 0 <= target < self.most_descriptors:
            raise FileError(Errno.EBADF)
        if target in self.descriptors and self.descriptors[target] is not descriptor:
            self.close(target)
        self.descriptors[target] = descriptor
        return target

    def ready(self, number: int, wanted: int) -> int:
        """The poll events among `wanted` that hold, and POLLHUP, POLLERR or POLLNVAL."""
        return self.descriptors[number].ready(wanted) if number in self.descriptors else _POLLNVAL

    def control(self, number: int, command: int, argument: int) -> int:
        """fcntl, without the commands for locks. Raises FileError: EBADF, EINVAL, EMFILE."""
        descriptor = self.get(number)
        if command in (F_DUPFD, F_DUPFD_CLOEXEC):
            if not 0 <= argument < self.most_descriptors:
                raise FileError(Errno.EINVAL)
            return self.add(descriptor, argument, close_on_exec=command == F_DUPFD_CLOEXEC)
        if command == F_GETFD:
            return int(number in self.close_on_exec)
        if command == F_SETFD:
            (self.close_on_exec.add if argument & 1 else self.close_on_exec.discard)(number)
            return 0
        if command == F_GETFL:
            return descriptor.flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_CLOEXEC)
        if command == F_SETFL:
            descriptor.flags = descriptor.flags & ~CHANGEABLE | argument & CHANGEABLE
            return 0
        raise FileError(Errno.EINVAL)

    def descriptor_status(self, number: int) -> Status:
        descriptor = self.get(number)
        if descriptor.path in device_files.NUMBERS and descriptor.data is None:
            return _device_status(descriptor.path)
        if (fixed := descriptor.kind) is not None or descriptor.output is not None or number == 0:
            return Status(
                fixed or S_IFCHR | 0o620, 0, number + 1, device=0 if fixed else device_files.TERMINAL + number
            )
        if descriptor.path not in self.files and self.is_directory(descriptor.path):
            return _status(descriptor.path, 4096, self.find_node(descriptor.path), is_folder=True)
        node = descriptor.node or Node(FILE_MODE)
        return _status(descriptor.path, len(descriptor.data or b""), node, is_folder=False)


def _status(path: str, size: int, node: Node, *, is_folder: bool) -> Status:
    times = node.accessed, node.modified, node.changed
    return Status((S_IFDIR if is_folder else S_IFREG) | node.mode, size, inode(path), times)


def _device_status(path: str) -> Status:
    return Status(S_IFCHR | 0o666, 0, inode(path), device=device_files.NUMBERS[path])


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

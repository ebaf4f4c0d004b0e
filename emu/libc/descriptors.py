"""Open files: content with a position, or functions of the host that take and return bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from emu.libc.errno import Errno, FileError, of_host
from emu.libc.file_node import Node
from emu.libc.shared import Shared, synchronize
from relink.records import dataclass

if TYPE_CHECKING:
    from emu.memory.limit import MemoryLimit

O_WRONLY, O_RDWR, O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_NONBLOCK = 1, 2, 0o100, 0o200, 0o1000, 0o2000, 0o4000
O_CLOEXEC = 0o2000000
SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE = range(5)
S_IFDIR, S_IFREG, S_IFCHR, S_IFIFO = 0o040000, 0o100000, 0o020000, 0o010000
CHANGEABLE = O_APPEND | O_NONBLOCK  #: flags of an open file that fcntl changes
LARGEST_FILE = 1 << 30  #: size limit of a file in bytes
_ZEROS = 1 << 20  # bytes a file grows by at a time


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
    node: Node | None = None  #: permissions and times; None for streams
    now: Callable[[], int] | None = None  #: the clock for the times of `node`
    kind: int | None = None  #: st_mode, if it is not that of the file at `path`

    @property
    def readable(self) -> bool:
        return self.flags & 3 != O_WRONLY and (self.data is not None or self.input is not None)

    @property
    def gives_what_is_there(self) -> bool:
        """Whether a read that gets fewer bytes than it asked for is not at the end."""
        return self.input is not None

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
        if piece and self.node is not None and self.now is not None:
            self.node.was_read(self.now())
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
            if start + len(data) > LARGEST_FILE:
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
        self._was_written()
        return len(data)

    def in_encoding(self, text: str, codec: str) -> bytes:
        """What a wide stream writes: "?" for what the encoding lacks (glibc replaces some by letters)."""
        return text.encode(codec, "replace")

    def seek(self, offset: int, whence: int) -> int:
        if self.path.startswith("/dev/") and self.data is None:
            return 0
        if self.output is not None or self.data is None:
            raise FileError(Errno.ESPIPE)
        if whence in (SEEK_DATA, SEEK_HOLE):  # of a file system without holes: one, at the end (lseek(2))
            if not 0 <= offset < len(self.data):
                raise FileError(Errno.ENXIO)
            self.position = offset if whence == SEEK_DATA else len(self.data)
            return self.position
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
        if size > LARGEST_FILE:
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
        self._was_written()

    def ready(self, wanted: int) -> int:
        """The poll events among `wanted` that hold: files are always ready."""
        return wanted

    @property
    def waiting(self) -> int:
        """The number of bytes that can be read at once, as ioctl's FIONREAD tells it."""
        return max(len(self.data) - self.position, 0) if self.data is not None else 0

    def closed(self) -> None:
        """The last number of this descriptor was closed."""

    def _was_written(self) -> None:
        if self.node is not None and self.now is not None:
            self.node.was_written(self.now())

    def _charge(self, size: int) -> None:
        if self.limit is not None and not self.limit.take(size):
            raise FileError(Errno.ENOSPC)


@dataclass
class Folder(Descriptor):
    """An open folder; its entries are read by other functions."""

    def read(self, count: int, at: int | None = None) -> bytes:
        raise FileError(Errno.EISDIR)

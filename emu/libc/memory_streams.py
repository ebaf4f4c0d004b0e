"""FILEs on memory of the guest: fmemopen, open_memstream and open_wmemstream.

Their descriptor's number is one of the process's, where glibc's have none. As streams are unbuffered, what was
written is in the memory at once, and not only after fflush or fclose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.libc import filesystem as fs
from emu.libc.descriptors import (
    LARGEST_FILE,
    O_APPEND,
    O_RDWR,
    O_TRUNC,
    O_WRONLY,
    SEEK_CUR,
    SEEK_END,
    SEEK_SET,
    Descriptor,
)
from emu.libc.errno import Errno, FileError
from emu.libc.open_streams import new_stream
from emu.libc.stdio import open_flags
from emu.libc.table import export
from emu.libc.wide import WCHAR
from relink.records import dataclass

if TYPE_CHECKING:
    from emu.libc.library import Libc


@dataclass
class _Memory(Descriptor):
    """`used` bytes at `start` that can be read, and moved about in."""

    libc: Libc | None = None
    start: int = 0
    used: int = 0

    @property
    def readable(self) -> bool:
        return self.flags & 3 != O_WRONLY

    def read(self, count: int, at: int | None = None) -> bytes:
        if not self.readable:
            raise FileError(Errno.EBADF)
        assert self.libc is not None
        begin = self.position if at is None else at
        count = max(min(count, self.used - begin), 0)
        if at is None:
            self.position += count
        return self.libc.memory.read(self.start + begin, count) if count else b""

    def seek(self, offset: int, whence: int) -> int:
        bases = {SEEK_SET: 0, SEEK_CUR: self.position, SEEK_END: self.used}
        if whence not in bases or not 0 <= bases[whence] + offset <= self.most:
            raise FileError(Errno.EINVAL)
        self.position = bases[whence] + offset
        return self.position

    @property
    def most(self) -> int:
        """The largest position."""
        return LARGEST_FILE

    def resize(self, size: int) -> None:
        raise FileError(Errno.EINVAL)


@dataclass
class _Fixed(_Memory):
    """A buffer of `size` bytes. As in glibc a NUL follows what is written, or is a full buffer's last byte."""

    size: int = 0

    @property
    def most(self) -> int:
        return self.size

    def write(self, data: bytes, at: int | None = None) -> int:
        if not self.writable:
            raise FileError(Errno.EBADF)
        assert self.libc is not None
        begin = self.used if self.flags & O_APPEND else self.position if at is None else at
        data = data[: max(self.size - begin, 0)]
        end = begin + len(data)
        if not data:
            raise FileError(Errno.ENOSPC)
        self.libc.memory.write(self.start + begin, data)
        if end > self.used:
            self.used = end
            if not data.endswith(b"\0") and (end < self.size or not self.flags & O_APPEND):
                self.libc.memory.write(self.start + min(end, self.size - 1), b"\0")
        if at is None:
            self.position = end
        return len(data)


@dataclass
class _Growing(_Memory):
    """A block of the heap. Each write stores its address and size in the guest's two variables at `told`."""

    told: tuple[int, int] = (0, 0)  #: where
    room: int = 0
    unit: int = 1  #: bytes of a character: those of wchar_t, or 1

    def in_encoding(self, text: str, codec: str) -> bytes:
        return text.encode() if self.unit == WCHAR else super().in_encoding(text, codec)

    def write(self, data: bytes, at: int | None = None) -> int:
        assert self.libc is not None
        given = len(data)
        if self.unit == WCHAR:
            data = data.decode(errors="replace").encode("utf-32-le")
        begin = self.position if at is None else at
        end = begin + len(data)
        if end + self.unit > self.room:
            self.room = max(end + self.unit, 2 * self.room)
            self.start = self.libc.heap.realloc(self.start, self.room)
        if begin > self.used:
            self.libc.memory.write(self.start + self.used, bytes(begin - self.used))
        self.libc.memory.write(self.start + begin, data + (bytes(self.unit) if end >= self.used else b""))
        self.used = max(self.used, end)
        self.position = end if at is None else self.position
        self.tell()
        return given

    def seek(self, offset: int, whence: int) -> int:
        position = super().seek(offset * self.unit, whence)
        self.tell()
        return position // self.unit

    def closed(self) -> None:
        """A NUL ends what counts, whatever was written behind it."""
        assert self.libc is not None
        self.libc.memory.write(self.start + min(self.position, self.used), bytes(self.unit))

    def tell(self) -> None:
        """The size is that up to the position, as POSIX has it."""
        assert self.libc is not None
        self.libc.set_pointer(self.told[0], self.start)
        self.libc.set_pointer(self.told[1], min(self.position, self.used) // self.unit)


def _opened(libc: Libc, memory: _Memory) -> int:
    try:
        return new_stream(libc, fs.file_system(libc).add(memory))
    except FileError as error:
        return libc.fail(error.errno, 0)


@export("void *fmemopen(void *buffer, size_t size, const char *mode)")
def fmemopen(libc: Libc, buffer: int, size: int, mode: int) -> int:
    flags = open_flags(libc, mode)
    if flags is None:
        return libc.fail(Errno.EINVAL, 0)
    start = buffer or libc.heap.calloc(1, max(size, 1))
    used = 0 if flags & O_TRUNC else size
    if flags & O_TRUNC and flags & O_RDWR and size:
        libc.memory.write(start, b"\0")
    if flags & O_APPEND:
        used = len(libc.memory.read(start, size).partition(b"\0")[0]) if size else 0
    position = used if flags & O_APPEND else 0
    return _opened(
        libc, _Fixed("[memory]", flags, position=position, libc=libc, start=start, used=used, size=size)
    )


def _growing(libc: Libc, place: int, size: int, unit: int) -> int:
    room = 64
    start = libc.heap.calloc(1, room)
    memory = _Growing("[memory]", O_WRONLY, libc=libc, start=start, told=(place, size), room=room, unit=unit)
    memory.tell()
    return _opened(libc, memory)


@export("void *open_memstream(char **place, size_t *size)")
def open_memstream(libc: Libc, place: int, size: int) -> int:
    return _growing(libc, place, size, 1)


@export("void *open_wmemstream(wchar_t **place, size_t *size)")
def open_wmemstream(libc: Libc, place: int, size: int) -> int:
    """Sizes and positions count characters."""
    return _growing(libc, place, size, WCHAR)

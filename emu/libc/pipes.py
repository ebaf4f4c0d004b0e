"""Pipes of a single running thread: waiting for another one to write, or to read, never ends, and is an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.cpu.protocol import Protection
from emu.libc import filesystem as fs
from emu.libc.descriptors import O_CLOEXEC, O_NONBLOCK, O_WRONLY, S_IFIFO, Descriptor
from emu.libc.errno import Errno
from emu.libc.files import attempt
from emu.libc.signal_delivery import Signals
from emu.libc.signal_numbers import (
    SIGPIPE,
)
from emu.libc.table import export
from relink.records import dataclass

if TYPE_CHECKING:
    from emu.libc.library import Libc

CAPACITY = 1 << 16  #: bytes in a pipe (Linux, pipe(7))
_POLLIN, _POLLOUT, _POLLERR, _POLLHUP = 1, 4, 8, 16


class Pipe:
    """The bytes on the way, and which ends are open."""

    def __init__(self, libc: Libc) -> None:
        self.libc = libc
        self.content = bytearray()
        self.has_reader = self.has_writer = True


@dataclass
class PipeEnd(Descriptor):
    """One end of a pipe: of reading, or with O_WRONLY of writing."""

    pipe: Pipe | None = None

    @property
    def readable(self) -> bool:
        return not self.flags & O_WRONLY

    @property
    def gives_what_is_there(self) -> bool:
        return True

    @property
    def waiting(self) -> int:
        return len(self.pipe.content) if self.pipe is not None else 0

    def read(self, count: int, at: int | None = None) -> bytes:
        pipe = self._checked(self.readable, at)
        if count and not pipe.content and pipe.has_writer:
            self._wait("read from an empty pipe")
        piece = bytes(pipe.content[:count])
        del pipe.content[:count]
        return piece

    def write(self, data: bytes, at: int | None = None) -> int:
        pipe = self._checked(self.writable, at)
        if not pipe.has_reader:
            pipe.libc.state(Signals).send(SIGPIPE)
            raise fs.FileError(Errno.EPIPE)
        room = CAPACITY - len(pipe.content)
        if len(data) > room and (not room or not self.flags & O_NONBLOCK):
            self._wait("write into a full pipe")
        pipe.content += data[:room]
        return min(len(data), room)

    def _checked(self, allowed: bool, at: int | None) -> Pipe:
        if not allowed:
            raise fs.FileError(Errno.EBADF)
        if at is not None:
            raise fs.FileError(Errno.ESPIPE)
        assert self.pipe is not None
        return self.pipe

    def _wait(self, action: str) -> None:
        """Raises FileError EAGAIN if the end does not wait, else as `Signals.wait`."""
        if self.flags & O_NONBLOCK:
            raise fs.FileError(Errno.EAGAIN)
        assert self.pipe is not None
        self.pipe.libc.state(Signals).wait(f"to {action}")

    def ready(self, wanted: int) -> int:
        assert self.pipe is not None
        if self.readable:
            hung_up = 0 if self.pipe.has_writer else _POLLHUP
            return wanted & (_POLLIN if self.pipe.content else 0) | hung_up
        broken = 0 if self.pipe.has_reader else _POLLERR
        return wanted & (_POLLOUT if len(self.pipe.content) < CAPACITY else 0) | broken

    def closed(self) -> None:
        assert self.pipe is not None
        if self.readable:
            self.pipe.has_reader = False
        else:
            self.pipe.has_writer = False


def make_pipe(libc: Libc, flags: int) -> tuple[int, int]:
    """The descriptors of a new pipe's two ends. Raises FileError: EINVAL, EMFILE."""
    if flags & ~(O_NONBLOCK | O_CLOEXEC):
        raise fs.FileError(Errno.EINVAL)
    files, pipe = fs.file_system(libc), Pipe(libc)
    numbers: list[int] = []
    try:
        for access in (0, O_WRONLY):
            end = PipeEnd("pipe:", flags & O_NONBLOCK | access, kind=S_IFIFO | 0o600, pipe=pipe)
            numbers.append(files.add(end, close_on_exec=bool(flags & O_CLOEXEC)))
    except fs.FileError:
        for number in numbers:
            files.close(number)
        raise
    return numbers[0], numbers[1]


@export("int pipe2(int *numbers, int flags)")
def pipe2(libc: Libc, numbers: int, flags: int) -> int:
    def operation() -> None:
        libc.memory.require(numbers, 8, Protection.W)
        libc.memory.write(numbers, b"".join(each.to_bytes(4, "little") for each in make_pipe(libc, flags)))

    return attempt(libc, operation)


@export("int pipe(int *numbers)", alias=("__pipe",))
def pipe(libc: Libc, numbers: int) -> int:
    return pipe2(libc, numbers, 0)

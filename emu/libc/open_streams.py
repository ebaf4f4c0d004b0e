"""Open FILEs: their state, and input and output on their descriptors.

A FILE is a block in guest memory. Its first word is glibc's `_flags`, whose end and error marks are the stream's
own, because compilers inline feof_unlocked and ferror_unlocked. The rest is zeros, so that inlined putc and getc
always take their slow path (`__overflow`, `__uflow`); other state is here. Streams are unbuffered: output is
visible at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from emu.errors import GuestAbort
from emu.libc import filesystem as fs
from emu.libc.descriptors import Descriptor
from emu.libc.encoding import codec
from emu.libc.errno import Errno
from emu.libc.files import write_from
from emu.memory.guest_view import PIECE

if TYPE_CHECKING:
    from emu.libc.library import Libc

_FILE_SIZE = 512  # larger than FILE in any C library
END_SEEN = 0x10  #: a mark of a FILE: _IO_EOF_SEEN in glibc's libio.h
ERROR_SEEN = 0x20  #: _IO_ERR_SEEN
_FLAGS_SIZE = 4  #: bytes of `int _flags`, at the start of a FILE
_MOST_STREAMS = 4096  #: limit for open FILEs


class Stream:
    """One FILE."""

    def __init__(self, address: int, number: int) -> None:
        self.address = address
        self.number = number  #: its descriptor
        self.pushed_back = bytearray()


class Streams:
    """Every FILE, by address."""

    def __init__(self, libc: Libc) -> None:
        self.by_address: dict[int, Stream] = {}
        self.standard: dict[int, int] = {}
        self.closed: list[int] = []  # addresses to reuse


def new_stream(libc: Libc, number: int) -> int:
    """Create a FILE for a descriptor and return its address. Raises FileError beyond the limit."""
    streams = libc.state(Streams)
    if len(streams.by_address) >= _MOST_STREAMS:
        raise fs.FileError(Errno.EMFILE)
    address = streams.closed.pop() if streams.closed else libc.allocate(_FILE_SIZE)
    streams.by_address[address] = stream = Stream(address, number)
    clear_marks(libc, stream, END_SEEN | ERROR_SEEN)
    return address


def has_mark(libc: Libc, stream: Stream, mark: int) -> bool:
    """Whether the stream has the mark, `END_SEEN` or `ERROR_SEEN`."""
    return bool(libc.memory.read_uint(stream.address, _FLAGS_SIZE) & mark)


def set_mark(libc: Libc, stream: Stream, mark: int) -> None:
    flags = libc.memory.read_uint(stream.address, _FLAGS_SIZE)
    libc.memory.write_uint(stream.address, _FLAGS_SIZE, flags | mark)


def clear_marks(libc: Libc, stream: Stream, marks: int) -> None:
    flags = libc.memory.read_uint(stream.address, _FLAGS_SIZE)
    if flags & marks:
        libc.memory.write_uint(stream.address, _FLAGS_SIZE, flags & ~marks)


def standard_stream(libc: Libc, number: int) -> int:
    """Address of stdin (0), stdout (1) or stderr (2)."""
    standard = libc.state(Streams).standard
    if number not in standard:
        standard[number] = new_stream(libc, number)
    return standard[number]


def find_stream(libc: Libc, address: int) -> Stream:
    """The stream at `address`. Raises GuestAbort if there is none."""
    found = libc.state(Streams).by_address.get(address)
    if found is None:
        raise GuestAbort(f"{address:#x} is not an open FILE")
    return found


def write_stream(libc: Libc, address: int, data: bytes) -> int:
    """Write and return the number of bytes, or -1 with errno and the error flag set."""
    return _write_stream(libc, address, lambda descriptor: descriptor.write(data))


def write_characters(libc: Libc, address: int, text: str) -> int:
    """Write characters in the encoding of the locale; returns as `write_stream`."""
    return _write_stream(libc, address, lambda it: it.write(it.in_encoding(text, codec(libc))))


def illegal_in(libc: Libc, address: int, result: int) -> int:
    """Note that a stream had a character that the encoding lacks, or bytes that are none: EILSEQ."""
    set_mark(libc, find_stream(libc, address), ERROR_SEEN)
    return libc.fail(Errno.EILSEQ, result)


def write_stream_from(libc: Libc, address: int, data: int, size: int) -> int:
    """Write guest memory, every byte of which must be readable; returns as `write_stream`."""
    libc.memory.require(data, size)
    return _write_stream(libc, address, lambda descriptor: write_from(libc.memory, descriptor, data, size))


def _write_stream(libc: Libc, address: int, write: Callable[[Descriptor], int]) -> int:
    stream = find_stream(libc, address)
    try:
        descriptor = fs.file_system(libc).get(stream.number)
        if stream.pushed_back:
            descriptor.position = max(descriptor.position - len(stream.pushed_back), 0)
            stream.pushed_back.clear()
        return write(descriptor)
    except fs.FileError as error:
        set_mark(libc, stream, ERROR_SEEN)
        return libc.fail(error.errno)


def read_stream(libc: Libc, stream: Stream, count: int) -> bytes:
    """Read up to `count` bytes; fewer set the end or error flag."""
    data = bytes(stream.pushed_back[:count])
    del stream.pushed_back[:count]
    try:
        descriptor = fs.file_system(libc).get(stream.number)
        while len(data) < count and (piece := descriptor.read(count - len(data))):
            data += piece  # a pipe of the host returns the bytes it has
    except fs.FileError as error:
        set_mark(libc, stream, ERROR_SEEN)
        libc.errno = error.errno
        return data
    if len(data) < count:
        set_mark(libc, stream, END_SEEN)
    return data


def line_pieces(libc: Libc, stream: Stream, limit: int, stop: int = 10) -> Iterator[bytes]:
    """Up to `limit` bytes, through the first `stop` byte, in pieces."""
    step = 128
    while limit > 0:
        data = read_stream(libc, stream, min(limit, step if _can_go_back(libc, stream) else 1))
        end = data.find(stop) + 1
        if end and end < len(data):
            fs.file_system(libc).get(stream.number).position -= len(data) - end
        if not data:
            return
        if end:
            clear_marks(libc, stream, END_SEEN)
            yield data[:end]
            return
        yield data
        if has_mark(libc, stream, END_SEEN | ERROR_SEEN):
            return
        limit -= len(data)
        step = min(2 * step, PIECE)
        libc.check_budget()


def _can_go_back(libc: Libc, stream: Stream) -> bool:
    """Whether excess bytes can be returned to the stream: yes for a file, no for input from the host."""
    descriptor = fs.file_system(libc).descriptors.get(stream.number)
    return descriptor is not None and descriptor.data is not None and not stream.pushed_back

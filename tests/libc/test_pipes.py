"""Pipes within one program, and flags of descriptors."""

from __future__ import annotations

import struct

import pytest

from emu.errors import GuestAbort
from emu.libc.errno import Errno
from tests.libc.fake import Harness, Values

NONBLOCK, CLOEXEC, APPEND = 0o4000, 0o2000000, 0o2000
DUPFD, GETFD, SETFD, GETFL, SETFL, DUPFD_CLOEXEC = 0, 1, 2, 3, 4, 1030
IN, OUT, ERR, HUP, NVAL = 1, 4, 8, 16, 32


def pipe(host: Harness, flags: int = 0) -> tuple[int, int]:
    numbers = host.buffer(8)
    assert host.call("pipe2", numbers, flags) == 0
    reader, writer = struct.unpack("<2i", host.memory.read(numbers, 8))
    return reader, writer


def poll(host: Harness, *wanted: tuple[int, int]) -> list[int]:
    place = host.place(b"".join(struct.pack("<ihh", number, events, 0) for number, events in wanted))
    host.call("poll", place, len(wanted), -1)
    return [host.memory.read_uint(place + 8 * index + 6, 2) for index in range(len(wanted))]


def test_what_is_written_is_read_in_order(host: Harness) -> None:
    reader, writer = pipe(host)
    buffer = host.buffer(16)
    assert host.call("write", writer, host.place(b"hello"), 5) == 5
    assert host.call("read", reader, buffer, 2) == 2
    assert host.call("read", reader, buffer + 2, 14) == 3
    assert host.memory.read(buffer, 5) == b"hello"
    assert host.call("read", writer, buffer, 1) == host.call("write", reader, buffer, 1) == -1
    assert host.libc.errno == Errno.EBADF
    assert host.call("lseek", reader, 0, 0) == host.call("pread", reader, buffer, 1, 0) == -1
    assert host.libc.errno == Errno.ESPIPE


def test_the_end_is_seen_when_no_writer_is_left(host: Harness) -> None:
    reader, writer = pipe(host)
    again = host.call("dup", writer)
    host.call("close", writer)
    with pytest.raises(GuestAbort, match="deadlock: the only thread waits to read from an empty pipe"):
        host.call("read", reader, host.buffer(1), 1)
    host.call("close", again)
    assert host.call("read", reader, host.buffer(1), 1) == 0


def test_writing_without_a_reader_sends_a_signal(host: Harness) -> None:
    reader, writer = pipe(host)
    host.call("close", reader)
    with pytest.raises(GuestAbort, match="ended by its own SIGPIPE"):
        host.call("write", writer, host.place(b"x"), 1)
    host.call("signal", 13, 1)  # SIG_IGN
    assert host.call("write", writer, host.place(b"x"), 1) == -1
    assert host.libc.errno == Errno.EPIPE


def test_ends_that_do_not_wait(host: Harness) -> None:
    reader, writer = pipe(host, NONBLOCK)
    assert host.call("read", reader, host.buffer(1), 1) == -1
    assert host.libc.errno == Errno.EAGAIN
    much = host.buffer(70_000)
    assert host.call("write", writer, much, 70_000) == 65_536
    assert host.call("write", writer, much, 1) == -1
    assert host.call("fcntl", writer, SETFL, Values(0)) == 0
    with pytest.raises(GuestAbort, match="full pipe"):
        host.call("write", writer, much, 1)


def test_poll_tells_which_end_is_ready(host: Harness) -> None:
    reader, writer = pipe(host)
    assert poll(host, (reader, IN), (writer, IN | OUT), (77, IN), (-1, IN)) == [0, OUT, NVAL, 0]
    host.call("write", writer, host.place(b"x"), 1)
    assert poll(host, (reader, IN)) == [IN]
    host.call("close", writer)
    assert poll(host, (reader, IN)) == [IN | HUP]
    reader, writer = pipe(host)
    host.call("close", reader)
    assert poll(host, (writer, OUT)) == [OUT | ERR]


def test_streams_read_lines_from_a_pipe(host: Harness) -> None:
    reader, writer = pipe(host)
    stream, line = host.call("fdopen", reader, b"r"), host.buffer(32)
    host.call("write", writer, host.place(b"one\ntw"), 6)
    assert host.call("fgets", line, 32, stream) == line
    assert host.string(line) == b"one\n"
    host.call("close", writer)
    assert host.call("fgets", line, 32, stream) == line
    assert host.string(line) == b"tw"


def test_flags_of_descriptors_are_kept(host: Harness) -> None:
    reader, writer = pipe(host, CLOEXEC)
    assert host.call("fcntl", reader, GETFD) == 1
    assert host.call("fcntl", reader, SETFD, Values(0)) == host.call("fcntl", reader, GETFD) == 0
    assert host.call("fcntl", writer, GETFL) == 1
    assert host.call("fcntl", writer, SETFL, Values(NONBLOCK)) == 0
    assert host.call("fcntl", writer, GETFL) == 1 | NONBLOCK
    assert host.call("fcntl", reader, DUPFD, Values(40)) == 40
    assert host.call("fcntl", reader, DUPFD_CLOEXEC, Values(40)) == 41
    assert host.call("fcntl", 41, GETFD) == 1
    assert host.call("fcntl", 40, GETFD) == 0
    assert host.call("dup3", reader, reader, 0) == host.call("fcntl", reader, 999, Values(0)) == -1
    assert host.call("dup3", reader, 50, CLOEXEC) == 50
    assert host.call("fcntl", 50, GETFD) == 1


def test_the_number_of_descriptors_is_limited_by_setrlimit(host: Harness) -> None:
    limits = host.place(struct.pack("<2Q", 10, 20))
    assert host.call("setrlimit", 7, limits) == 0
    there = host.buffer(16)
    assert host.call("getrlimit", 7, there) == 0
    assert struct.unpack("<2Q", host.memory.read(there, 16)) == (10, 20)
    opened = 0
    while host.call("open", b"/dev/null", 0) >= 0:
        opened += 1
    assert (opened, host.libc.errno) == (7, Errno.EMFILE)
    assert host.call("setrlimit", 7, host.place(struct.pack("<2Q", 10, 21))) == -1
    assert host.libc.errno == Errno.EPERM
    assert host.call("setrlimit", 7, host.place(struct.pack("<2Q", 11, 10))) == -1
    assert host.libc.errno == Errno.EINVAL

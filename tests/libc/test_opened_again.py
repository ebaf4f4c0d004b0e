"""Streams opened to append, for a folder, in memory and again: where they read, and the errors on the way."""

from __future__ import annotations

from emu.libc.errno import Errno
from tests.libc.fake import Harness


def test_a_stream_to_append_and_read_begins_at_the_beginning() -> None:
    host = Harness(files={"/d/w": b"abc"})
    stream = host.call("fopen", b"/d/w", b"a+")
    assert host.call("ftell", stream) == 0
    assert host.call("fgetc", stream) == ord("a")
    host.call("fseek", stream, 0, 1)
    host.call("fputc", ord("Z"), stream)
    assert host.call("ftell", stream) == 4
    assert bytes(host.libc.files["/d/w"]) == b"abcZ"
    assert host.call("ftell", host.call("fopen", b"/d/w", b"a")) == 4


def test_a_stream_is_opened_again_with_another_mode() -> None:
    host = Harness(files={"/d/w": b"old"})
    stream = host.call("fopen", b"/d/w", b"w")
    host.call("fputs", b"abc", stream)
    assert host.call("freopen", 0, b"r", stream) == stream
    assert host.call("fgetc", stream) == ord("a")
    assert host.call("fputc", 1, stream) == -1
    assert host.libc.errno == Errno.EBADF
    output = host.memory.read_uint(host.libc.data_symbol("stdout") or 0, 8)
    assert host.call("freopen", 0, b"w", output) == output
    host.call("fputs", b"x", output)
    assert host.libc.stdout.getvalue() == b"x"


def test_what_is_below_a_file_is_no_folder_and_a_folder_is_not_read() -> None:
    host = Harness(files={"/d/w": b"abc"})
    host.call("chmod", b"/d/w", 0o600)
    for path in (b"/d/w/x", b"/d/w/x/y"):
        assert host.call("fopen", path, b"r") == 0
        assert host.libc.errno == Errno.ENOTDIR
    stream = host.call("fopen", b"/d", b"r")
    assert host.call("fgetc", stream) == -1
    assert host.libc.errno == Errno.EISDIR
    assert host.call("ferror", stream)
    number = host.call("open", b"/d", 0, 0)
    assert host.call("read", number, host.buffer(4), 4) == -1
    assert host.libc.errno == Errno.EISDIR


def test_a_stream_in_memory_of_its_own_has_the_size_given(host: Harness) -> None:
    stream = host.call("fmemopen", 0, 4, b"r+")
    place = host.buffer(8)
    assert host.call("fread", place, 1, 8, stream) == 4
    assert host.call("feof", stream)

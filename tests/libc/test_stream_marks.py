"""A FILE's end and error marks are glibc's bits of its first word, which inlined feof and ferror read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.libc.fake import Harness, Values

_END, _ERROR = 0x10, 0x20


def _marks(host: Harness, stream: int) -> int:
    """What `feof_unlocked` and `ferror_unlocked` see when GCC inlines them."""
    return host.memory.read_uint(stream, 4) & (_END | _ERROR)


READS: list[tuple[str, Callable[[Harness, int], object]]] = [
    ("fgetc", lambda host, stream: [host.call("fgetc", stream) for _ in range(4)]),
    ("fread", lambda host, stream: host.call("fread_unlocked", host.buffer(32), 1, 32, stream)),
    ("fgets", lambda host, stream: host.call("fgets", host.buffer(32), 32, stream)),
    ("getline", lambda host, stream: host.call("getline", host.buffer(8), host.buffer(8), stream)),
    ("fscanf", lambda host, stream: host.call("fscanf", stream, b"abcd", Values())),
]


@pytest.mark.parametrize("read", [read for _, read in READS], ids=[name for name, _ in READS])
def test_the_end_is_marked_where_inlined_feof_looks(read: Callable[[Harness, int], object]) -> None:
    host = Harness(files={"/f": b"abc"})
    stream = host.call("fopen", b"/f", b"r")
    assert not _marks(host, stream)
    read(host, stream)
    assert _marks(host, stream) == _END
    assert host.call("feof", stream)
    assert not host.call("ferror", stream)


@pytest.mark.parametrize(
    ("name", "arguments"), [("ungetc", (65,)), ("fseek", (0, 0)), ("rewind", ()), ("clearerr", ())], ids=str
)
def test_the_end_mark_goes_with_what_ends_the_end(name: str, arguments: tuple[int, ...]) -> None:
    host = Harness(files={"/f": b""})
    stream = host.call("fopen", b"/f", b"r")
    host.call("fgetc", stream)
    assert _marks(host, stream) == _END
    host.call(name, *((65, stream) if name == "ungetc" else (stream, *arguments)))
    assert not _marks(host, stream)
    assert not host.call("feof", stream)


def test_a_line_that_ends_the_file_does_not_mark_its_end() -> None:
    host = Harness(files={"/f": b"one\n"})
    stream = host.call("fopen", b"/f", b"r")
    host.call("fgets", host.buffer(32), 32, stream)
    assert not _marks(host, stream)


def test_a_failure_is_marked_and_a_reused_file_begins_unmarked() -> None:
    host = Harness(files={"/f": b"abc"})
    stream = host.call("fopen", b"/f", b"r")
    host.call("fgetc", stream)
    assert host.call("fputc", 65, stream) == -1
    assert _marks(host, stream) == _ERROR
    assert host.call("ferror", stream)
    assert not host.call("feof", stream)
    host.call("fclose", stream)
    assert host.call("fopen", b"/f", b"r") == stream
    assert not _marks(host, stream)

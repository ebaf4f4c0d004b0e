"""Permissions and times of files are what was set, and permissions hold."""

from __future__ import annotations

import itertools
import struct

import pytest

from emu.libc.errno import Errno
from tests.libc.fake import Harness

HERE, RDWR, CREAT, TRUNC, APPEND, DIRECTORY = -100, 2, 0o100, 0o1000, 0o2000, 0o200000
NOW, OMIT = 0x3FFF_FFFF, 0x3FFF_FFFE
SECOND = 1_000_000_000


@pytest.fixture
def host() -> Harness:
    """A clock that advances by a second at each question."""
    made = Harness(files={"/d/file": b"contents", "/x": bytearray(b"abc")})
    ticks = itertools.count(1000)
    made.libc.clock = lambda: next(ticks) * SECOND
    return made


def stat(host: Harness, path: bytes) -> tuple[int, tuple[int, int, int], tuple[int, int]]:
    """(mode, times in nanoseconds, owner and group), from x86-64's struct stat."""
    buffer = host.buffer(144)
    assert host.call("stat", path, buffer) == 0
    block = host.memory.read(buffer, 144)
    pairs = struct.unpack_from("<6q", block, 72)
    times = tuple(seconds * SECOND + rest for seconds, rest in zip(pairs[::2], pairs[1::2], strict=True))
    return struct.unpack_from("<I", block, 24)[0], times, struct.unpack_from("<2I", block, 28)


def test_modes_are_kept_and_hold(host: Harness) -> None:
    assert stat(host, b"/x")[0] == 0o100644
    assert stat(host, b"/d")[0] == 0o040755
    assert stat(host, b"/x")[2] == (host.call("getuid"), host.call("getgid"))
    assert host.call("chmod", b"/x", 0o444) == 0
    assert stat(host, b"/x")[0] == 0o100444
    assert host.call("open", b"/x", RDWR) == -1
    assert host.libc.errno == Errno.EACCES
    assert host.call("access", b"/x", 4) == 0
    assert host.call("access", b"/x", 2) == host.call("access", b"/x", 1) == -1
    number = host.call("open", b"/x", 0)
    assert host.call("fchmod", number, 0) == 0
    assert host.call("read", number, host.buffer(4), 3) == 3  # what is open stays open
    assert host.call("open", b"/x", 0) == -1
    assert host.call("unlink", b"/x") == 0  # the folder's permissions decide
    assert host.call("chmod", b"/x", 0o644) == -1


def test_a_folder_s_mode_decides_about_what_is_in_it(host: Harness) -> None:
    assert host.call("chmod", b"/d", 0o555) == 0
    for refused in (
        ("unlink", b"/d/file"),
        ("rename", b"/d/file", b"/y"),
        ("rename", b"/x", b"/d/x"),
        ("mkdir", b"/d/e", 0o755),
        ("open", b"/d/new", RDWR | CREAT),
    ):
        assert host.call(*refused) == -1, refused
        assert host.libc.errno == Errno.EACCES
    assert host.call("open", b"/d/file", 0) > 0
    assert host.call("chmod", b"/d", 0o666) == 0
    assert host.call("open", b"/d/file", 0) == -1
    assert host.libc.errno == Errno.EACCES
    assert (
        host.call("open", b"/x/y", 0) == host.call("open", b"/dev/null/x", 0) == host.call("open", b"/x/", 0) == -1
    )
    assert host.libc.errno == Errno.ENOTDIR


def test_new_files_have_the_mode_that_is_asked_for_without_the_mask(host: Harness) -> None:
    assert host.call("umask", 0o027) == 0o022
    assert host.call("mkdir", b"/made", 0o777) == 0
    assert stat(host, b"/made")[0] == 0o040750
    assert host.call("creat", b"/made/one", 0o666) > 0
    assert stat(host, b"/made/one")[0] == 0o100640
    assert host.call("fopen", b"/made/two", b"w")
    assert stat(host, b"/made/two")[0] == 0o100640
    assert host.call("rename", b"/made", b"/moved") == 0
    assert stat(host, b"/moved/one")[0] == 0o100640
    assert stat(host, b"/moved")[0] == 0o040750
    assert "/made/one" not in host.libc.files


def test_files_cannot_be_given_away(host: Harness) -> None:
    assert host.call("chown", b"/x", 1000, 0xFFFF_FFFF) == 0
    assert host.call("chown", b"/x", 0, 0) == -1
    assert host.libc.errno == Errno.EPERM


def test_folders_are_renamed_with_what_is_below(host: Harness) -> None:
    assert host.call("mkdir", b"/e", 0o755) == 0
    assert host.call("rename", b"/d", b"/e") == 0
    assert set(host.libc.files) == {"/e/file", "/x"}
    assert host.call("rename", b"/e", b"/e/f") == -1
    assert host.libc.errno == Errno.EINVAL
    assert host.call("mkdir", b"/g", 0o755) == host.call("rename", b"/x", b"/g/x") == 0
    assert host.call("rename", b"/e", b"/g") == -1
    assert host.libc.errno == Errno.ENOTEMPTY
    assert host.call("rename", b"/e", b"/g/x") == -1
    assert host.libc.errno == Errno.ENOTDIR


def test_times_follow_what_is_done(host: Harness) -> None:
    assert stat(host, b"/d/file")[1] == (0, 0, 0)
    number = host.call("open", b"/new", RDWR | CREAT)
    made = stat(host, b"/new")[1]
    assert made[0] == made[1] == made[2] >= 1000 * SECOND
    host.call("write", number, host.place(b"text"), 4)
    accessed, modified, changed = stat(host, b"/new")[1]
    assert accessed == made[0]
    assert modified == changed > made[1]
    host.call("pread", number, host.buffer(4), 4, 0)
    assert stat(host, b"/new")[1][0] > modified
    host.call("chmod", b"/new", 0o600)
    assert stat(host, b"/new")[1][1:] > (modified, changed)
    assert stat(host, b"/new")[1][1] == modified


@pytest.mark.parametrize("by", ["utimensat", "futimens"])
def test_times_are_set(host: Harness, by: str) -> None:
    number = host.call("open", b"/x", 0)

    def put(*pairs: tuple[int, int]) -> object:
        times = host.place(b"".join(struct.pack("<qq", *pair) for pair in pairs)) if pairs else 0
        return host.call("futimens", number, times) if by == "futimens" else host.call(by, HERE, b"/x", times, 0)

    assert put((5, 6), (1 << 33, 8)) == 0
    assert stat(host, b"/x")[1][:2] == (5 * SECOND + 6, (1 << 33) * SECOND + 8)
    assert put((0, OMIT), (9, 0)) == 0
    assert stat(host, b"/x")[1][:2] == (5 * SECOND + 6, 9 * SECOND)
    assert put((0, NOW), (0, OMIT)) == 0
    assert stat(host, b"/x")[1][0] >= 1000 * SECOND
    assert put((0, SECOND), (0, 0)) == put((0, -1), (0, 0)) == -1
    assert host.libc.errno == Errno.EINVAL
    assert stat(host, b"/x")[1][1] == 9 * SECOND
    assert put() == 0
    assert stat(host, b"/x")[1][1] >= 1000 * SECOND


def test_times_are_set_by_older_functions(host: Harness) -> None:
    assert host.call("utimes", b"/x", host.place(struct.pack("<4q", 1, 2, 3, 4))) == 0
    assert stat(host, b"/x")[1][:2] == (SECOND + 2000, 3 * SECOND + 4000)
    assert host.call("utime", b"/x", host.place(struct.pack("<2q", 7, 8))) == 0
    assert stat(host, b"/x")[1][:2] == (7 * SECOND, 8 * SECOND)
    assert host.call("utimes", b"/x", host.place(struct.pack("<4q", 1, 1_000_000, 3, 4))) == -1
    assert host.call("utime", b"/none", 0) == -1
    assert host.libc.errno == Errno.ENOENT


def test_a_stream_for_appending_is_at_the_end_after_it_was_opened_and_written(host: Harness) -> None:
    stream = host.call("fopen", b"/x", b"a")
    assert host.call("ftell", stream) == 3
    host.call("fputs", b"de", stream)
    assert host.call("ftell", stream) == 5


def _device(host: Harness, call: str, what: bytes | int) -> tuple[int, int]:
    """(inode, st_rdev), from x86-64's struct stat; statx has the same."""
    buffer = host.buffer(256)
    assert host.call(call, what, buffer) == 0
    block = host.memory.read(buffer, 144)
    inode, number = *struct.unpack_from("<Q", block, 8), *struct.unpack_from("<Q", block, 40)
    if call == "stat":
        assert host.call("statx", HERE, what, 0, 0x7FF, buffer) == 0
        extended = host.memory.read(buffer, 256)
        assert struct.unpack_from("<4I", extended, 0x80) == (number >> 8, number & 255, 0, 1)
    return inode, number


def test_devices_have_linux_numbers_and_standard_output_is_none_of_them(host: Harness) -> None:
    """GNU cmp and grep write nothing when st_rdev says that standard output is /dev/null."""
    numbers = {"null": 0x103, "zero": 0x105, "full": 0x107, "random": 0x108, "urandom": 0x109}
    for name, number in numbers.items():
        path = f"/dev/{name}".encode()
        found = _device(host, "stat", path)
        assert found[1] == number
        assert _device(host, "fstat", host.call("open", path, 0)) == found
    for standard in (0, 1, 2):
        assert _device(host, "fstat", standard)[1] not in (0, *numbers.values())
    assert _device(host, "stat", b"/x")[1] == 0

"""Temporary files, freopen, users, paths relative to a directory, and functions that always fail."""

from __future__ import annotations

from typing import Any

import pytest

from emu.libc.descriptors import O_CREAT, O_NONBLOCK, O_RDWR
from emu.libc.errno import Errno
from emu.libc.files import status_bytes
from emu.libc.filesystem import file_system
from tests.libc.fake import Harness, Values

_AT_FDCWD = -100


def test_temporary_files_have_names_of_their_own() -> None:
    host = Harness(files={})
    names = []
    for _ in range(3):
        template = host.text(b"/tmp/abXXXXXX")
        number = host.call("mkstemp", template)
        assert number > 2
        names.append(host.string(template))
        assert host.call("write", number, b"text", 4) == 4
    assert len(set(names)) == 3
    assert all(host.libc.files[name.decode()] == b"text" for name in names)
    folder = host.text(b"/tmp/dXXXXXX")
    assert host.call("mkdtemp", folder) == folder
    assert file_system(host.libc).is_directory(host.string(folder).decode())
    assert host.call("mkstemp", host.text(b"/tmp/short")) == -1
    assert host.libc.errno == Errno.EINVAL
    assert host.call("mkstemps", host.text(b"/tmp/XXXXXX.txt"), 4) > 2
    assert host.string(host.call("tmpnam", 0)) != host.string(host.call("tmpnam", 0))
    stream = host.call("tmpfile")
    assert host.call("fputs", b"gone", stream) >= 0
    host.call("rewind", stream)
    assert host.call("fgetc", stream) == ord("g")


def test_freopen_keeps_the_stream() -> None:
    host = Harness(files={"/a": b"first", "/b": b"second"})
    stream = host.call("fopen", b"/a", b"r")
    assert host.call("fgetc", stream) == ord("f")
    assert host.call("freopen", b"/b", b"r", stream) == stream
    assert host.call("fgetc", stream) == ord("s")
    out = host.libc.data_symbol("stdout")
    assert out is not None
    assert host.call("freopen", b"/log", b"w", host.libc.pointer(out)) != 0
    host.call("puts", b"to a file")
    assert bytes(host.libc.files["/log"]) == b"to a file\n"
    assert host.call("freopen", b"/none", b"r", stream) == 0
    assert host.libc.errno == Errno.ENOENT


@pytest.mark.parametrize("arch", ["x86_64", "i386"])
def test_users_come_from_the_guests_files(arch: str) -> None:
    passwd, groups = b"ann:x:7:8:Ann,,:/home/ann:/bin/zsh\n", b"g:x:8:ann,bob\n"
    host = Harness(arch, files={"/etc/passwd": passwd, "/etc/group": groups})
    word = host.libc.word
    found = host.call("getpwnam", b"ann")
    assert host.string(host.libc.pointer(found)) == b"ann"
    assert host.memory.read(found + 2 * word, 8) == bytes([7, 0, 0, 0, 8, 0, 0, 0])
    assert host.string(host.libc.pointer(found + 2 * word + 8 + word)) == b"/home/ann"
    assert host.call("getpwuid", 7) == found
    assert host.call("getpwnam", b"none") == 0
    group = host.call("getgrgid", 8)
    members = host.libc.pointer(group + (3 * word if word == 8 else 12))
    assert [host.string(host.libc.pointer(members + n * word)) for n in range(2)] == [b"ann", b"bob"]
    assert host.libc.pointer(members + 2 * word) == 0
    place, buffer, result = host.buffer(64), host.buffer(200), host.buffer(8)
    assert host.call("getpwnam_r", b"ann", place, buffer, 200, result) == 0
    assert host.libc.pointer(result) == place
    assert host.string(host.libc.pointer(place)) == b"ann"
    assert host.call("getpwnam_r", b"ann", place, buffer, 20, result) == Errno.ERANGE


def test_paths_relative_to_a_directory() -> None:
    host = Harness(files={"/d/e": b"12345"})
    folder = host.call("open", b"/d", 0)
    assert folder > 2
    there, again = host.buffer(256), host.buffer(256)
    assert host.call("fstatat", folder, b"e", there, 0) == 0
    assert host.call("stat", b"/d/e", again) == 0
    assert host.memory.read(there, 144) == host.memory.read(again, 144)
    assert host.memory.read(there, 144) == status_bytes(host.libc.isa, file_system(host.libc).status(b"/d/e"), "")
    assert host.call("statx", folder, b"e", 0, 0x7FF, there) == 0
    assert host.memory.read_uint(there + 40, 8) == 5
    assert host.call("statx", folder, b"none", 0, 0x7FF, there) == -1
    assert host.call("faccessat", folder, b"none", 0, 0) == -1
    assert host.call("fchdir", folder) == 0
    assert host.string(host.call("getcwd", 0, 0)) == b"/d"
    assert host.call("renameat2", folder, b"e", _AT_FDCWD, b"/f", 1) == 0
    assert host.libc.files["/f"] == b"12345"
    number = host.call("open", b"/f", O_RDWR | O_CREAT)
    assert host.call("posix_fallocate", number, 0, 9) == 0
    assert host.libc.files["/f"] == b"12345" + bytes(4)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (("socket", 2, 1, 0), Errno.EAFNOSUPPORT),
        (("waitid", 0, 0, 0, 0), Errno.ECHILD),
        (("execv", b"/bin/sh", 0), Errno.ENOSYS),
        (("tcgetattr", 0, 0), Errno.ENOTTY),
        (("setuid", 0), Errno.EPERM),
        (("getxattr", b"/", b"user.x", 0, 0), Errno.EOPNOTSUPP),
    ],
)
def test_what_is_not_there_fails_as_on_linux(call: tuple[Any, ...], error: Errno) -> None:
    host = Harness(files={})
    assert host.call(*call) == -1
    assert host.libc.errno == error


def test_a_process_may_keep_its_identities(host: Harness) -> None:
    own, unchanged = host.call("getuid"), 0xFFFF_FFFF
    for name in ("setuid", "setegid"):
        assert host.call(name, own) == 0
        assert host.call(name, unchanged) == -1
        assert host.libc.errno == Errno.EINVAL
    assert host.call("setreuid", unchanged, own) == host.call("setresgid", own, unchanged, own) == 0
    assert host.call("setreuid", own, 0) == -1
    assert host.libc.errno == Errno.EPERM


def test_ioctl_tells_what_can_be_read(host: Harness) -> None:
    count, ends = host.buffer(4), host.buffer(8)
    number = host.call("open", b"/f", O_RDWR | O_CREAT, Values(0o600))
    assert host.call("write", number, host.place(b"hello"), 5) == 5
    assert host.call("lseek", number, 2, 0) == 2
    assert host.call("pipe", ends) == 0
    reader, writer = host.memory.read_uint(ends, 4), host.memory.read_uint(ends + 4, 4)
    assert host.call("write", writer, host.place(b"abcd"), 4) == 4
    for descriptor, waiting in ((number, 3), (reader, 4)):
        assert host.call("ioctl", descriptor, 0x541B, Values(count)) == 0
        assert host.memory.read_uint(count, 4) == waiting
    for descriptor, error in ((number, Errno.ENOTTY), (99, Errno.EBADF)):
        assert host.call("ioctl", descriptor, 0x5413, Values(count)) == -1
        assert host.libc.errno == error
        assert host.call("isatty", descriptor) == 0
        assert host.libc.errno == error


def test_ioctl_sets_the_flags_that_fcntl_reads(host: Harness) -> None:
    number, value = host.call("open", b"/f", O_RDWR | O_CREAT, Values(0o600)), host.buffer(4)
    for wanted in (1, 0):
        host.memory.write_uint(value, 4, wanted)
        assert host.call("ioctl", number, 0x5421, Values(value)) == 0
        assert host.call("fcntl", number, 3, Values()) == O_RDWR | (O_NONBLOCK if wanted else 0)
        assert host.call("ioctl", number, 0x5451 if wanted else 0x5450, Values(0)) == 0
        assert host.call("fcntl", number, 1, Values()) == wanted


def test_the_terminal_has_a_name_without_being_there(host: Harness) -> None:
    buffer = host.buffer(16)
    assert host.string(host.call("ctermid", 0)) == b"/dev/tty"
    assert host.call("ctermid", buffer) == buffer
    assert host.string(buffer) == b"/dev/tty"

"""Directories, calls relative to them, and calls on several buffers: of the in-memory file system."""

from __future__ import annotations

import pytest

from emu import Machine
from emu.libc.errno import Errno
from tests.fixtures import arch_of
from tests.libc.fake import Harness
from tests.objects.build import TARGETS, compiled, linked

AT_FDCWD = -100
_WALK = """
typedef __SIZE_TYPE__ size_t;
/* glibc's struct dirent: riscv32, which has no other, has 64-bit fields; so has dirent64 everywhere. */
#if defined __riscv && __riscv_xlen == 32
typedef unsigned long long ino; typedef long long off;
#else
typedef unsigned long ino; typedef long off;
#endif
struct dirent { ino d_ino; off d_off; unsigned short d_reclen; unsigned char d_type; char d_name[256]; };
struct dirent64 {
    unsigned long long d_ino; long long d_off; unsigned short d_reclen; unsigned char d_type; char d_name[256];
};
void *opendir(const char *); int closedir(void *);
struct dirent *readdir(void *); struct dirent64 *readdir64(void *);
char names[400];
int at;
static void note(int type, const char *name)
{
    names[at++] = '0' + type;
    while (*name) names[at++] = *name++;
    names[at++] = ' ';
}
int list(const char *path, int wide)
{
    void *directory = opendir(path);
    at = 0;
    if (!directory) return -1;
    if (wide)
        for (struct dirent64 *entry; (entry = readdir64(directory));) note(entry->d_type, entry->d_name);
    else
        for (struct dirent *entry; (entry = readdir(directory));) note(entry->d_type, entry->d_name);
    names[at] = 0;
    return closedir(directory);
}
"""


@pytest.mark.parametrize("target", TARGETS)
def test_c_code_lists_a_directory(target: str) -> None:
    library = linked(target, [compiled(target, _WALK, "-fPIC")])
    files: dict[str, bytes | bytearray] = {"/d/one": b"1", "/d/two": b"", "/d/sub/deep": b"", "/other": b""}
    with Machine(arch_of(target), files=files) as machine:
        loaded = machine.load(library)
        for wide in (0, 1):
            assert loaded.function("list", "int(const char *, int)")("/d", wide) == 0
            text = machine.memory.read_cstring(loaded.symbols["names"].address).decode()
            assert text == "4. 4.. 8one 4sub 8two "
        assert loaded.function("list", "int(const char *, int)")("/other", 0) == -1
        assert machine.libc.errno == Errno.ENOTDIR
        assert loaded.function("list", "int(const char *, int)")("/none", 0) == -1
        assert machine.libc.errno == Errno.ENOENT
        assert machine.heap.live_blocks == 0


@pytest.fixture
def host() -> Harness:
    return Harness(files={"/d/file": bytearray(b"contents"), "/x": bytearray(b"abc")})


def test_what_is_relative_to_a_directory(host: Harness) -> None:
    directory = host.call("open", b"/d", 0)
    number = host.call("openat", directory, b"file", 0)
    assert number > directory
    assert host.call("openat", AT_FDCWD, b"/x", 0) > number
    assert host.call("openat", number, b"file", 0) == -1
    assert host.libc.errno == Errno.ENOTDIR
    assert host.call("openat", 77, b"file", 0) == -1
    assert host.libc.errno == Errno.EBADF
    assert host.call("unlinkat", AT_FDCWD, b"/x", 0) == 0
    assert "/x" not in host.libc.files
    assert host.call("utimensat", AT_FDCWD, b"/x", 0, 0) == -1
    assert host.libc.errno == Errno.ENOENT
    assert host.call("fchmodat", directory, b"file", 0o644, 0) == 0
    assert host.call("unlinkat", directory, b"file", 0) == 0
    assert "/d/file" not in host.libc.files


def test_a_directory_s_descriptor_and_its_start(host: Harness) -> None:
    number = host.call("open", b"/d", 0)
    directory = host.call("fdopendir", number)
    assert host.call("dirfd", directory) == number
    entries = [host.call("readdir", directory) for _ in range(4)]
    assert entries[-1] == 0
    assert all(entries[:-1])
    host.call("rewinddir", directory)
    assert host.call("readdir", directory)
    assert host.call("closedir", directory) == 0
    assert host.call("closedir", directory) == -1
    assert host.call("fdopendir", host.call("open", b"/x", 0)) == 0
    assert host.libc.errno == Errno.ENOTDIR


def test_there_are_no_links(host: Harness) -> None:
    assert host.call("link", b"/x", b"/y") == host.call("symlink", b"/x", b"/y") == -1
    assert host.libc.errno == Errno.EPERM


def test_truncating_by_name(host: Harness) -> None:
    assert host.call("truncate", b"/d/file", 3) == 0
    assert host.libc.files["/d/file"] == b"con"
    assert host.call("truncate", b"/none", 3) == -1
    assert host.libc.errno == Errno.ENOENT


def pieces(host: Harness, *sizes: int, text: bytes = b"") -> tuple[int, int, int]:
    """(address of struct iovec, their number, address of the bytes that they share)."""
    data, vectors = host.place(text.ljust(sum(sizes), b"?")), host.buffer(16 * len(sizes))
    for index, size in enumerate(sizes):
        host.libc.set_pointer(vectors + 16 * index, data + sum(sizes[:index]))
        host.libc.set_pointer(vectors + 16 * index + 8, size)
    return vectors, len(sizes), data


def test_several_pieces_are_one_write(host: Harness) -> None:
    number = host.call("open", b"/out", 0o101)
    vectors, count, _ = pieces(host, 5, 3, text=b"one, two")
    assert host.call("writev", number, vectors, count) == 8
    assert host.libc.files["/out"] == b"one, two"
    assert host.call("pwritev", number, vectors, 1, 6) == host.call("pwritev64", number, vectors, 1, 6) == 5
    assert host.call("write", number, b"!", 1) == 1, "behind what writev wrote"
    assert host.libc.files["/out"] == b"one, ton!, "


def test_a_read_fills_piece_after_piece(host: Harness) -> None:
    number = host.call("open", b"/d/file", 0)
    vectors, count, data = pieces(host, 2, 4, 9)
    assert host.call("preadv", number, vectors, count, 3) == host.call("preadv64", number, vectors, count, 3) == 5
    assert host.memory.read(data, 6) == b"tents?"
    assert host.call("readv", number, vectors, 2) == 6
    assert host.memory.read(data, 6) == b"conten"
    assert host.call("readv", number, vectors, 2) == 2
    assert host.call("preadv", number, vectors, count, -1) == host.call("readv", 99, vectors, count) == -1
    assert host.libc.errno == Errno.EBADF


def test_a_file_is_sent_from_an_offset(host: Harness) -> None:
    source, target = host.call("open", b"/d/file", 0), host.call("open", b"/out", 0o101)
    offset = host.place((3).to_bytes(8, "little"))
    assert host.call("sendfile", target, source, offset, 100) == 5
    assert host.libc.files["/out"] == b"tents"
    assert host.memory.read_uint(offset, 8) == 8
    assert host.call("sendfile", target, source, 0, 4) == 4, "the descriptor's own position was left alone"
    assert host.libc.files["/out"] == b"tentscont"


def test_files_are_ready_and_closed_ones_invalid(host: Harness) -> None:
    rows = b"".join(n.to_bytes(4, "little", signed=True) + b"\1\0\0\0" for n in (0, 900, -1))
    place = host.place(rows)
    assert host.call("poll", place, 3, 0) == 2
    assert [host.memory.read_uint(place + 8 * n + 6, 2) for n in range(3)] == [1, 0x20, 0]

"""Shared mappings of files: written back at msync, munmap and the end; the same as the file for read and write."""

from __future__ import annotations

import pytest

from emu import Machine
from emu.errors import GuestAbort, GuestExit
from emu.libc.errno import Errno
from tests.libc.fake import Values

_READ_WRITE, _SHARED, _PRIVATE = 3, 1, 2


class _Host:
    """Hosted functions called on a machine's memory."""

    def __init__(self) -> None:
        self.machine = Machine("x86_64", files={"/f": b"a" * 8000})
        self.libc, self.memory = self.machine.libc, self.machine.memory

    def call(self, name: str, *arguments: object) -> int:
        function = self.libc.function(name)
        assert function is not None
        result = function.call(*arguments)
        assert isinstance(result, int)
        return result


def _mapped(flags: int, mode: int = 2) -> tuple[_Host, int, int]:
    host = _Host()
    path = host.machine.heap.malloc(8)
    host.memory.write(path, b"/f\0")
    number = host.call("open", path, mode, Values())
    return host, host.call("mmap", 0, 8000, _READ_WRITE, flags, number, 0), number


def test_msync_and_munmap_write_back_their_range() -> None:
    host, at, _ = _mapped(_SHARED)
    host.memory.write(at + 10, b"first")
    host.memory.write(at + 5000, b"second")
    assert bytes(host.libc.files["/f"]) == b"a" * 8000
    assert host.call("msync", at, 4096, 4) == 0
    assert bytes(host.libc.files["/f"][10:15]) == b"first"
    assert bytes(host.libc.files["/f"][5000:5006]) == b"aaaaaa"
    assert host.call("munmap", at + 4096, 4096) == 0
    assert bytes(host.libc.files["/f"][5000:5006]) == b"second"
    assert len(host.libc.files["/f"]) == 8000
    assert host.call("msync", at + 1, 10, 4) == -1
    assert host.libc.errno == Errno.EINVAL


def test_exit_writes_back() -> None:
    host, at, number = _mapped(_SHARED)
    host.memory.write(at, b"last")
    host.call("close", number)
    with pytest.raises(GuestExit):
        host.call("exit", 0)
    assert bytes(host.libc.files["/f"][:5]) == b"lasta"


def test_private_mappings_stay_private_and_read_only_files_refuse() -> None:
    host, at, _ = _mapped(_PRIVATE, 0)
    host.memory.write(at, b"mine")
    assert host.call("munmap", at, 8000) == 0
    assert bytes(host.libc.files["/f"][:4]) == b"aaaa"
    host, at, _ = _mapped(_SHARED, 0)
    assert at == host.libc.arch.address_mask
    assert host.libc.errno == Errno.EACCES


def test_the_file_and_its_mapping_are_the_same_for_read_and_write() -> None:
    host, at, number = _mapped(_SHARED)
    buffer = host.machine.heap.malloc(16)
    host.memory.write(at + 100, b"mapped")
    assert host.call("pread64", number, buffer, 6, 100) == 6
    assert host.memory.read(buffer, 6) == b"mapped"
    host.memory.write(buffer, b"file")
    assert host.call("pwrite64", number, buffer, 4, 102) == 4
    assert host.memory.read(at + 100, 7) == b"mafilea"
    host.memory.write(at, b"x")
    assert host.call("msync", at, 8000, 4) == 0
    assert bytes(host.libc.files["/f"][:1] + host.libc.files["/f"][100:106]) == b"xmafile"
    assert host.call("ftruncate", number, 50) == host.call("ftruncate", number, 8000) == 0
    assert host.memory.read(at, 1) == b"x"
    assert host.memory.read(at + 100, 6) == bytes(6), "cut off, and grown again"


def test_a_grown_mapping_stays_shared() -> None:
    host, at, _ = _mapped(_SHARED)
    host.memory.write(at, b"early")
    moved = host.call("mremap", at, 8192, 20000, 1, Values())
    assert moved not in (at, host.libc.arch.address_mask)
    host.memory.write(moved + 6, b"late")
    assert host.call("munmap", moved, 20000) == 0
    assert bytes(host.libc.files["/f"][:10]) == b"earlyalate"
    assert len(host.libc.files["/f"]) == 8000
    assert host.call("mremap", moved, 0, 4096, 1, Values()) == host.libc.arch.address_mask, "a second mapping"


@pytest.mark.parametrize("second", [_READ_WRITE, 1])
def test_two_mappings_of_the_same_bytes_are_refused_where_one_is_writable(second: int) -> None:
    host, at, number = _mapped(_SHARED)
    with pytest.raises(GuestAbort, match="two shared mappings of '/f'"):
        host.call("mmap", 0, 4096, second, _SHARED, number, 4096)
    assert host.call("munmap", at, 8192) == 0
    pages = [host.call("mmap", 0, 4096, 1, _SHARED, number, 0) for _ in range(2)]
    with pytest.raises(GuestAbort, match="two shared mappings"):
        host.call("mprotect", pages[0], 4096, _READ_WRITE)


def test_a_shared_mapping_of_a_file_opened_for_reading_stays_unwritable() -> None:
    host, _, number = _mapped(_PRIVATE, mode=0)
    at = host.call("mmap", 0, 4096, 1, _SHARED, number, 0)
    assert host.call("mprotect", at, 4096, _READ_WRITE) == -1
    assert host.libc.errno == Errno.EACCES


def test_proc_self_maps_has_the_mappings_and_their_permissions() -> None:
    host = _Host()
    at = host.call("mmap", 0, 3 * 4096, _READ_WRITE, 0x22, -1, 0)
    assert host.call("mprotect", at + 4096, 4096, 1) == 0
    path, buffer = host.machine.heap.malloc(32), host.machine.heap.malloc(8192)
    host.memory.write(path, b"/proc/self/maps\0")
    assert host.call("open", path, 2, Values()) == -1, "it cannot be written"
    number = host.call("open", path, 0, Values())
    lines = host.memory.read(buffer, host.call("read", number, buffer, 8192)).decode().splitlines()
    pages = (("rw-p", 0), ("r--p", 4096), ("rw-p", 8192))
    wanted = [f"{at + offset:08x}-{at + offset + 4096:08x} {letters}" for letters, offset in pages]
    assert [line.split(" 0")[0] for line in lines if line.endswith("[mmap]")] == wanted
    assert any(line.endswith("[stack]") for line in lines)


def test_proc_cpuinfo_has_the_only_processor() -> None:
    host = _Host()
    path, buffer = host.machine.heap.malloc(32), host.machine.heap.malloc(64)
    host.memory.write(path, b"/proc/cpuinfo\0")
    number = host.call("open", path, 0, Values())
    assert host.memory.read(buffer, host.call("read", number, buffer, 64)) == b"processor\t: 0\n\n"

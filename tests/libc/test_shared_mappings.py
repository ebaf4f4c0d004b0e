"""Writable shared mappings of files are written back: at msync, munmap and the program's end."""

from __future__ import annotations

import pytest

from emu import Machine
from emu.errors import GuestExit
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
        result = function.call(*arguments)  # type: ignore[arg-type]
        assert isinstance(result, int)
        return result


def _mapped(flags: int, mode: int = 2) -> tuple[_Host, int, int]:
    host = _Host()
    path = host.machine.heap.malloc(8)
    host.memory.write(path, b"/f\0")
    number = host.call("open", path, mode, Values())
    return host, host.call("mmap", 0, 8000, _READ_WRITE, flags, number, 0), number


def test_msync_and_munmap_write_back_their_range():
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


def test_exit_writes_back():
    host, at, number = _mapped(_SHARED)
    host.memory.write(at, b"last")
    host.call("close", number)
    with pytest.raises(GuestExit):
        host.call("exit", 0)
    assert bytes(host.libc.files["/f"][:5]) == b"lasta"


def test_private_mappings_stay_private_and_read_only_files_refuse():
    host, at, _ = _mapped(_PRIVATE, 0)
    host.memory.write(at, b"mine")
    assert host.call("munmap", at, 8000) == 0
    assert bytes(host.libc.files["/f"][:4]) == b"aaaa"
    host, at, _ = _mapped(_SHARED, 0)
    assert at == host.libc.arch.address_mask
    assert host.libc.errno == Errno.EACCES

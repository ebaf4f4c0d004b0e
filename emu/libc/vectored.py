"""Reads and writes of several buffers: readv, writev and the rest of <sys/uio.h>."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from emu.libc import filesystem as fs
from emu.libc.descriptors import Descriptor
from emu.libc.errno import Errno
from emu.libc.files import attempt, read_into, transfer_vectors, write_from
from emu.libc.table import export, register

if TYPE_CHECKING:
    from emu.libc.library import Libc
    from emu.memory.guest_view import GuestView

#: (memory, descriptor, guest address, bytes, offset of the file) -> bytes moved.
Transfer: TypeAlias = "Callable[[GuestView, Descriptor, int, int, int | None], int]"


def _transfer(move: Transfer, libc: Libc, number: int, vectors: int, count: int, at: int | None = None) -> int:
    """Move `count` struct iovec by `move`, at the offset `at` of the file or at the descriptor's position."""

    def operation() -> int:
        if at is not None and at < 0:
            raise fs.FileError(Errno.EINVAL)
        descriptor, position = fs.file_system(libc).get(number), at

        def piece(address: int, size: int) -> int:
            nonlocal position
            moved = move(libc.memory, descriptor, address, size, position)
            position = None if position is None else position + moved
            return moved

        return transfer_vectors(libc.memory, vectors, count, libc.word, piece)

    return attempt(libc, operation)


@export("ssize_t readv(int number, const void *vectors, int count)")
def readv(libc: Libc, number: int, vectors: int, count: int) -> int:
    return _transfer(read_into, libc, number, vectors, count)


@export("ssize_t writev(int number, const void *vectors, int count)")
def writev(libc: Libc, number: int, vectors: int, count: int) -> int:
    return _transfer(write_from, libc, number, vectors, count)


def _at_an_offset(move: Transfer) -> Callable[..., int]:
    return lambda libc, number, vectors, count, at: _transfer(move, libc, number, vectors, count, at)


def _with_flags(move: Transfer) -> Callable[..., int]:
    """An offset of -1 is the descriptor's; no flag (RWF_*) is supported (Linux)."""

    def call(libc: Libc, number: int, vectors: int, count: int, at: int, flags: int) -> int:
        if flags:
            return libc.fail(Errno.EOPNOTSUPP)
        return _transfer(move, libc, number, vectors, count, None if at == -1 else at)

    return call


for _name, _move in (("preadv", read_into), ("pwritev", write_from)):
    for _suffix in ("", "64"):
        register(
            f"{_name}{_suffix}",
            f"ssize_t {_name}{_suffix}(int number, const void *vectors, int count, off{_suffix}_t at)",
            _at_an_offset(_move),
        )
        register(
            f"{_name}{_suffix}v2",
            f"ssize_t {_name}{_suffix}v2(int number, void *vectors, int count, off{_suffix}_t at, int flags)",
            _with_flags(_move),
        )

"""Setting the times of files: utimensat and its older relatives.

Where time_t has 32 bits (i386, Arm), a second set of functions with names ending in 64 uses a 64-bit time_t.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.libc import filesystem as fs
from emu.libc.at_calls import AT_FDCWD
from emu.libc.errno import Errno
from emu.libc.file_node import Node
from emu.libc.files import attempt
from emu.libc.permissions import node_from, open_node
from emu.libc.table import register

if TYPE_CHECKING:
    from emu.libc.library import Libc
    from emu.memory.guest_view import GuestView

UTIME_NOW, UTIME_OMIT = 0x3FFF_FFFF, 0x3FFF_FFFE
_SECOND = 1_000_000_000
#: A struct: given memory, the size of time_t and of a word, and an address, two pairs of seconds and nanoseconds.
_Reader = Callable[["GuestView", int, int, int], list[tuple[int, int]]]


def _signed(memory: GuestView, address: int, size: int) -> int:
    return int.from_bytes(memory.read(address, size), "little", signed=True)


def read_timespecs(memory: GuestView, size: int, word: int, address: int) -> list[tuple[int, int]]:
    """struct timespec[2]; tv_nsec is a long, which is shorter than its slot where only time_t has 64 bits."""
    places = (address, address + 2 * size)
    return [(_signed(memory, at, size), _signed(memory, at + size, min(size, word))) for at in places]


def _read_timevals(memory: GuestView, size: int, word: int, address: int) -> list[tuple[int, int]]:
    """struct timeval[2]: microseconds, 64 bits wide beside a 64-bit time_t."""
    found = []
    for at in (address, address + 2 * size):
        microseconds = _signed(memory, at + size, size)
        if not 0 <= microseconds < 1_000_000:
            raise fs.FileError(Errno.EINVAL)
        found.append((_signed(memory, at, size), 1000 * microseconds))
    return found


def _read_utimbuf(memory: GuestView, size: int, word: int, address: int) -> list[tuple[int, int]]:
    return [(_signed(memory, at, size), 0) for at in (address, address + size)]


def set_times(files: fs.FileSystem, node: Node, times: list[tuple[int, int]] | None) -> None:
    """Set the times of access and modification to pairs of seconds and nanoseconds, None: now.

    Raises FileError: EINVAL for a number of nanoseconds that is neither one nor UTIME_NOW or UTIME_OMIT, EACCES.
    """
    now = files.nodes.now()
    pairs = times or [(0, UTIME_NOW)] * 2
    if any(not 0 <= rest < _SECOND and rest not in (UTIME_NOW, UTIME_OMIT) for _, rest in pairs):
        raise fs.FileError(Errno.EINVAL)
    before = node.accessed, node.modified
    node.accessed, node.modified = (
        now if rest == UTIME_NOW else old if rest == UTIME_OMIT else seconds * _SECOND + rest
        for (seconds, rest), old in zip(pairs, before, strict=True)
    )
    if any(rest != UTIME_OMIT for _, rest in pairs):
        node.changed = now


def _set(libc: Libc, find: Callable[[], Node], read: _Reader, size: int, times: int) -> int:
    def operation() -> None:
        pairs = read(libc.memory, size, libc.word, times) if times else None
        set_times(fs.file_system(libc), find(), pairs)

    return attempt(libc, operation)


def _by_path(libc: Libc, path: int, times: int, *, read: _Reader, size: int | None) -> int:
    return _set(libc, lambda: node_from(libc, AT_FDCWD, path), read, size or libc.isa.data.time_size, times)


def _by_number(libc: Libc, number: int, times: int, *, read: _Reader, size: int | None) -> int:
    files = fs.file_system(libc)
    return _set(libc, lambda: open_node(files, number), read, size or libc.isa.data.time_size, times)


def _at(libc: Libc, directory: int, path: int, times: int, *, size: int | None) -> int:
    if not path:  # glibc's futimens
        return _by_number(libc, directory, times, read=read_timespecs, size=size)
    size = size or libc.isa.data.time_size
    return _set(libc, lambda: node_from(libc, directory, path), read_timespecs, size, times)


def _register() -> None:
    for prefix, suffix, size in (("", "", None), ("__", "64", 8)):
        for name, parameter, call, read in (
            ("utime", "const char *path", _by_path, _read_utimbuf),
            ("utimes", "const char *path", _by_path, _read_timevals),
            ("lutimes", "const char *path", _by_path, _read_timevals),
            ("futimes", "int number", _by_number, _read_timevals),
            ("futimens", "int number", _by_number, read_timespecs),
        ):

            def one(libc: Libc, what: int, times: int, *, call=call, read=read, size=size) -> int:  # type: ignore[no-untyped-def]
                return int(call(libc, what, times, read=read, size=size))

            full = f"{prefix}{name}{suffix}"
            register(full, f"int {full}({parameter}, const void *times)", one)

        def at(libc: Libc, directory: int, path: int, times: int, flags: int, *, size=size) -> int:  # type: ignore[no-untyped-def]
            return _at(libc, directory, path, times, size=size)

        def older_at(libc: Libc, directory: int, path: int, times: int, *, size=size) -> int:  # type: ignore[no-untyped-def]
            if not path:
                return _by_number(libc, directory, times, read=_read_timevals, size=size)
            width = size or libc.isa.data.time_size
            return _set(libc, lambda: node_from(libc, directory, path), _read_timevals, width, times)

        full = f"{prefix}futimesat{suffix}"
        register(full, f"int {full}(int directory, const char *path, const void *times)", older_at)
        full = f"{prefix}utimensat{suffix}"
        register(full, f"int {full}(int directory, const char *path, const void *times, int flags)", at)


_register()

"""poll and select, for the hosted C library and the kernel. What is not ready will not become so, since nothing
else runs: a wait moves the guest's clock to its limit, and one without a limit or a timer is an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.libc import filesystem as fs
from emu.libc.errno import Errno
from emu.libc.files import attempt
from emu.libc.interval_timer import SECOND
from emu.libc.memory import overflow_abort
from emu.libc.signal_delivery import Signals
from emu.libc.table import export
from emu.libc.timed import register_timed, time_pair

if TYPE_CHECKING:
    from emu.libc.library import Libc

_POLLIN, _POLLOUT, _POLLERR, _POLLHUP = 1, 4, 8, 16
_POLLRDNORM, _POLLWRNORM = 64, 256
_FD_SETSIZE = 1024


def duration(libc: Libc, at: int, size: int, unit: int = 1) -> int | None:
    """The time in a struct timespec, or with `unit` 1000 a struct timeval, in nanoseconds; None at NULL. Raises
    FileError EINVAL.
    """
    if not at:
        return None
    seconds, rest = time_pair(libc, at, size)
    if seconds < 0 or not 0 <= rest * unit < SECOND:
        raise fs.FileError(Errno.EINVAL)
    return seconds * SECOND + rest * unit


def mask_at(libc: Libc, at: int) -> int | None:
    """The signal mask at an address; None at NULL."""
    return libc.memory.read_uint(at, 8) if at else None


def poll_files(libc: Libc, descriptors: int, count: int, limit: int | None, mask: int | None = None) -> int:
    """poll with a limit in nanoseconds. struct pollfd: fd, events, revents. Raises FileError: EINVAL, EINTR."""
    if count > fs.file_system(libc).most_descriptors:
        raise fs.FileError(Errno.EINVAL)
    ready = 0
    for at in range(descriptors, descriptors + 8 * count, 8):
        number = int.from_bytes(libc.memory.read(at, 4), "little", signed=True)
        asked = libc.memory.read_uint(at + 4, 2)
        wanted = (_POLLIN if asked & (_POLLIN | _POLLRDNORM) else 0) | (
            _POLLOUT if asked & (_POLLOUT | _POLLWRNORM) else 0
        )
        found = 0 if number < 0 else fs.file_system(libc).ready(number, wanted)
        found |= (_POLLRDNORM if found & _POLLIN else 0) | (_POLLWRNORM if found & _POLLOUT else 0)
        found &= asked | ~(_POLLIN | _POLLRDNORM | _POLLOUT | _POLLWRNORM)
        libc.memory.write_uint(at + 6, 2, found)
        ready += bool(found)
    if not ready:
        libc.state(Signals).pause(f"for {count} descriptors, of which none is ready", mask, limit)
    return ready


def select_files(
    libc: Libc, count: int, sets: tuple[int, int, int], limit: int | None, mask: int | None = None
) -> int:
    """select with a limit in nanoseconds. The sets, to read, to write and for exceptions, are arrays of words
    (glibc, __fd_mask), of which `count` bits are looked at and written. Raises FileError: EINVAL, EBADF, EINTR.
    """
    if not 0 <= count <= _FD_SETSIZE:
        raise fs.FileError(Errno.EINVAL)
    size = (count + libc.arch.bits - 1) // libc.arch.bits * libc.word
    files, total, results = fs.file_system(libc), 0, []
    for place, event in zip(sets, (_POLLIN, _POLLOUT, 0), strict=True):
        wanted = libc.memory.read_uint(place, size) & (1 << count) - 1 if place and size else 0
        found = 0
        for number in (n for n in range(count) if wanted >> n & 1):
            if number not in files.descriptors:
                raise fs.FileError(Errno.EBADF)
            if event and files.ready(number, event) & (event | _POLLERR | _POLLHUP):
                found |= 1 << number
        results.append((place, found))
        total += found.bit_count()
    if not total:
        libc.state(Signals).pause("by select for descriptors of which none is ready", mask, limit)
    for place, found in results:
        if place and size:
            libc.memory.write_uint(place, size, found)
    return total


def milliseconds_of(limit: int) -> int | None:
    """poll's limit in nanoseconds; None for a negative one."""
    return None if limit < 0 else limit * 1_000_000


@export("int poll(void *descriptors, unsigned long count, int milliseconds)", alias=("__poll",))
def poll(libc: Libc, descriptors: int, count: int, milliseconds: int) -> int:
    return attempt(libc, lambda: poll_files(libc, descriptors, count, milliseconds_of(milliseconds)))


@export("int __poll_chk(void *descriptors, unsigned long count, int milliseconds, size_t room)")
def poll_chk(libc: Libc, descriptors: int, count: int, milliseconds: int, room: int) -> int:
    if 8 * count > room:
        raise overflow_abort(8 * count, room, "poll")
    return poll(libc, descriptors, count, milliseconds)


def _ppoll(libc: Libc, size: int, descriptors: int, count: int, time: int, mask: int) -> int:
    def operation() -> int:
        return poll_files(libc, descriptors, count, duration(libc, time, size), mask_at(libc, mask))

    return attempt(libc, operation)


def _ppoll_chk(libc: Libc, size: int, descriptors: int, count: int, time: int, mask: int, room: int) -> int:
    if 8 * count > room:
        raise overflow_abort(8 * count, room, "ppoll")
    return _ppoll(libc, size, descriptors, count, time, mask)


def _pselect(
    libc: Libc, size: int, count: int, a: int, b: int, c: int, time: int, mask: int = 0, unit: int = 1
) -> int:
    def operation() -> int:
        return select_files(libc, count, (a, b, c), duration(libc, time, size, unit), mask_at(libc, mask))

    return attempt(libc, operation)


def _select(libc: Libc, size: int, count: int, a: int, b: int, c: int, time: int) -> int:
    return _pselect(libc, size, count, a, b, c, time, unit=1000)


_SETS = "int count, void *reading, void *writing, void *excepting"
register_timed(
    "ppoll", "int {}(void *descriptors, unsigned long count, const void *time, const void *mask)", _ppoll
)
register_timed(
    "__ppoll_chk",
    "int {}(void *descriptors, unsigned long count, const void *time, const void *mask, size_t room)",
    _ppoll_chk,
    "__ppoll64_chk",
)
register_timed("select", f"int {{}}({_SETS}, void *time)", _select)
register_timed("pselect", f"int {{}}({_SETS}, const void *time, const void *mask)", _pselect)

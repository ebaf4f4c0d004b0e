"""poll and select. What is not ready will not become so, since nothing else runs: so no time is waited for, and
waiting without a limit is an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.errors import GuestAbort
from emu.libc import filesystem as fs
from emu.libc.errno import Errno
from emu.libc.memory import overflow_abort
from emu.libc.table import export, register

if TYPE_CHECKING:
    from emu.libc.library import Libc

_POLLIN, _POLLOUT, _POLLERR, _POLLHUP = 1, 4, 8, 16
_FD_SETSIZE = 1024


def _poll(libc: Libc, descriptors: int, count: int, *, forever: bool) -> int:
    if count > fs.file_system(libc).most_descriptors:
        return libc.fail(Errno.EINVAL)
    ready = 0
    for at in range(descriptors, descriptors + 8 * count, 8):
        number = int.from_bytes(libc.memory.read(at, 4), "little", signed=True)
        wanted = libc.memory.read_uint(at + 4, 2) & (_POLLIN | _POLLOUT)
        found = 0 if number < 0 else fs.file_system(libc).ready(number, wanted)
        libc.memory.write_uint(at + 6, 2, found)
        ready += bool(found)
    if not ready and forever:
        raise GuestAbort(f"deadlock: the only thread waits for {count} descriptors, of which none is ready")
    return ready


@export("int poll(void *descriptors, unsigned long count, int milliseconds)", alias=("__poll",))
def poll(libc: Libc, descriptors: int, count: int, milliseconds: int) -> int:
    return _poll(libc, descriptors, count, forever=milliseconds < 0)


@export("int __poll_chk(void *descriptors, unsigned long count, int milliseconds, size_t room)")
def poll_chk(libc: Libc, descriptors: int, count: int, milliseconds: int, room: int) -> int:
    if 8 * count > room:
        raise overflow_abort(8 * count, room, "poll")
    return poll(libc, descriptors, count, milliseconds)


_PPOLL = "int ppoll(void *descriptors, unsigned long count, const void *time, const void *mask)"


@export(_PPOLL, alias=("__ppoll64",))
def ppoll(libc: Libc, descriptors: int, count: int, time: int, mask: int) -> int:
    return _poll(libc, descriptors, count, forever=not time)


def _select(libc: Libc, count: int, reading: int, writing: int, excepting: int, *, forever: bool) -> int:
    """The sets are arrays of words (glibc, __fd_mask), of which `count` bits are looked at and written."""
    if not 0 <= count <= _FD_SETSIZE:
        return libc.fail(Errno.EINVAL)
    size = (count + libc.arch.bits - 1) // libc.arch.bits * libc.word
    files, total, results = fs.file_system(libc), 0, []
    for place, event in ((reading, _POLLIN), (writing, _POLLOUT), (excepting, 0)):
        wanted = libc.memory.read_uint(place, size) & (1 << count) - 1 if place and size else 0
        found = 0
        for number in (n for n in range(count) if wanted >> n & 1):
            if number not in files.descriptors:
                return libc.fail(Errno.EBADF)
            if event and files.ready(number, event) & (event | _POLLERR | _POLLHUP):
                found |= 1 << number
        results.append((place, found))
        total += found.bit_count()
    if not total and forever:
        raise GuestAbort("deadlock: the only thread waits by select for descriptors of which none is ready")
    for place, found in results:
        if place and size:
            libc.memory.write_uint(place, size, found)
    return total


for _name, _more in (("select", "void *time"), ("pselect", "const void *time, const void *mask")):
    for _full in (_name, f"__{_name}64"):

        def _call(
            libc: Libc, count: int, reading: int, writing: int, excepting: int, time: int, *_mask: int
        ) -> int:
            return _select(libc, count, reading, writing, excepting, forever=not time)

        register(_full, f"int {_full}(int count, void *reading, void *writing, void *excepting, {_more})", _call)

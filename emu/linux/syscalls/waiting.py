"""System calls that wait for files: poll and select (see `emu.libc.readiness`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.libc.errno import Errno
from emu.libc.readiness import duration, mask_at, milliseconds_of, poll_files, select_files
from emu.linux.syscalls.kernel import call

if TYPE_CHECKING:
    from emu.linux.syscalls.kernel import SystemCalls

_SET = 8  #: bytes of the kernel's sigset_t


@call("poll")
def poll(kernel: SystemCalls, descriptors: int, count: int, milliseconds: int) -> int:
    return poll_files(kernel.libc, descriptors, count, milliseconds_of(kernel.signed(milliseconds, 4)))


def _ppoll(kernel: SystemCalls, descriptors: int, count: int, limit: int | None, mask: int, size: int) -> int:
    if mask and size != _SET:
        return -Errno.EINVAL
    return poll_files(kernel.libc, descriptors, count, limit, mask_at(kernel.libc, mask))


@call("ppoll")
def ppoll(kernel: SystemCalls, descriptors: int, count: int, time: int, mask: int, size: int) -> int:
    return _ppoll(kernel, descriptors, count, duration(kernel.libc, time, kernel.word), mask, size)


@call("ppoll_time64")
def ppoll_time64(kernel: SystemCalls, descriptors: int, count: int, time: int, mask: int, size: int) -> int:
    return _ppoll(kernel, descriptors, count, duration(kernel.libc, time, 8), mask, size)


@call("select", "newselect")
def select(kernel: SystemCalls, count: int, reading: int, writing: int, excepting: int, time: int) -> int:
    sets, limit = (reading, writing, excepting), duration(kernel.libc, time, kernel.word, 1000)
    return select_files(kernel.libc, kernel.signed(count, 4), sets, limit)


def _pselect(kernel: SystemCalls, count: int, sets: tuple[int, int, int], limit: int | None, mask: int) -> int:
    """`mask`: the address of the mask's address and size."""
    at, size = (kernel.get(mask), kernel.get(mask + kernel.word)) if mask else (0, _SET)
    if at and size != _SET:
        return -Errno.EINVAL
    return select_files(kernel.libc, kernel.signed(count, 4), sets, limit, mask_at(kernel.libc, at))


@call("pselect6")
def pselect6(kernel: SystemCalls, count: int, a: int, b: int, c: int, time: int, mask: int) -> int:
    return _pselect(kernel, count, (a, b, c), duration(kernel.libc, time, kernel.word), mask)


@call("pselect6_time64")
def pselect6_time64(kernel: SystemCalls, count: int, a: int, b: int, c: int, time: int, mask: int) -> int:
    return _pselect(kernel, count, (a, b, c), duration(kernel.libc, time, 8), mask)

"""alarm, setitimer and what sleeps (see `emu.libc.interval_timer`).

Sleeping takes no time on the host: `libc.clock`, the guest's time, goes forward. The timer expires in a sleep or
another wait, or when the clock has reached it and the guest calls a function; code that calls none is never
interrupted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.libc.errno import Errno, FileError
from emu.libc.interval_timer import SECOND
from emu.libc.readiness import duration
from emu.libc.signal_delivery import Signals
from emu.libc.table import export
from emu.libc.timed import register_timed

if TYPE_CHECKING:
    from emu.libc.library import Libc

_ITIMER_REAL, _ABSOLUTE = 0, 1


def _read_pair(libc: Libc, size: int, at: int) -> tuple[int, int]:
    read = libc.memory.read_uint
    values = (read(at + n * size, size) for n in range(2))
    first, second = (value - (1 << 8 * size) if value >> 8 * size - 1 else value for value in values)
    return first, second


@export("unsigned alarm(unsigned seconds)")
def alarm(libc: Libc, seconds: int) -> int:
    return libc.state(Signals).alarm(seconds)


@export("unsigned ualarm(unsigned microseconds, unsigned interval)")
def ualarm(libc: Libc, microseconds: int, interval: int) -> int:
    signals = libc.state(Signals)
    left = signals.timer.left(libc.clock())
    signals.set_timer(microseconds * 1000, interval * 1000)
    return -(-left // 1000)


def _getitimer(libc: Libc, size: int, which: int, value: int) -> int:
    """struct itimerval: interval and value, each seconds and microseconds. The timers of CPU time do not exist."""
    if which != _ITIMER_REAL:
        return libc.fail(Errno.ENOSYS if which in (1, 2) else Errno.EINVAL)
    timer = libc.state(Signals).timer
    interval = timer.interval if timer.armed else 0
    for at, time in ((value, interval), (value + 2 * size, timer.left(libc.clock()))):
        libc.memory.write_uint(at, size, time // SECOND)
        libc.memory.write_uint(at + size, size, -(-(time % SECOND) // 1000))
    return 0


def _setitimer(libc: Libc, size: int, which: int, new: int, old: int) -> int:
    pairs = [_read_pair(libc, size, new + n * 2 * size) if new else (0, 0) for n in range(2)]
    if any(seconds < 0 or not 0 <= micro < 1_000_000 for seconds, micro in pairs):
        return libc.fail(Errno.EINVAL)
    if which != _ITIMER_REAL or old:
        error = _getitimer(libc, size, which, old)
        if error:
            return error
    interval, value = (seconds * SECOND + micro * 1000 for seconds, micro in pairs)
    libc.state(Signals).set_timer(value, interval)
    return 0


def _sleep(libc: Libc, size: int, nanoseconds: int, remaining: int) -> int:
    """0, or EINTR with the time left."""
    left = libc.state(Signals).sleep(nanoseconds)
    if left and remaining:
        for at, value in zip((remaining, remaining + size), divmod(left, SECOND), strict=True):
            libc.memory.write_uint(at, size, value)
    return Errno.EINTR if left else 0


def _nanosleep(libc: Libc, size: int, request: int, remaining: int) -> int:
    error = _sleep_for(libc, size, request, remaining, 0)
    return libc.fail(Errno(error)) if error else 0


def _sleep_for(libc: Libc, size: int, request: int, remaining: int, since: int) -> int:
    """Sleep for the time at `request`, of which `since` has passed: 0, or an error."""
    try:
        wanted = duration(libc, request, size) or 0
    except FileError as error:
        return error.errno
    return _sleep(libc, size, max(wanted - since, 0), remaining)


def clock_nanosleep(libc: Libc, size: int, clock: int, flags: int, request: int, remaining: int) -> int:
    if not 0 <= clock <= 11:
        return Errno.EINVAL
    absolute = flags & _ABSOLUTE
    return _sleep_for(libc, size, request, 0 if absolute else remaining, libc.clock() if absolute else 0)


register_timed("getitimer", "int {}(int which, void *value)", _getitimer)
register_timed("setitimer", "int {}(int which, const void *value, void *old)", _setitimer)
register_timed("nanosleep", "int {}(const void *request, void *remaining)", _nanosleep)
register_timed(
    "clock_nanosleep",
    "int {}(int clock, int flags, const void *request, void *remaining)",
    clock_nanosleep,
    "__{}_time64",
)


@export("int usleep(unsigned microseconds)")
def usleep(libc: Libc, microseconds: int) -> int:
    return libc.fail(Errno.EINTR) if libc.state(Signals).sleep(microseconds * 1000) else 0


@export("unsigned sleep(unsigned seconds)")
def sleep(libc: Libc, seconds: int) -> int:
    """Returns the seconds left when a signal's handler has run, rounded as by glibc."""
    left = libc.state(Signals).sleep(seconds * SECOND)
    return (left + SECOND // 2) // SECOND

"""Waits with a deadline for locks, condition variables and semaphores: pthread_cond_timedwait and its relatives.

No other thread ends such a wait. It takes no time on the host: the guest's clock goes forward to the deadline.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.libc import c11_threads, locks, semaphores, threads
from emu.libc.errno import Errno
from emu.libc.interval_timer import SECOND
from emu.libc.signal_delivery import Signals
from emu.libc.timed import register_timed, time_pair

if TYPE_CHECKING:
    from emu.libc.library import Libc

_CLOCKS = (0, 1)  #: CLOCK_REALTIME, CLOCK_MONOTONIC, which are the same here


def _time_until(libc: Libc, size: int, deadline: int) -> int | None:
    """The nanoseconds until the time in a struct timespec, whose two members have `size` bytes; None for one whose
    nanoseconds are out of range.
    """
    seconds, nanoseconds = time_pair(libc, deadline, size)
    return max(seconds * SECOND + nanoseconds - libc.clock(), 0) if 0 <= nanoseconds < SECOND else None


def _wait(libc: Libc, size: int, deadline: int) -> int:
    """Wait as POSIX threads do: a signal does not end it (its handler runs when the guest's function returns)."""
    time = _time_until(libc, size, deadline)
    if time is None:
        return Errno.EINVAL
    left = libc.state(Signals).sleep(time)
    libc.slept += left
    return Errno.ETIMEDOUT


def _mutex(libc: Libc, size: int, mutex: int, deadline: int) -> int:
    status = threads.pthread_mutex_trylock(libc, mutex)
    if status != Errno.EBUSY:
        return status
    return Errno.EDEADLK if threads.checks_errors(libc, mutex) else _wait(libc, size, deadline)


def _condition(libc: Libc, size: int, condition: int, mutex: int, deadline: int) -> int:
    return _wait(libc, size, deadline)


def _read_lock(libc: Libc, size: int, lock: int, deadline: int) -> int:
    """The deadline of a read-write lock is looked at first (glibc, nptl/pthread_rwlock_common.c)."""
    if _time_until(libc, size, deadline) is None:
        return Errno.EINVAL
    return locks.pthread_rwlock_rdlock(libc, lock)


def _write_lock(libc: Libc, size: int, lock: int, deadline: int) -> int:
    if _time_until(libc, size, deadline) is None:
        return Errno.EINVAL
    status = locks.pthread_rwlock_trywrlock(libc, lock)
    if status != Errno.EBUSY:
        return status
    return Errno.EDEADLK if locks.is_written_under(libc, lock) else _wait(libc, size, deadline)


def _semaphore(libc: Libc, size: int, semaphore: int, deadline: int) -> int:
    """A signal with a handler ends it, unlike the others."""
    time = _time_until(libc, size, deadline)
    if time is None:
        return libc.fail(Errno.EINVAL)
    if libc.memory.read_uint(semaphore, 4):
        return semaphores.sem_trywait(libc, semaphore)
    return libc.fail(Errno.EINTR if libc.state(Signals).sleep(time) else Errno.ETIMEDOUT)


def _on_a_clock(wait: Callable[..., int]) -> Callable[..., int]:
    """The form of a wait with the deadline's clock before the deadline."""

    def call(libc: Libc, size: int, *args: int) -> int:
        *objects, clock, deadline = args
        if clock not in _CLOCKS:
            return libc.fail(Errno.EINVAL) if wait is _semaphore else Errno.EINVAL
        return wait(libc, size, *objects, deadline)

    return call


def _as_c11(wait: Callable[..., int]) -> Callable[..., int]:
    return lambda libc, *args: c11_threads.result_of(wait(libc, *args))


#: name -> (parameters before the deadline, function); where they end in a clock, it is the deadline's.
_WAITS: dict[str, tuple[str, Callable[..., int]]] = {
    "pthread_mutex_timedlock": ("void *mutex", _mutex),
    "pthread_mutex_clocklock": ("void *mutex, int clock", _on_a_clock(_mutex)),
    "pthread_cond_timedwait": ("void *condition, void *mutex", _condition),
    "pthread_cond_clockwait": ("void *condition, void *mutex, int clock", _on_a_clock(_condition)),
    "pthread_rwlock_timedrdlock": ("void *lock", _read_lock),
    "pthread_rwlock_timedwrlock": ("void *lock", _write_lock),
    "pthread_rwlock_clockrdlock": ("void *lock, int clock", _on_a_clock(_read_lock)),
    "pthread_rwlock_clockwrlock": ("void *lock, int clock", _on_a_clock(_write_lock)),
    "sem_timedwait": ("void *semaphore", _semaphore),
    "sem_clockwait": ("void *semaphore, int clock", _on_a_clock(_semaphore)),
    "mtx_timedlock": ("void *mutex", _as_c11(_mutex)),
    "cnd_timedwait": ("void *condition, void *mutex", _as_c11(_condition)),
}
for _name, (_parameters, _call) in _WAITS.items():
    register_timed(_name, f"int {{}}({_parameters}, const void *deadline)", _call)

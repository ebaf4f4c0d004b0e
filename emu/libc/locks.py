"""Read-write locks and spin locks of a single running thread, by address: waiting for another one never ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.errors import GuestAbort
from emu.libc.errno import Errno
from emu.libc.table import export

if TYPE_CHECKING:
    from emu.libc.library import Libc

_MOST = 1 << 18  #: limit for locks that are held
_WRITER = -1


class Locks:
    """Locks that are held: address -> number of readers, or _WRITER; a spin lock has a writer."""

    def __init__(self, libc: Libc) -> None:
        self.held: dict[int, int] = {}


def _take(libc: Libc, lock: int, *, write: bool) -> int:
    """0, EBUSY for a lock that is held otherwise, or EAGAIN for too many."""
    held = libc.state(Locks).held
    count = held.get(lock, 0)
    if count == _WRITER or (write and count):
        return Errno.EBUSY
    if not count and len(held) >= _MOST:
        return Errno.EAGAIN
    held[lock] = _WRITER if write else count + 1
    return 0


def _forget(libc: Libc, lock: int) -> int:
    libc.state(Locks).held.pop(lock, None)
    return 0


def _release(libc: Libc, lock: int) -> int:
    held = libc.state(Locks).held
    count = held.pop(lock, 0)
    if count > 1:
        held[lock] = count - 1
    return 0 if count else Errno.EPERM


def is_written_under(libc: Libc, lock: int) -> bool:
    """Whether the guest holds a lock for writing."""
    return libc.state(Locks).held.get(lock) == _WRITER


@export("int pthread_rwlock_init(void *lock, const void *attributes)")
def pthread_rwlock_init(libc: Libc, lock: int, attributes: int) -> int:
    return _forget(libc, lock)


@export("int pthread_rwlock_destroy(void *lock)")
def pthread_rwlock_destroy(libc: Libc, lock: int) -> int:
    return Errno.EBUSY if libc.state(Locks).held.get(lock) else 0


@export("int pthread_rwlock_tryrdlock(void *lock)", alias=("__pthread_rwlock_tryrdlock",))
def pthread_rwlock_tryrdlock(libc: Libc, lock: int) -> int:
    return _take(libc, lock, write=False)


@export("int pthread_rwlock_trywrlock(void *lock)", alias=("__pthread_rwlock_trywrlock",))
def pthread_rwlock_trywrlock(libc: Libc, lock: int) -> int:
    return _take(libc, lock, write=True)


@export("int pthread_rwlock_rdlock(void *lock)", alias=("__pthread_rwlock_rdlock",))
def pthread_rwlock_rdlock(libc: Libc, lock: int) -> int:
    status = _take(libc, lock, write=False)
    return Errno.EDEADLK if status == Errno.EBUSY else status


@export("int pthread_rwlock_wrlock(void *lock)", alias=("__pthread_rwlock_wrlock",))
def pthread_rwlock_wrlock(libc: Libc, lock: int) -> int:
    status = _take(libc, lock, write=True)
    if status != Errno.EBUSY:
        return status
    if is_written_under(libc, lock):
        return Errno.EDEADLK
    raise GuestAbort(f"deadlock: the only thread writes under the lock at {lock:#x}, which it reads under")


@export("int pthread_rwlock_unlock(void *lock)", alias=("__pthread_rwlock_unlock",))
def pthread_rwlock_unlock(libc: Libc, lock: int) -> int:
    return _release(libc, lock)


@export("int pthread_spin_init(void *lock, int shared)")
def pthread_spin_init(libc: Libc, lock: int, shared: int) -> int:
    return _forget(libc, lock)


@export("int pthread_spin_destroy(void *lock)")
def pthread_spin_destroy(libc: Libc, lock: int) -> int:
    return _forget(libc, lock)


@export("int pthread_spin_trylock(void *lock)")
def pthread_spin_trylock(libc: Libc, lock: int) -> int:
    return _take(libc, lock, write=True)


@export("int pthread_spin_lock(void *lock)")
def pthread_spin_lock(libc: Libc, lock: int) -> int:
    status = _take(libc, lock, write=True)
    if status == Errno.EBUSY:
        raise GuestAbort(f"deadlock: the only thread takes the spin lock at {lock:#x}, which it already holds")
    return status


@export("int pthread_spin_unlock(void *lock)")
def pthread_spin_unlock(libc: Libc, lock: int) -> int:
    _release(libc, lock)
    return 0

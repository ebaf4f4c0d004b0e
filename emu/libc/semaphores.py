"""POSIX semaphores and barriers of a single running thread: waiting for another one never ends, and is an error.

A sem_t's first word is its value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.errors import GuestAbort
from emu.libc.descriptors import O_CREAT, O_EXCL
from emu.libc.errno import Errno
from emu.libc.table import export

if TYPE_CHECKING:
    from emu.libc.guest import Arguments
    from emu.libc.library import Libc

_LARGEST = 0x7FFF_FFFF


@export("int sem_init(void *semaphore, int shared, unsigned value)")
def sem_init(libc: Libc, semaphore: int, shared: int, value: int) -> int:
    if value > _LARGEST:
        return libc.fail(Errno.EINVAL)
    libc.memory.write_uint(semaphore, 4, value)
    return 0


@export("int sem_destroy(void *semaphore)")
def sem_destroy(libc: Libc, semaphore: int) -> int:
    return 0


@export("int sem_post(void *semaphore)")
def sem_post(libc: Libc, semaphore: int) -> int:
    value = libc.memory.read_uint(semaphore, 4)
    if value == _LARGEST:
        return libc.fail(Errno.EOVERFLOW)
    libc.memory.write_uint(semaphore, 4, value + 1)
    return 0


@export("int sem_trywait(void *semaphore)")
def sem_trywait(libc: Libc, semaphore: int) -> int:
    value = libc.memory.read_uint(semaphore, 4)
    if not value:
        return libc.fail(Errno.EAGAIN)
    libc.memory.write_uint(semaphore, 4, value - 1)
    return 0


@export("int sem_wait(void *semaphore)")
def sem_wait(libc: Libc, semaphore: int) -> int:
    if not libc.memory.read_uint(semaphore, 4):
        raise GuestAbort(f"deadlock: the only thread waits for the semaphore at {semaphore:#x}, which is 0")
    return sem_trywait(libc, semaphore)


@export("int sem_getvalue(void *semaphore, int *value)")
def sem_getvalue(libc: Libc, semaphore: int, value: int) -> int:
    libc.memory.write_uint(value, 4, libc.memory.read_uint(semaphore, 4))
    return 0


class Named:
    """Named semaphores: name -> address, and those that are unlinked but open."""

    def __init__(self, libc: Libc) -> None:
        self.by_name: dict[bytes, int] = {}
        self.opened: dict[int, int] = {}  # address -> times opened


def _name(libc: Libc, name: int) -> bytes:
    """glibc does not ask for the slash that POSIX wants a name to begin with."""
    return libc.bounded_string(name, 256).lstrip(b"/")


@export("void *sem_open(const char *name, int flags, ...)")
def sem_open(libc: Libc, name: int, flags: int, arguments: Arguments) -> int:
    """Named semaphores exist within the program."""
    named, text = libc.state(Named), _name(libc, name)
    if not text or b"/" in text or len(text) > 250:
        return libc.fail(Errno.EINVAL, 0)
    found = named.by_name.get(text)
    if found is None:
        if not flags & O_CREAT:
            return libc.fail(Errno.ENOENT, 0)
        arguments.take("unsigned")
        value = int(arguments.take("unsigned"))
        if value > _LARGEST:
            return libc.fail(Errno.EINVAL, 0)
        if not (found := libc.heap.malloc(32)):
            return libc.fail(Errno.ENOMEM, 0)
        libc.memory.write_uint(found, 4, value)
        named.by_name[text] = found
    elif flags & O_CREAT and flags & O_EXCL:
        return libc.fail(Errno.EEXIST, 0)
    named.opened[found] = named.opened.get(found, 0) + 1
    return found


@export("int sem_close(void *semaphore)")
def sem_close(libc: Libc, semaphore: int) -> int:
    named = libc.state(Named)
    if not named.opened.get(semaphore):
        return libc.fail(Errno.EINVAL)
    named.opened[semaphore] -= 1
    _release(libc, named, semaphore)
    return 0


@export("int sem_unlink(const char *name)")
def sem_unlink(libc: Libc, name: int) -> int:
    named = libc.state(Named)
    semaphore = named.by_name.pop(_name(libc, name), None)
    if semaphore is None:
        return libc.fail(Errno.ENOENT)
    _release(libc, named, semaphore)
    return 0


def _release(libc: Libc, named: Named, semaphore: int) -> None:
    """Free a semaphore that has no name and is not open."""
    if not named.opened.get(semaphore) and semaphore not in named.by_name.values():
        named.opened.pop(semaphore, None)
        libc.heap.free(semaphore)


@export("int pthread_barrier_init(void *barrier, const void *attributes, unsigned count)")
def pthread_barrier_init(libc: Libc, barrier: int, attributes: int, count: int) -> int:
    if not count:
        return Errno.EINVAL
    libc.memory.write_uint(barrier, 4, count)
    return 0


@export("int pthread_barrier_destroy(void *barrier)")
def pthread_barrier_destroy(libc: Libc, barrier: int) -> int:
    return 0


@export("int pthread_barrier_wait(void *barrier)")
def pthread_barrier_wait(libc: Libc, barrier: int) -> int:
    count = libc.memory.read_uint(barrier, 4)
    if count > 1:
        raise GuestAbort(f"deadlock: the only thread waits at the barrier at {barrier:#x} for {count - 1} others")
    return -1  # PTHREAD_BARRIER_SERIAL_THREAD

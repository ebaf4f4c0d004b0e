"""pthread functions with a single running thread: locks, run-once, thread-specific data.

A mutex's state is the word at its address (0: free), as set by a static initialiser. Locking a held non-recursive
mutex would wait forever, so it aborts with a message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.errors import GuestAbort
from emu.libc.errno import Errno
from emu.libc.table import export, register
from relink.log import Log

if TYPE_CHECKING:
    from emu.libc.library import Libc

_log = Log(__name__)
RECURSIVE, _ERRORCHECK = 1, 2  #: types of mutexes
_MOST_KEYS = 1024
_MOST_MUTEXES = 1 << 18  #: limit for mutexes that are held or have a type
_DESTRUCTOR_ROUNDS = 4  # PTHREAD_DESTRUCTOR_ITERATIONS


class Threads:
    """Locks by address, and thread-specific data."""

    def __init__(self, libc: Libc) -> None:
        self.depth: dict[int, int] = {}  # mutex -> times held
        self.kinds: dict[int, int] = {}  # mutex -> the type from its attributes, if any
        self.destructors: dict[int, int] = {}  # key -> its destructor, or 0
        self.values: dict[int, dict[int, int]] = {}  # thread pointer -> key -> value
        self.next_key = 0
        self.refused = False  # whether the guest has asked for a thread


def _kind(libc: Libc, mutex: int) -> int:
    # glibc's static initialisers store the type in __kind, after lock, count, owner (and nusers on 64-bit ISAs).
    state = libc.state(Threads)
    if mutex in state.kinds:
        return state.kinds[mutex]
    return libc.memory.read_uint(mutex + (16 if libc.word == 8 else 12), 4) & 3


def checks_errors(libc: Libc, mutex: int) -> bool:
    """Whether a mutex is one of PTHREAD_MUTEX_ERRORCHECK."""
    return _kind(libc, mutex) == _ERRORCHECK


@export("int pthread_mutex_init(void *mutex, const void *attributes)")
def pthread_mutex_init(libc: Libc, mutex: int, attributes: int) -> int:
    state = libc.state(Threads)
    if len(state.kinds) >= _MOST_MUTEXES and mutex not in state.kinds:
        return Errno.ENOMEM
    state.kinds[mutex] = libc.memory.read_uint(attributes, 4) & 3 if attributes else 0
    state.depth.pop(mutex, None)
    return 0


@export("int pthread_mutex_destroy(void *mutex)")
def pthread_mutex_destroy(libc: Libc, mutex: int) -> int:
    state = libc.state(Threads)
    if state.depth.get(mutex):
        return Errno.EBUSY
    state.kinds.pop(mutex, None)
    return 0


@export("int pthread_mutex_trylock(void *mutex)", alias=("__pthread_mutex_trylock",))
def pthread_mutex_trylock(libc: Libc, mutex: int) -> int:
    depth = libc.state(Threads).depth
    if len(depth) >= _MOST_MUTEXES and mutex not in depth:
        return Errno.EAGAIN
    if depth.get(mutex) and _kind(libc, mutex) != RECURSIVE:
        return Errno.EBUSY
    depth[mutex] = depth.get(mutex, 0) + 1
    return 0


@export("int pthread_mutex_lock(void *mutex)", alias=("__pthread_mutex_lock",))
def pthread_mutex_lock(libc: Libc, mutex: int) -> int:
    if (status := pthread_mutex_trylock(libc, mutex)) != Errno.EBUSY:
        return status
    if checks_errors(libc, mutex):
        return Errno.EDEADLK
    raise GuestAbort(f"deadlock: the only thread locks the mutex at {mutex:#x} it already holds")


@export("int pthread_mutex_unlock(void *mutex)", alias=("__pthread_mutex_unlock",))
def pthread_mutex_unlock(libc: Libc, mutex: int) -> int:
    depth = libc.state(Threads).depth
    held = depth.get(mutex, 0)
    if not held:
        return Errno.EPERM
    if held == 1:
        del depth[mutex]
    else:
        depth[mutex] = held - 1
    return 0


@export("int pthread_mutex_consistent(void *mutex)")
def pthread_mutex_consistent(libc: Libc, mutex: int) -> int:
    """EINVAL: no thread has ended with a robust mutex locked."""
    return Errno.EINVAL


@export("int pthread_once(int *control, void *routine)", alias=("__pthread_once",))
def pthread_once(libc: Libc, control: int, routine: int) -> int:
    if not libc.memory.read_uint(control, 4):
        libc.memory.write_uint(control, 4, 2)
        try:
            libc.call(routine, "void(void)")
        except BaseException:
            libc.memory.write_uint(control, 4, 0)
            raise
    return 0


@export("unsigned long pthread_self(void)")
def pthread_self(libc: Libc) -> int:
    return libc.thread_pointer or 1


@export("int pthread_equal(unsigned long a, unsigned long b)")
def pthread_equal(libc: Libc, a: int, b: int) -> int:
    return int(a == b)


@export("int pthread_key_create(unsigned *key, void *destructor)", alias=("__pthread_key_create",))
def pthread_key_create(libc: Libc, key: int, destructor: int) -> int:
    state = libc.state(Threads)
    if state.next_key >= _MOST_KEYS:
        return Errno.EAGAIN
    state.destructors[state.next_key] = destructor
    libc.memory.write_uint(key, 4, state.next_key)
    state.next_key += 1
    return 0


@export("int pthread_key_delete(unsigned key)")
def pthread_key_delete(libc: Libc, key: int) -> int:
    state = libc.state(Threads)
    if state.destructors.pop(key, None) is None:
        return Errno.EINVAL
    for values in state.values.values():
        values.pop(key, None)
    return 0


@export("void *pthread_getspecific(unsigned key)", alias=("__pthread_getspecific",))
def pthread_getspecific(libc: Libc, key: int) -> int:
    return libc.state(Threads).values.get(libc.thread_pointer, {}).get(key, 0)


@export("int pthread_setspecific(unsigned key, const void *value)", alias=("__pthread_setspecific",))
def pthread_setspecific(libc: Libc, key: int, value: int) -> int:
    state = libc.state(Threads)
    if key not in state.destructors:
        return Errno.EINVAL
    state.values.setdefault(libc.thread_pointer, {})[key] = value
    return 0


def run_key_destructors(libc: Libc) -> None:
    """At a thread's end: call each key's destructor with its value, repeatedly while new values are set (POSIX,
    pthread_key_create).
    """
    state = libc.state(Threads)
    values = state.values.get(libc.thread_pointer, {})
    for _ in range(_DESTRUCTOR_ROUNDS):
        due = [(key, value) for key, value in values.items() if value and state.destructors.get(key)]
        for key, value in due:
            values[key] = 0
            libc.call(state.destructors[key], "void(void *)", value)
        if not due:
            return


@export("int pthread_create(void *thread, const void *attributes, void *start, void *argument)")
def pthread_create(libc: Libc, thread: int, attributes: int, start: int, argument: int) -> int:
    """Concurrent threads are not supported: EAGAIN, "insufficient resources", and a warning is logged. A later
    abort() gives the reason.
    """
    if not libc.state(Threads).refused:
        _log.warning("pthread_create of the function at %#x fails with EAGAIN: guests have a single thread", start)
    libc.state(Threads).refused = True
    return Errno.EAGAIN


@export("int pthread_join(unsigned long thread, void **result)")
def pthread_join(libc: Libc, thread: int, result: int) -> int:
    return Errno.ESRCH


@export("int pthread_cond_wait(void *condition, void *mutex)")
def pthread_cond_wait(libc: Libc, condition: int, mutex: int) -> int:
    raise GuestAbort(f"deadlock: the only thread waits on the condition variable at {condition:#x}")


@export(
    "int pthread_tryjoin_np(unsigned long thread, void **result)",
    alias=("pthread_timedjoin_np", "__pthread_timedjoin_np64", "pthread_clockjoin_np", "__pthread_clockjoin_np64"),
)
def pthread_tryjoin_np(libc: Libc, thread: int, result: int) -> int:
    return pthread_join(libc, thread, result)


@export("void pthread_testcancel(void)")
def pthread_testcancel(libc: Libc) -> None:
    """No thread cancels another."""


def _nothing(libc: Libc, *args: int) -> int:
    return 0


#: Functions that do nothing with a single thread, by the number of their (word-sized) parameters.
_NO_OPERATION = {
    0: ("pthread_getconcurrency",),
    1: (
        "pthread_setconcurrency",
        "pthread_cond_destroy",
        "pthread_cond_signal",
        "pthread_cond_broadcast",
        "pthread_detach",
    ),
    2: (
        "pthread_cond_init",
        "pthread_setcancelstate",
        "pthread_setcanceltype",
    ),
    3: ("pthread_atfork",),
}

for _count, _names in _NO_OPERATION.items():
    for _name in _names:
        register(_name, f"int {_name}({', '.join(['unsigned long'] * _count) or 'void'})", _nothing)

"""Scheduling, processors and names of threads: one thread, on one processor, of the usual policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.libc.errno import Errno
from emu.libc.process import PROCESS_ID
from emu.libc.table import export, register

if TYPE_CHECKING:
    from emu.libc.library import Libc

_SCHED_OTHER, _SCHED_FIFO, _SCHED_RR, _SCHED_BATCH, _SCHED_IDLE = 0, 1, 2, 3, 5
_CLOCK_THREAD_CPUTIME_ID = 3
_NAME_SIZE = 16  #: bytes of a thread's name, its NUL included (Linux)


class _Name:
    """The name of the thread."""

    def __init__(self, libc: Libc) -> None:
        self.name = b"guest"


def _has_processor(libc: Libc, size: int, mask: int) -> bool:
    """Whether a cpu_set_t has processor 0."""
    return size > 0 and bool(libc.memory.read(mask, 1)[0] & 1)


@export("int getcpu(unsigned *cpu, unsigned *node)")
def getcpu(libc: Libc, cpu: int, node: int) -> int:
    for place in filter(None, (cpu, node)):
        libc.memory.write_uint(place, 4, 0)
    return 0


@export("int sched_getcpu(void)")
def sched_getcpu(libc: Libc) -> int:
    return 0


@export("int sched_setaffinity(int process, size_t size, const void *mask)")
def sched_setaffinity(libc: Libc, process: int, size: int, mask: int) -> int:
    if process not in (0, PROCESS_ID):
        return libc.fail(Errno.ESRCH)
    return 0 if _has_processor(libc, size, mask) else libc.fail(Errno.EINVAL)


@export("int pthread_setaffinity_np(unsigned long thread, size_t size, const void *mask)")
def pthread_setaffinity_np(libc: Libc, thread: int, size: int, mask: int) -> int:
    if thread != libc.thread_pointer:
        return Errno.ESRCH
    return 0 if _has_processor(libc, size, mask) else Errno.EINVAL


@export("int pthread_setname_np(unsigned long thread, const char *name)")
def pthread_setname_np(libc: Libc, thread: int, name: int) -> int:
    text = libc.bounded_string(name, _NAME_SIZE)
    if thread != libc.thread_pointer:
        return Errno.ESRCH
    if len(text) >= _NAME_SIZE:
        return Errno.ERANGE
    libc.state(_Name).name = text
    return 0


@export("int pthread_getname_np(unsigned long thread, char *name, size_t size)")
def pthread_getname_np(libc: Libc, thread: int, name: int, size: int) -> int:
    if thread != libc.thread_pointer:
        return Errno.ESRCH
    text = libc.state(_Name).name
    if size <= len(text):
        return Errno.ERANGE
    libc.put_string(name, text)
    return 0


@export("int sched_get_priority_min(int policy)")
def sched_get_priority_min(libc: Libc, policy: int) -> int:
    if policy in (_SCHED_FIFO, _SCHED_RR):
        return 1
    return 0 if policy in (_SCHED_OTHER, _SCHED_BATCH, _SCHED_IDLE) else libc.fail(Errno.EINVAL)


@export("int sched_get_priority_max(int policy)")
def sched_get_priority_max(libc: Libc, policy: int) -> int:
    return 99 if policy in (_SCHED_FIFO, _SCHED_RR) else sched_get_priority_min(libc, policy)


@export("int sched_getscheduler(int process)")
def sched_getscheduler(libc: Libc, process: int) -> int:
    return _SCHED_OTHER if process in (0, PROCESS_ID) else libc.fail(Errno.ESRCH)


@export("int sched_getparam(int process, void *parameter)")
def sched_getparam(libc: Libc, process: int, parameter: int) -> int:
    if process not in (0, PROCESS_ID):
        return libc.fail(Errno.ESRCH)
    libc.memory.write_uint(parameter, 4, 0)
    return 0


@export("int sched_setscheduler(int process, int policy, const void *parameter)")
def sched_setscheduler(libc: Libc, process: int, policy: int, parameter: int) -> int:
    """Real-time policies need more privileges: EPERM."""
    if sched_get_priority_min(libc, policy) < 0:
        return -1
    return 0 if policy == _SCHED_OTHER else libc.fail(Errno.EPERM)


@export("int pthread_getschedparam(unsigned long thread, int *policy, void *parameter)")
def pthread_getschedparam(libc: Libc, thread: int, policy: int, parameter: int) -> int:
    if thread != libc.thread_pointer:
        return Errno.ESRCH
    libc.memory.write_uint(policy, 4, _SCHED_OTHER)
    libc.memory.write_uint(parameter, 4, 0)
    return 0


@export("int pthread_setschedparam(unsigned long thread, int policy, const void *parameter)")
def pthread_setschedparam(libc: Libc, thread: int, policy: int, parameter: int) -> int:
    if thread != libc.thread_pointer:
        return Errno.ESRCH
    if policy == _SCHED_OTHER:
        return 0
    return Errno.EPERM if policy in (_SCHED_FIFO, _SCHED_RR, _SCHED_BATCH, _SCHED_IDLE) else Errno.EINVAL


@export("int pthread_setschedprio(unsigned long thread, int priority)")
def pthread_setschedprio(libc: Libc, thread: int, priority: int) -> int:
    """The usual policy has priority 0 only."""
    if thread != libc.thread_pointer:
        return Errno.ESRCH
    return Errno.EINVAL if priority else 0


@export("int sched_setparam(int process, const void *parameter)")
def sched_setparam(libc: Libc, process: int, parameter: int) -> int:
    if process not in (0, PROCESS_ID):
        return libc.fail(Errno.ESRCH)
    return libc.fail(Errno.EINVAL) if libc.memory.read_uint(parameter, 4) else 0


def _interval(size: Callable[[Libc], int]) -> Callable[..., int]:
    """A struct timespec: the usual policy has no fixed interval, so it is 0."""

    def call(libc: Libc, process: int, interval: int) -> int:
        if process not in (0, PROCESS_ID):
            return libc.fail(Errno.ESRCH)
        libc.memory.write(interval, bytes(size(libc)))
        return 0

    return call


for _name, _size in (
    ("sched_rr_get_interval", lambda libc: 2 * libc.word),
    ("__sched_rr_get_interval64", lambda libc: 16),
):
    register(_name, f"int {_name}(int process, void *interval)", _interval(_size))


@export("int pthread_attr_setaffinity_np(void *attributes, size_t size, const void *mask)")
def pthread_attr_setaffinity_np(libc: Libc, attributes: int, size: int, mask: int) -> int:
    """There is one processor: a set with it needs no note."""
    return 0 if not size or _has_processor(libc, size, mask) else Errno.EINVAL


@export("int pthread_getcpuclockid(unsigned long thread, int *clock)")
def pthread_getcpuclockid(libc: Libc, thread: int, clock: int) -> int:
    if thread != libc.thread_pointer:
        return Errno.ESRCH
    libc.memory.write_uint(clock, 4, _CLOCK_THREAD_CPUTIME_ID)
    return 0


@export("void *__sched_cpualloc(size_t count)")
def sched_cpualloc(libc: Libc, count: int) -> int:
    """A cpu_set_t for `count` processors: whole words."""
    return libc.heap.malloc(-(-count // (8 * libc.word)) * libc.word)


@export("void __sched_cpufree(void *set)")
def sched_cpufree(libc: Libc, cpus: int) -> None:
    libc.heap.free(cpus)

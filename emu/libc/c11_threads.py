"""<threads.h>: C11's names for what `threads` does. Results: glibc, sysdeps/pthread/threads.h."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.libc import threads
from emu.libc.cancellation import pthread_exit
from emu.libc.errno import Errno
from emu.libc.table import export, register
from emu.libc.timed import register_timed
from emu.libc.timers import clock_nanosleep

if TYPE_CHECKING:
    from emu.libc.library import Libc

_SUCCESS, _BUSY, _ERROR, _NO_MEMORY, _TIMED_OUT = range(5)
_RESULTS = {0: _SUCCESS, Errno.EBUSY: _BUSY, Errno.ENOMEM: _NO_MEMORY, Errno.ETIMEDOUT: _TIMED_OUT}
_PLAIN, _RECURSIVE, _TIMED = 0, 1, 2  #: bits of mtx_init's type


def result_of(status: int) -> int:
    """The result of <threads.h> for an error of POSIX threads, or for 0."""
    return _RESULTS.get(status, _ERROR)


#: name -> (parameters, the function of POSIX threads).
_ALIKE: dict[str, tuple[str, Callable[..., int]]] = {
    "mtx_lock": ("void *mutex", threads.pthread_mutex_lock),
    "mtx_trylock": ("void *mutex", threads.pthread_mutex_trylock),
    "mtx_unlock": ("void *mutex", threads.pthread_mutex_unlock),
    "cnd_wait": ("void *condition, void *mutex", threads.pthread_cond_wait),
    "tss_create": ("unsigned *key, void *destructor", threads.pthread_key_create),
    "tss_set": ("unsigned key, void *value", threads.pthread_setspecific),
    "thrd_create": ("void *thread, void *start, void *argument", lambda libc, *_: _refused(libc)),
    "thrd_join": ("unsigned long thread, int *result", threads.pthread_join),
    "thrd_detach": ("unsigned long thread", lambda libc, _: 0),
    "cnd_init": ("void *condition", lambda libc, _: 0),
    "cnd_signal": ("void *condition", lambda libc, _: 0),
    "cnd_broadcast": ("void *condition", lambda libc, _: 0),
}


def _refused(libc: Libc) -> int:
    return threads.pthread_create(libc, 0, 0, 0, 0)


for _name, (_parameters, _call) in _ALIKE.items():

    def _alike(libc: Libc, *args: int, call: Callable[..., int] = _call) -> int:
        return result_of(call(libc, *args))

    register(_name, f"int {_name}({_parameters})", _alike)


@export("int mtx_init(void *mutex, int type)")
def mtx_init(libc: Libc, mutex: int, type_: int) -> int:
    if type_ not in (_PLAIN, _TIMED, _PLAIN | _RECURSIVE, _TIMED | _RECURSIVE):
        return _ERROR
    status = threads.pthread_mutex_init(libc, mutex, 0)
    if not status and type_ & _RECURSIVE:
        libc.state(threads.Threads).kinds[mutex] = threads.RECURSIVE
    return result_of(status)


@export("void mtx_destroy(void *mutex)")
def mtx_destroy(libc: Libc, mutex: int) -> None:
    threads.pthread_mutex_destroy(libc, mutex)


@export("void cnd_destroy(void *condition)")
def cnd_destroy(libc: Libc, condition: int) -> None:
    """Nothing is kept of a condition variable."""


@export("void call_once(int *control, void *routine)")
def call_once(libc: Libc, control: int, routine: int) -> None:
    threads.pthread_once(libc, control, routine)


@export("void *tss_get(unsigned key)")
def tss_get(libc: Libc, key: int) -> int:
    return threads.pthread_getspecific(libc, key)


@export("void tss_delete(unsigned key)")
def tss_delete(libc: Libc, key: int) -> None:
    threads.pthread_key_delete(libc, key)


@export("unsigned long thrd_current(void)")
def thrd_current(libc: Libc) -> int:
    return threads.pthread_self(libc)


@export("int thrd_equal(unsigned long a, unsigned long b)")
def thrd_equal(libc: Libc, a: int, b: int) -> int:
    return int(a == b)


@export("void thrd_yield(void)")
def thrd_yield(libc: Libc) -> None:
    """There is no other thread."""


@export("void thrd_exit(int result)")
def thrd_exit(libc: Libc, result: int) -> None:
    pthread_exit(libc, result)


def _thrd_sleep(libc: Libc, size: int, request: int, remaining: int) -> int:
    """0, -1 after a signal, -2 for another error."""
    error = clock_nanosleep(libc, size, 0, 0, request, remaining)
    return {0: 0, Errno.EINTR: -1}.get(error, -2)


register_timed("thrd_sleep", "int {}(const void *request, void *remaining)", _thrd_sleep)

"""The end of the only thread: pthread_exit, and the clean-up handlers that it runs.

The macros of <pthread.h> keep a jmp_buf for each handler (`__pthread_register_cancel`); its code ends by calling
`__pthread_unwind_next`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.libc.errno import Errno
from emu.libc.jumps import longjmp
from emu.libc.lifecycle import end_thread
from emu.libc.process import exit_
from emu.libc.table import export

if TYPE_CHECKING:
    from emu.libc.library import Libc


class CleanUps:
    """Buffers of the handlers that are pushed, oldest first."""

    def __init__(self, libc: Libc) -> None:
        self.buffers: list[int] = []


@export("void __pthread_register_cancel(void *buffer)")
def register_cancel(libc: Libc, buffer: int) -> None:
    libc.state(CleanUps).buffers.append(buffer)


@export("void __pthread_unregister_cancel(void *buffer)")
def unregister_cancel(libc: Libc, buffer: int) -> None:
    buffers = libc.state(CleanUps).buffers
    if buffer in buffers:
        del buffers[buffers.index(buffer) :]


@export("void __pthread_unwind_next(void *buffer)")
def unwind_next(libc: Libc, buffer: int) -> None:
    pthread_exit(libc, 0)


@export("void pthread_exit(void *result)")
def pthread_exit(libc: Libc, result: int) -> None:
    """Run the handlers, last first, and the destructors of the thread; the process ends with its last thread, by
    exit(0) (POSIX).
    """
    buffers = libc.state(CleanUps).buffers
    if buffers:
        longjmp(libc, buffers.pop(), 1)
        return
    end_thread(libc)
    exit_(libc, 0)


@export("int pthread_cancel(unsigned long thread)")
def pthread_cancel(libc: Libc, thread: int) -> int:
    """The thread itself ends at once; there is no other one."""
    if thread != libc.thread_pointer:
        return Errno.ESRCH
    pthread_exit(libc, libc.arch.address_mask)
    return 0


@export("void _pthread_cleanup_push(void *buffer, void *routine, void *argument)")
def cleanup_push(libc: Libc, buffer: int, routine: int, argument: int) -> None:
    """struct _pthread_cleanup_buffer: routine, argument, cancellation type, previous buffer (glibc, pthread.h)."""
    libc.set_pointer(buffer, routine)
    libc.set_pointer(buffer + libc.word, argument)


@export("void _pthread_cleanup_pop(void *buffer, int execute)")
def cleanup_pop(libc: Libc, buffer: int, execute: int) -> None:
    if execute:
        libc.call(libc.pointer(buffer), "void(void *)", libc.pointer(buffer + libc.word))

"""What ends: a process, a thread, code that handlers point at. `emu.linux.personality` calls these at the time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.libc.handlers import Handlers, run_handlers, run_thread_handlers

if TYPE_CHECKING:
    from emu.libc.library import Libc


def finish(libc: Libc) -> None:
    """What exit does: run thread-local destructors of the thread in use, then the handlers of atexit and
    __cxa_atexit that still wait, last first."""
    run_thread_handlers(libc)
    run_handlers(libc, libc.state(Handlers).registered)


def end_thread(libc: Libc) -> None:
    """Run what the end of the thread in use runs: destructors of thread-local objects, then those of keys."""
    from emu.libc.threads import run_key_destructors

    run_thread_handlers(libc)
    run_key_destructors(libc)


def forget_thread(libc: Libc, thread_pointer: int) -> None:
    """Drop what is kept for a thread that has ended."""
    from emu.libc.threads import Threads

    libc.state(Handlers).thread.pop(thread_pointer, None)
    libc.state(Threads).values.pop(thread_pointer, None)


def pinned_addresses(libc: Libc) -> tuple[int, ...]:
    """Addresses in images that thread-local destructors still to run keep loaded."""
    waiting = libc.state(Handlers).thread.values()
    return tuple(handler.dso for handlers in waiting for handler in handlers)


def forget_handlers(libc: Libc, exists: Callable[[int], bool]) -> None:
    """Drop the handlers of atexit and its kin for whose address `exists` is False."""
    handlers = libc.state(Handlers)
    for registered in (handlers.registered, handlers.quick, *handlers.thread.values()):
        registered[:] = [handler for handler in registered if exists(handler.function)]


def drop_handlers(libc: Libc) -> None:
    """Drop all handlers: the process is over."""
    forget_handlers(libc, lambda address: False)

"""Cleaning up at the end of a process or a thread, and when code is unloaded. Called by
`emu.linux.personality`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.libc.handlers import Handlers, run_handlers, run_thread_handlers

if TYPE_CHECKING:
    from emu.libc.library import Libc


def finish(libc: Libc) -> None:
    """As in exit: run thread-local destructors of the current thread, then the remaining atexit and __cxa_atexit
    handlers, last first.
    """
    run_thread_handlers(libc)
    run_handlers(libc, libc.state(Handlers).registered)


def end_thread(libc: Libc) -> None:
    """At the end of the current thread: run destructors of thread-local objects, then those of keys."""
    from emu.libc.threads import run_key_destructors

    run_thread_handlers(libc)
    run_key_destructors(libc)


def forget_thread(libc: Libc, thread_pointer: int) -> None:
    """Drop the state of a thread that has ended."""
    from emu.libc.threads import Threads

    libc.state(Handlers).thread.pop(thread_pointer, None)
    libc.state(Threads).values.pop(thread_pointer, None)


def pinned_addresses(libc: Libc) -> tuple[int, ...]:
    """Addresses in images that must stay loaded for thread-local destructors."""
    waiting = libc.state(Handlers).thread.values()
    return tuple(handler.dso for handlers in waiting for handler in handlers)


def forget_handlers(libc: Libc, exists: Callable[[int], bool]) -> None:
    """Drop exit handlers for whose address `exists` is False."""
    handlers = libc.state(Handlers)
    for registered in (handlers.registered, handlers.quick, *handlers.thread.values()):
        registered[:] = [handler for handler in registered if exists(handler.function)]


def drop_handlers(libc: Libc) -> None:
    """Drop all handlers, at the end of the process."""
    forget_handlers(libc, lambda address: False)

"""Handlers registered for the end of the process, of a thread, or of a library.

A separate module from the functions that register them (`emu.libc.process`), because every machine needs it when
it ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from emu.libc.library import Libc


class Handler(NamedTuple):
    """A handler of atexit or __cxa_atexit. `dso` is 0 for atexit."""

    function: int
    argument: int | None
    dso: int


#: Limit for registered handlers per list; each takes a hundred bytes of host memory.
MOST_HANDLERS = 1 << 18


class Handlers:
    """Registered handlers, in the order of registration."""

    def __init__(self, libc: Libc) -> None:
        self.registered: list[Handler] = []
        self.quick: list[Handler] = []
        self.thread: dict[int, list[Handler]] = {}  #: thread pointer -> destructors of its thread-local objects


def register(handlers: list[Handler], handler: Handler) -> int:
    """Register a handler; return 0, or -1 when there are too many."""
    if len(handlers) >= MOST_HANDLERS:
        return -1
    handlers.append(handler)
    return 0


def run_handlers(libc: Libc, handlers: list[Handler], dso: int | None = None) -> None:
    """Call and remove the handlers (of one DSO), last first, including those registered meanwhile."""
    while (place := _last(handlers, dso)) is not None:
        handler = handlers.pop(place)
        if handler.argument is None:
            libc.call(handler.function, "void(void)")
        else:
            libc.call(handler.function, "void(void *)", handler.argument)


def _last(handlers: list[Handler], dso: int | None) -> int | None:
    places = range(len(handlers) - 1, -1, -1)
    return next((place for place in places if dso is None or handlers[place].dso == dso), None)


def run_thread_handlers(libc: Libc) -> None:
    """Run the destructors of the current thread's thread-local objects, last first (glibc, __call_tls_dtors)."""
    thread = libc.thread_pointer
    handlers = libc.state(Handlers)
    if thread in handlers.thread:
        run_handlers(libc, handlers.thread[thread])
        del handlers.thread[thread]

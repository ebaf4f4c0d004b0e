"""What is registered to run at the end: of the process, of a thread, of a library.

Apart from the functions that register it (`emu.libc.process`), because every machine looks here when it ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from emu.libc.library import Libc


class Handler(NamedTuple):
    """What atexit or __cxa_atexit registered. `dso` is 0 for plain atexit."""

    function: int
    argument: int | None
    dso: int


#: Handlers registered at once, per list; each costs the host a hundred bytes.
MOST_HANDLERS = 1 << 18


class Handlers:
    """Registered handlers, the last one registered last."""

    def __init__(self, libc: Libc) -> None:
        self.registered: list[Handler] = []
        self.quick: list[Handler] = []
        self.thread: dict[int, list[Handler]] = {}  #: thread pointer -> destructors of its thread-local objects


def register(handlers: list[Handler], handler: Handler) -> int:
    """0, or -1 where there are too many."""
    if len(handlers) >= MOST_HANDLERS:
        return -1
    handlers.append(handler)
    return 0


def run_handlers(libc: Libc, handlers: list[Handler], dso: int | None = None) -> None:
    """Call and drop the handlers (of one DSO), last first; those registered meanwhile run too."""
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
    """The destructors of the current thread's thread-local objects, last first (glibc, __call_tls_dtors)."""
    thread = libc.thread_pointer
    handlers = libc.state(Handlers)
    if thread in handlers.thread:
        run_handlers(libc, handlers.thread[thread])
        del handlers.thread[thread]

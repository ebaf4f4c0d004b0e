"""Handlers registered for the end of the process, of a thread, or of a library.

Nearly every library calls `__cxa_finalize`, so this imports little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from emu.libc.table import export, has_aeabi

if TYPE_CHECKING:
    from emu.libc.library import Libc


class Handler(NamedTuple):
    """A handler of atexit, on_exit or __cxa_atexit. `dso` is 0 for the first two."""

    function: int
    argument: int | None
    dso: int
    takes_status: bool = False  #: before its argument


#: Limit for registered handlers per list; each takes a hundred bytes of host memory.
MOST_HANDLERS = 1 << 18


class Handlers:
    """Registered handlers, in the order of registration."""

    def __init__(self, libc: Libc) -> None:
        self.registered: list[Handler] = []
        self.quick: list[Handler] = []
        self.thread: dict[int, list[Handler]] = {}  #: thread pointer -> destructors of its thread-local objects


def _register(handlers: list[Handler], handler: Handler) -> int:
    """Register a handler; return 0, or -1 when there are too many."""
    if len(handlers) >= MOST_HANDLERS:
        return -1
    handlers.append(handler)
    return 0


@export("int atexit(void *function)")
def atexit(libc: Libc, function: int) -> int:
    return _register(libc.state(Handlers).registered, Handler(function, None, 0))


@export("int on_exit(void *function, void *argument)")
def on_exit(libc: Libc, function: int, argument: int) -> int:
    return _register(libc.state(Handlers).registered, Handler(function, argument, 0, takes_status=True))


@export("int at_quick_exit(void *function)")
def at_quick_exit(libc: Libc, function: int) -> int:
    return _register(libc.state(Handlers).quick, Handler(function, None, 0))


@export("int __cxa_at_quick_exit(void *function, void *dso)")
def cxa_at_quick_exit(libc: Libc, function: int, dso: int) -> int:
    """What at_quick_exit is in programs: glibc links it statically."""
    return at_quick_exit(libc, function)


@export("int __cxa_thread_atexit(void *function, void *object, void *dso)", alias=("__cxa_thread_atexit_impl",))
def cxa_thread_atexit(libc: Libc, function: int, argument: int, dso: int) -> int:
    """Register a destructor for the end of the thread, before atexit handlers; the image that contains `dso` stays
    loaded until then.
    """
    thread = libc.thread_pointer
    return _register(libc.state(Handlers).thread.setdefault(thread, []), Handler(function, argument, dso))


@export("int __cxa_atexit(void *function, void *argument, void *dso)")
def cxa_atexit(libc: Libc, function: int, argument: int, dso: int) -> int:
    return _register(libc.state(Handlers).registered, Handler(function, argument, dso))


@export("int __aeabi_atexit(void *argument, void *function, void *dso)", on=has_aeabi)
def aeabi_atexit(libc: Libc, argument: int, function: int, dso: int) -> int:
    """The Arm run-time ABI swaps the first two parameters of __cxa_atexit."""
    return cxa_atexit(libc, function, argument, dso)


@export("void __cxa_finalize(void *dso)")
def cxa_finalize(libc: Libc, dso: int) -> None:
    run_handlers(libc, libc.state(Handlers).registered, dso or None)


def run_handlers(libc: Libc, handlers: list[Handler], dso: int | None = None, *, status: int = 0) -> None:
    """Call and remove the handlers (of one DSO), last first, including those registered meanwhile.

    `status` is that of the process.
    """
    while (place := _last(handlers, dso)) is not None:
        handler = handlers.pop(place)
        if handler.argument is None:
            libc.call(handler.function, "void(void)")
        elif handler.takes_status:
            libc.call(handler.function, "void(int, void *)", status, handler.argument)
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

"""SIGINT, SIGTERM, SIGHUP: a command cleans up, and then ends by the signal."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

#: The signals, and their handlers in a new process: what ignores one, as nohup does for SIGHUP, goes on doing so.
_HANDLERS = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}
#: Seconds after which a signal that comes while a child is started is sent again: most have started by then.
_AGAIN = 0.002
#: The signal, once one has come.
_interrupts: list[int] = []


def handle_interrupts() -> None:
    """Let `interrupt` handle the signals, in the main thread."""
    for number, usual in _HANDLERS.items():
        if signal.getsignal(number) is usual:
            sys.unraisablehook = unraisable
            signal.signal(number, interrupt)


def interrupt(number: int, frame: FrameType | None) -> None:
    """The handler: the command stops its children, and removes its folders and files that are not complete.
    Another signal ends the process at once. One that comes while a child is started comes again a little later: an
    exception would lose the child's number.
    """
    if _starts_child(frame):
        from threading import Timer  # `subprocess` has imported it

        Timer(_AGAIN, os.kill, (os.getpid(), number)).start()
        return
    for each in _HANDLERS:
        if signal.getsignal(each) is interrupt:
            signal.signal(each, signal.SIG_DFL)
    _interrupts.append(number)
    raise KeyboardInterrupt


def _starts_child(frame: FrameType | None) -> bool:
    """Whether this is a frame of `Popen.__init__`, or of what that has called."""
    process = sys.modules.get("subprocess")
    while frame is not None and process is not None:
        if frame.f_code is process.Popen.__init__.__code__:
            return True
        frame = frame.f_back
    return False


def was_interrupted() -> bool:
    """Whether a signal has come to this command."""
    return bool(_interrupts)


def unraisable(lost: sys.UnraisableHookArgs) -> None:
    """Report what a finaliser raises; end the process where that is what `interrupt` raised."""
    if _interrupts:
        end_by_interrupt()
    sys.__unraisablehook__(lost)


def end_by_interrupt() -> None:
    """End this process, without a message, by the signal: after SIGINT (status 130) a shell ends its script."""
    signal.signal(_interrupts[0], signal.SIG_DFL)
    os.kill(os.getpid(), _interrupts[0])

"""SIGINT: a command cleans up, and then ends by the signal."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

#: SIGINT, once it has come.
_interrupts: list[int] = []


def interrupt(number: int, frame: FrameType | None) -> None:
    """The handler of SIGINT: the command stops its children, and removes its folders and files that are not
    complete. Another Ctrl-C ends the process at once.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _interrupts.append(number)
    raise KeyboardInterrupt


def was_interrupted() -> bool:
    """Whether SIGINT has come to this command."""
    return bool(_interrupts)


def unraisable(lost: sys.UnraisableHookArgs) -> None:
    """Report what a finaliser raises; end the process where that is what `interrupt` raised."""
    if _interrupts:
        end_by_interrupt()
    sys.__unraisablehook__(lost)


def end_by_interrupt() -> None:
    """End this process, without a message, by SIGINT: status 130 in a shell, which then ends its script too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)

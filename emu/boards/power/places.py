"""Where Python is: the part of a run's state that no machine has, when Python functions call the guest."""

from __future__ import annotations

import sys
from types import FrameType

_PROJECT = ("emu", "relink")
_PLAIN = frozenset({int, float, bool, str, bytes, type(None)})


def python_place(end: FrameType) -> object:
    """The functions that are running, innermost first, up to the frame `end`: which instruction of each, and its
    local numbers and texts. This project's own functions are left out: what they hold is the machine's state.
    """
    found = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame is not end:
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] not in _PROJECT:
            known = ((name, value) for name, value in frame.f_locals.items() if type(value) in _PLAIN)
            found.append((frame.f_code.co_qualname, frame.f_lasti, *known))
        frame = frame.f_back
    return tuple(found)

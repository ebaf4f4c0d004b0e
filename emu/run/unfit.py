"""Machines that were read from files: what Python raises where the parts of a forged one do not fit together."""

from __future__ import annotations

import opcode
import sys
from types import TracebackType
from typing import Final

from emu.errors import SnapshotFileError
from relink.errors import RelinkError

_PROJECT: Final = ("emu", "relink")
#: Modules that only pass calls on: they are at fault for none.
_BETWEEN: Final = frozenset({"emu.saved.guarded", "emu.run.exclusive"})
#: Libraries that this project calls, whose errors are about what it gave them.
_CALLED: Final = frozenset({"numpy", "elftools", "capstone", "unicorn", "icicle", *sys.stdlib_module_names})
_RAISE: Final = frozenset({opcode.opmap["RAISE_VARARGS"], opcode.opmap["RERAISE"]})


def refuse(error: BaseException, file: str) -> None:
    """Raise SnapshotFileError for an exception of Python's that this project caused, not by a `raise` in it."""
    if isinstance(error, RelinkError | OSError) or not isinstance(error, Exception):
        return
    place = _place(error.__traceback__)
    if place is None:
        return
    if place.tb_frame.f_code.co_code[place.tb_lasti] not in _RAISE or isinstance(error, AssertionError):
        problem = f"the parts of the machine do not fit together: {type(error).__name__}: {error}"
        raise SnapshotFileError(f"{file}: {problem}") from error


def _place(trace: TracebackType | None) -> TracebackType | None:
    """Where in this project an exception was raised, or what raised it was called; None where others raised it."""
    found: TracebackType | None = None
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "")
        room = module.partition(".")[0]
        if module in _BETWEEN or room not in _CALLED.union(_PROJECT):
            found = None
        elif room in _PROJECT:
            found = trace
        trace = trace.tb_next
    return found

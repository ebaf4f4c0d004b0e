"""Machines that were read from files: what Python raises where the parts of a forged one do not fit together."""

from __future__ import annotations

import opcode
from typing import Final

from emu.errors import SnapshotFileError

_PROJECT: Final = ("emu", "relink")
_RAISE: Final = opcode.opmap["RAISE_VARARGS"]
#: What Python raises for objects that do not fit together.
PLAIN: Final = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, MemoryError, AssertionError)


def refuse(error: BaseException, file: str) -> None:
    """Raise SnapshotFileError for an exception that came from this project, and not from a `raise` in it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or trace.tb_frame.f_globals.get("__name__", "").partition(".")[0] not in _PROJECT:
        return
    if trace.tb_frame.f_code.co_code[trace.tb_lasti] != _RAISE or isinstance(error, AssertionError):
        problem = f"the parts of the machine do not fit together: {type(error).__name__}: {error}"
        raise SnapshotFileError(f"{file}: {problem}") from error

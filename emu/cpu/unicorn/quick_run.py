"""Running Unicorn and reading the place where it has stopped, in one call of machine code (`hooks/native/run.c`).

A call by ctypes takes a third of a microsecond, most of it for the arguments; these are in a structure.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial
from typing import Any

from emu.cpu.hooks.host_code import host_function
from emu.cpu.unicorn.api import NO_COUNT, NO_TIMEOUT, emu_start, reg_read_batch, uclib
from emu.cpu.unicorn.batches import GroupData


class _Run(ctypes.Structure):
    """The arguments of uc_emu_start (without the last two, which are 0) and uc_reg_read_batch."""

    _fields_ = (
        ("engine", ctypes.c_void_p),
        ("begin", ctypes.c_void_p),  #: of what is passed by value
        ("until", ctypes.c_void_p),  #: the same
        ("start", ctypes.c_void_p),
        ("numbers", ctypes.c_void_p),
        ("places", ctypes.c_void_p),
        ("count", ctypes.c_uint64),
        ("read", ctypes.c_void_p),
    )


class QuickRun:
    """`run()` runs an engine from `begin` until `until`, reads the registers of `place`, and returns the engine's
    status.
    """

    def __init__(
        self, handle: ctypes.c_void_p, begin: ctypes.c_uint64, until: ctypes.c_uint64, place: GroupData
    ) -> None:
        self._arguments, self._place = (handle, begin, until), place
        self._run = _Run(
            handle,
            ctypes.addressof(begin),
            ctypes.addressof(until),
            ctypes.cast(uclib["uc_emu_start"], ctypes.c_void_p),
            read=ctypes.cast(uclib["uc_reg_read_batch"], ctypes.c_void_p),
        )
        self.read_after(place)
        self.run: Callable[[], int] = self._in_two_calls
        if (address := host_function("run.run")) is not None:
            call: Any = ctypes.CFUNCTYPE(ctypes.c_int)(address)
            call.argtypes = None  # nothing to convert
            self.run = partial(call, ctypes.byref(self._run))

    def read_after(self, place: GroupData) -> None:
        """From now on, read these registers after a run."""
        run, numbers, places = self._run, ctypes.addressof(place.numbers), ctypes.addressof(place.places)
        # Without a call from here on: what the code writes to is never freed, whatever a signal handler raises.
        self._place, run.numbers, run.places, run.count = place, numbers, places, place.count

    def _in_two_calls(self) -> int:
        """`run` on hosts for which there is no machine code."""
        handle, begin, until = self._arguments
        status: int = emu_start(handle, begin, until, NO_TIMEOUT, NO_COUNT)
        reg_read_batch(handle, self._place.numbers, self._place.places, self._place.count)
        return status

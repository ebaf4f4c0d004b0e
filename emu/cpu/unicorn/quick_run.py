"""Running Unicorn and reading the place where it has stopped, in one call of machine code (`hooks/native/run.c`).

A call by ctypes takes a third of a microsecond, most of it for the arguments; these are in a structure.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable
from functools import partial
from typing import Any

from emu.cpu.hooks.host_code import host_function
from emu.cpu.unicorn.api import uclib
from emu.cpu.unicorn.registers import GroupData
from relink.errors import MachineError


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
        address = host_function("run.run")
        if address is None:
            raise MachineError(f"runs cannot be counted on this host ({platform.machine()})")
        self.place, self._keeps = place, (begin, until)
        run = _Run(
            handle,
            ctypes.addressof(begin),
            ctypes.addressof(until),
            ctypes.cast(uclib["uc_emu_start"], ctypes.c_void_p),
            ctypes.addressof(place.numbers),
            ctypes.addressof(place.places),
            place.count,
            ctypes.cast(uclib["uc_reg_read_batch"], ctypes.c_void_p),
        )
        call: Any = ctypes.CFUNCTYPE(ctypes.c_int)(address)
        call.argtypes = None  # nothing to convert
        self.run: Callable[[], int] = partial(call, ctypes.byref(run))  # which keeps it

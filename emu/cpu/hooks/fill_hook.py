"""Telling Unicorn which pages hold code, when it fills its TLB, by machine code (`native/fill.c`).

The hook of Unicorn's UC_TLB_VIRTUAL mode has a Fill as the user data. A page that has been fetched from is noted
in a table of bits, by a hash of its address, and gets all permissions; any other gets those to read and to write.
What a mapping permits is checked by the engine elsewhere.
"""

from __future__ import annotations

import ctypes
from typing import Final

from emu.cpu.hooks.host_code import host_function
from emu.cpu.hooks.stop_hook import MULTIPLIER

TABLE_BYTES: Final = 1 << 18 >> 3


class Fill(ctypes.Structure):
    """The data of the hook."""

    _fields_ = (
        ("fetched", ctypes.c_void_p),  #: TABLE_BYTES bytes
        ("read", ctypes.c_void_p),  #: uc_reg_read
        ("write", ctypes.c_void_p),  #: uc_reg_write
        ("number", ctypes.c_uint64),  #: of CPSR
        ("value", ctypes.c_uint64),
        ("it_state", ctypes.c_uint64),  #: its bits in CPSR; 0: not Arm
        ("multiplier", ctypes.c_uint64),
    )

    value: int


def fill(table: int, read: int | None, write: int | None, cpsr: int | None, it_state: int) -> Fill:
    """The data for a table at this address, and for Arm the number of CPSR."""
    return Fill(table, read, write, cpsr or 0, 0, 0 if cpsr is None else it_state, MULTIPLIER)


def fill_hook() -> int | None:
    """The address of the hook; None where `emu.cpu.hooks.stop_hook` has none."""
    return host_function("fill.fill")

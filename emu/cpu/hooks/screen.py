"""Looking at each new block of code, and letting those run that need no inspection, by machine code
(`native/screen.c`).

It is the hook of Unicorn's edges (see `emu.cpu.hooks.inspector`), with a `Screen` as the user data. A block
passes if none of its instructions can be one that the engine executes wrongly: on x86 by tables of opcodes that
are right with any operands, with their sizes; elsewhere by two tables of bits, for the halves of each word. At any
other the engine stops, and the block is inspected. `emu.cpu.corrections.screens` makes the tables.
"""

from __future__ import annotations

import ctypes
from typing import Final, NamedTuple

from emu.cpu.hooks.host_code import host_function
from emu.cpu.hooks.stop_hook import StopRequest
from relink.arrays import U8

MOST: Final = 480  #: bytes of a block that is looked at; others stop the engine
NOWHERE: Final = (1 << 64) - 1
X86, X86_64 = 32, 64  #: values of `Screen.kind`; others are the bytes from each instruction to the next


class Tables(NamedTuple):
    """The tables by which blocks of an ISA are screened; of `one` and `two` an element is a byte."""

    kind: int
    one: U8
    two: U8


class Screen(ctypes.Structure):
    """The data of the hook. With `most` 0 no block passes."""

    _fields_ = (
        ("request", ctypes.c_void_p),  #: the StopRequest for blocks that do not pass
        ("first", ctypes.c_void_p),  #: the StopRequest by which the engine stops before the first block of a run
        ("read", ctypes.c_void_p),  #: uc_mem_read
        ("begin", ctypes.c_uint64),  #: the address of that block; NOWHERE when it has passed, or there is none
        ("kind", ctypes.c_uint32),  #: X86, X86_64; 4, 2: bytes of each step; 0: RISC-V's 2 or 4
        ("most", ctypes.c_uint32),  #: bytes of a block that may pass
        ("one", ctypes.c_void_p),
        ("two", ctypes.c_void_p),
        ("code", ctypes.c_uint8 * 512),
    )

    begin: int
    most: int

    @classmethod
    def of(cls, tables: Tables, request: StopRequest, first: StopRequest, read: int | None) -> Screen:
        """A screen by these tables."""
        screen = cls(
            ctypes.addressof(request), ctypes.addressof(first), read, NOWHERE, tables.kind, MOST,
            tables.one.ctypes.data, tables.two.ctypes.data,
        )  # fmt: skip
        screen.kept = tables, request, first
        return screen

    kept: object  #: what it points to


def screen_hook() -> int | None:
    """The address of the hook; None where `emu.cpu.hooks.stop_hook` has none."""
    return host_function("screen.screen")

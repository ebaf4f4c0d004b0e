"""The guest's malloc and free without leaving the engine, by machine code (`native/heap.c`).

It is the hook before one instruction, a nop in the compiled malloc or free (`emu/libc/compiled/src/allocation.c`),
and works on the arrays of `emu.memory.small_blocks`: they are the host's, so that a guest cannot damage them, and
the whole operation happens between two instructions. The register of the result is 0 before the hook. It stays 0
where Python must act (large blocks, no free memory, bad pointers); otherwise it is the block's address, or 1 after
free. A hook that finds another value does nothing: the engine may stop at the nop after the hook, and come to it
again.
"""

from __future__ import annotations

import ctypes
from enum import IntEnum
from typing import Protocol

from emu.cpu.hooks.host_code import host_function


class HeapFunction(IntEnum):
    """The function that a hook carries out."""

    MALLOC = 0
    FREE = 1


class Blocks(Protocol):
    """See `emu.memory.small_blocks.SmallBlocks`."""

    @property
    def arrays(self) -> BlockArrays: ...
    def allocate(self, size: int) -> int: ...
    def give(self, address: int) -> bool: ...


class HeapCalls(Protocol):
    """The hooks of one CPU."""

    def has(self, address: int) -> bool:
        """Whether there is a hook at an address."""

    def add(self, address: int, function: HeapFunction, blocks: Blocks, argument: str, result: str) -> None:
        """Perform a function before the instruction at an address, with these registers, until it is unmapped."""

    def pause(self, owner: object, wanted: bool) -> None:
        """Let each call get to Python as long as any owner wants it. It may be called again for the same."""


class BlockArrays(ctypes.Structure):
    """Where the arrays of `emu.memory.small_blocks` are."""

    _fields_ = (
        ("state", ctypes.c_void_p),
        ("words", ctypes.c_void_p),
        ("runs", ctypes.c_void_p),
        ("table", ctypes.c_void_p),
        ("mask", ctypes.c_uint64),  #: the number of entries of the table less one
        ("count", ctypes.c_uint64),  #: of runs
        ("paused", ctypes.c_uint64),  #: not 0: the hooks do nothing, so that each call gets to Python
    )

    state: int
    words: int
    runs: int
    table: int
    mask: int
    count: int
    paused: int


class HeapCall(ctypes.Structure):
    """The data of one hook. Registers are numbers of Unicorn's."""

    _fields_ = (
        ("arrays", ctypes.c_void_p),  #: the address of the BlockArrays
        ("read", ctypes.c_void_p),  #: the address of uc_reg_read
        ("write", ctypes.c_void_p),  #: that of uc_reg_write
        ("argument", ctypes.c_int32),
        ("result", ctypes.c_int32),
    )


def heap_hook(function: HeapFunction) -> int | None:
    """The address of the hook; None on unsupported hosts."""
    return host_function("heap.allocate" if function is HeapFunction.MALLOC else "heap.release")

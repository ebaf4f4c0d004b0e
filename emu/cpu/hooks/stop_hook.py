"""Stopping Unicorn exactly, between two blocks or two instructions, by machine code (`native/stop.c`).

`uc_emu_stop` is exact only when it is called in a hook that Unicorn runs before a block or an instruction. A hook
in Python takes 0.4 µs per block and may run signal handlers; a hook in machine code takes about a nanosecond. This
one counts calls or instructions down and calls `uc_emu_stop` at the end; see `StopRequest`.

Why not from another thread: translated code checks for a stop request at the start of a block, but also after
every load and store, in the middle of an instruction (Unicorn 2.1.4: `check_exit_request` in qemu/tcg/tcg-op.c,
qemu/include/exec/gen-icount.h). Unicorn then stops with pc at that instruction, but its effects so far remain:
`add [m], 1` has stored, `ldr x0, [x0]` has overwritten its own address. When the run continues, the instruction is
executed twice. Affected are read-modify-write instructions on x86, loads into their own base or index register on
AArch64 and Arm, and atomic instructions on all six ISAs.
"""

from __future__ import annotations

import ctypes
from typing import Final

from emu.cpu.hooks.host_code import host_function

#: Values of `stopped`: `left` was reached; a block is not in `table`; a block has more instructions than `budget`.
ASKED, UNKNOWN_BLOCK, LIMIT = 1, 2, 4
STACK: Final = 8  #: the same: a block would fault on x87's stack (`emu.cpu.hooks.stack_watch`)
#: Multiplier of the table's hash function (Knuth, The Art of Computer Programming, 6.4).
MULTIPLIER: Final = 0x9E37_79B9_7F4A_7C15
PLACE_SHIFT: Final = 32  #: the product is shifted right by this number of bits
#: Entries of the table `cuts`: (block, budget, address of a StopRequest, unused), unused ones 0.
CUTS: Final = 128
CUT_SHIFT: Final = 12  #: its hash function is that of the address plus the budget shifted left by this


class StopRequest(ctypes.Structure):
    """The data of the hook, shared by the engine's thread and threads that request a stop.

    Any thread may set `left` at any time: the engine lets `left - 1` blocks (or instructions) pass and stops
    before the next, in this run or later ones, and before each one after that, until `left` is set again. The
    other fields are for the engine's thread. With a `budget` the hook also counts instructions at blocks: see
    `emu.cpu.hooks.meter`, which fills `table`.
    """

    _fields_ = (
        ("left", ctypes.c_int64),  #: 1: stop now; n: let n - 1 pass, then stop; 0: do not stop
        ("stopped", ctypes.c_int32),  #: set by the hook when it stops the engine: ASKED, UNKNOWN_BLOCK or LIMIT
        ("again", ctypes.c_int32),  #: not 0: there was a request while `left` was 1
        ("stop", ctypes.c_void_p),  #: the address of uc_emu_stop
        ("budget", ctypes.c_uint64),  #: 0: do not count; n: stop before a block of more than n - 1 instructions
        ("table", ctypes.c_void_p),  #: of (address, size | instructions << 32), unused ones 0; None: 4 bytes each
        ("mask", ctypes.c_uint64),  #: the table's size in bytes less 16
        ("multiplier", ctypes.c_uint64),
        ("block", ctypes.c_uint64),  #: the address of the last block that was counted, and let pass
        ("block_size", ctypes.c_uint32),
        ("block_count", ctypes.c_uint32),
        ("size", ctypes.c_uint32),  #: of the block (or instruction) it stopped before
        ("watch", ctypes.c_void_p),  #: for `emu.cpu.hooks.stack_watch`
        ("next", ctypes.c_void_p),  #: the same: this hook
        ("cuts", ctypes.c_void_p),  #: for `emu.cpu.hooks.limit_hooks`; None: stop before each block that has more
        ("armed", ctypes.c_uint64),  #: set by the hook: the request that is to stop the engine inside a block
        ("beyond", ctypes.c_uint64),  #: raised by the hook by the instructions of that block
    )

    left: int
    stopped: int
    again: int
    budget: int
    table: int | None
    mask: int
    block: int
    block_size: int
    block_count: int
    size: int
    watch: int | None
    next: int | None
    cuts: int | None
    armed: int
    beyond: int

    def ask(self) -> None:
        """Request a stop, from any thread, before the second block: the first always runs, so that the guest makes
        progress however often it is stopped. A request for a stop before the first one remains (between these two
        steps the interpreter does not change threads).
        """
        self.again = 1
        if self.left != 1:
            self.left = 2


class AccessPlace(ctypes.Structure):
    """The last access that the hook of `access_hook` was called for. With size 0 the next one is no part of it."""

    _fields_ = (("address", ctypes.c_uint64), ("size", ctypes.c_uint32))

    address: int
    size: int


def stop_hook() -> int | None:
    """The address of the hook, whose data is a StopRequest; None on unsupported hosts."""
    return host_function("stop.before")


def access_hook() -> int | None:
    """The address of the hook of accesses to devices, whose data is an AccessPlace; None on unsupported hosts."""
    return host_function("stop.access")


def exception_hook() -> int | None:
    """The address of the hook of exceptions, whose data is 12 bytes (the engine, the number). None on unsupported
    hosts.
    """
    return host_function("stop.exception")

"""A few bytes of host code that stop Unicorn exactly, between two blocks or two instructions.

`uc_emu_stop` is exact only when it is called from within a hook that Unicorn runs before a block or an
instruction. A hook in Python would cost 0.4 µs a block and may run signal handlers; a hook in machine code costs
about a nanosecond. This one counts down and, when nothing is left, calls `uc_emu_stop`; see `StopRequest`.

Why not from another thread: translated code looks for a stop request at the start of a block, but also after
every load and store, in the middle of an instruction (Unicorn 2.1.4: `check_exit_request` in qemu/tcg/tcg-op.c,
qemu/include/exec/gen-icount.h). The request is then answered with pc at that instruction, whose effects up to
there are kept: `add [m], 1` has stored, `ldr x0, [x0]` has overwritten its own address. Run again, it does so
twice. On x86 that concerns all that reads, changes and writes memory; on AArch64 and Arm loads into their own base
or index register; atomic instructions on all six ISAs.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import platform
import sys
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

#: What `uname -m` says -> the hook, position independent. It is called by the C ABI with (engine, address of the
#: block or instruction, its size, user data); `user data` points to a StopRequest. Of `left` 0 is "do not stop",
#: and 1 stays 1, since in the middle of a Thumb IT block Unicorn takes a stop back.
HOST_CODE: Final[Mapping[str, bytes]] = {
    "x86_64": bytes.fromhex(
        "488b01"  #             mov  rax, [rcx]
        "4885c0"  #             test rax, rax
        "7408"  #               jz   out
        "48ffc8"  #             dec  rax
        "7404"  #               jz   stop
        "488901"  #             mov  [rcx], rax
        "c3"  #           out:  ret
        "c7410801000000"  # stop: mov dword ptr [rcx + 8], 1
        "ff6110"  #             jmp  [rcx + 16]
    ),
    "aarch64": b"".join(
        word.to_bytes(4, "little")
        for word in (
            0xF940_0064,  #       ldr  x4, [x3]
            0xB400_0084,  #       cbz  x4, out
            0xF100_0484,  #       subs x4, x4, #1
            0x5400_0060,  #       b.eq stop
            0xF900_0064,  #       str  x4, [x3]
            0xD65F_03C0,  # out:  ret
            0x5280_0025,  # stop: mov  w5, #1
            0xB900_0865,  #       str  w5, [x3, #8]
            0xF940_0864,  #       ldr  x4, [x3, #16]
            0xD61F_0080,  #       br   x4
        )
    ),
}


class StopRequest(ctypes.Structure):
    """What the hook looks at: shared by the engine's thread and whoever wants it to stop.

    Any thread may set `left` at any time: the engine stops before the next block (or instruction) but `left - 1`
    that it comes to, in this run or the next, and before every one from then on, until `left` is set again.
    """

    _fields_ = (
        ("left", ctypes.c_int64),  #: 1: stop now; n: let n - 1 pass, then stop; 0: do not stop
        ("stopped", ctypes.c_int32),  #: set by the hook when it stops the engine
        ("stop", ctypes.c_void_p),  #: the address of uc_emu_stop
    )

    left: int
    stopped: int


@functools.cache
def stop_hook() -> int | None:
    """The address of the hook; None on hosts it is not written for, or that let no file be executed."""
    code = HOST_CODE.get(platform.machine()) if sys.platform == "linux" else None
    try:
        return None if code is None else _executable(code)
    except OSError:
        return None


_mapped: list[tuple[mmap.mmap, NDArray[np.uint8]]] = []  # kept, and with it the code, as long as the process lives


def _executable(code: bytes) -> int:
    """Map code to run it: never writable and executable at once, and coherent with every instruction cache."""
    with open(os.memfd_create("relink-emu stop hook"), "wb") as file:
        file.write(code)
        file.flush()
        mapping = mmap.mmap(file.fileno(), len(code), mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)
    view = np.frombuffer(mapping, np.uint8)
    _mapped.append((mapping, view))
    return int(view.ctypes.data)

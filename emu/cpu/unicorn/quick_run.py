"""Machine code for the host that runs Unicorn and reads the place where it has stopped, in one call.

A call by ctypes takes a third of a microsecond, most of it for the arguments; these are in a structure.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Mapping
from typing import Any, Final

from emu.cpu.hooks.stop_hook import mapped_code
from emu.cpu.unicorn.api import uclib
from emu.cpu.unicorn.registers import GroupData
from relink.errors import MachineError

#: What `uname -m` says -> a function of the C ABI whose argument is the address of a _Run; it returns Unicorn's
#: status.
RUN_CODE: Final[Mapping[str, bytes]] = {
    "x86_64": bytes.fromhex(
        "53"  #                  push rbx
        "4889fb"  #              mov rbx, rdi
        "488b3b"  #              mov rdi, [rbx]
        "488b7308"  #            mov rsi, [rbx + 8]
        "488b5310"  #            mov rdx, [rbx + 16]
        "488b36"  #              mov rsi, [rsi]
        "488b12"  #              mov rdx, [rdx]
        "31c9"  #                xor ecx, ecx
        "4531c0"  #              xor r8d, r8d
        "ff5318"  #              call [rbx + 24]
        "894340"  #              mov [rbx + 64], eax
        "488b3b"  #              mov rdi, [rbx]
        "488b7320"  #            mov rsi, [rbx + 32]
        "488b5328"  #            mov rdx, [rbx + 40]
        "8b4b30"  #              mov ecx, [rbx + 48]
        "ff5338"  #              call [rbx + 56]
        "8b4340"  #              mov eax, [rbx + 64]
        "5b"  #                  pop rbx
        "c3"  #                  ret
    ),
    "aarch64": b"".join(
        word.to_bytes(4, "little")
        for word in (
            0xA9BE_7BFD,  #        stp x29, x30, [sp, #-32]!
            0x9100_03FD,  #        mov x29, sp
            0xF900_0BF3,  #        str x19, [sp, #16]
            0xAA00_03F3,  #        mov x19, x0
            0xA940_0660,  #        ldp x0, x1, [x19]
            0xA941_1662,  #        ldp x2, x5, [x19, #16]
            0xF940_0021,  #        ldr x1, [x1]
            0xF940_0042,  #        ldr x2, [x2]
            0xAA1F_03E3,  #        mov x3, xzr
            0xAA1F_03E4,  #        mov x4, xzr
            0xD63F_00A0,  #        blr x5
            0xB900_4260,  #        str w0, [x19, #64]
            0xF940_0260,  #        ldr x0, [x19]
            0xA942_0A61,  #        ldp x1, x2, [x19, #32]
            0xB940_3263,  #        ldr w3, [x19, #48]
            0xF940_1E64,  #        ldr x4, [x19, #56]
            0xD63F_0080,  #        blr x4
            0xB940_4260,  #        ldr w0, [x19, #64]
            0xF940_0BF3,  #        ldr x19, [sp, #16]
            0xA8C2_7BFD,  #        ldp x29, x30, [sp], #32
            0xD65F_03C0,  #        ret
        )
    ),
}


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
        ("status", ctypes.c_uint64),
    )


class QuickRun:
    """`call(argument)` runs an engine from `begin` until `until`, reads the registers of `place`, and returns the
    engine's status.
    """

    def __init__(
        self, handle: ctypes.c_void_p, begin: ctypes.c_uint64, until: ctypes.c_uint64, place: GroupData
    ) -> None:
        address = mapped_code(RUN_CODE.get(platform.machine()))
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
        self.argument: Any = ctypes.byref(run)  # which keeps it
        call: Any = ctypes.CFUNCTYPE(ctypes.c_int)(address)
        call.argtypes = None  # nothing to convert
        self.call = call

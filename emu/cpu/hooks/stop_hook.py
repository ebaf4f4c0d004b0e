"""Machine code for the host that stops Unicorn exactly, between two blocks or two instructions.

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
import functools
import mmap
import os
import platform
import sys
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

HOST: Final = platform.machine()  #: the host's ISA, by its name in the tables of code


class HostCode(NamedTuple):
    """Machine code with several functions, which begin at `entries`."""

    entries: tuple[int, ...]
    code: bytes


#: What `uname -m` says -> the hook, position independent. It is called by the C ABI with (engine, address of the
#: block or instruction, its size, user data); `user data` points to a StopRequest. Of `left` 0 is "do not stop",
#: and 1 stays 1, since in the middle of a Thumb IT block Unicorn takes a stop back. `budget` is the same for
#: instructions, and looked at where it is not 0: the block's are looked up in `table` by open addressing with
#: linear probing. The engine stops before a block that is not found, or has more than are left; the latter runs
#: if `cuts` says which hook will stop it inside (`emu.cpu.hooks.limit_hooks`).
HOST_CODE: Final[Mapping[str, bytes]] = {
    "x86_64": bytes.fromhex(
        "488b01"  #              mov rax, [rcx]
        "480b4118"  #            or rax, [rcx + 24]
        "7501"  #                jne asked
        "c3"  #           out:   ret
        "488b01"  #       asked: mov rax, [rcx]
        "4885c0"  #              test rax, rax
        "740c"  #                je count
        "48ffc8"  #              dec rax
        "0f84b4000000"  #        je stop
        "488901"  #              mov [rcx], rax
        "488b4118"  #     count: mov rax, [rcx + 24]
        "4885c0"  #              test rax, rax
        "74e2"  #                je out
        "4c8b4120"  #            mov r8, [rcx + 32]
        "4189d1"  #              mov r9d, edx
        "41c1e902"  #            shr r9d, 2
        "4d85c0"  #              test r8, r8
        "742f"  #                je known
        "4989f2"  #              mov r10, rsi
        "4c0faf5130"  #          imul r10, [rcx + 48]
        "49c1ea20"  #            shr r10, 32
        "4c235128"  #     probe: and r10, [rcx + 40]
        "4f8b4c1008"  #          mov r9, [r8 + r10 + 8]
        "4b393410"  #            cmp [r8 + r10], rsi
        "7505"  #                jne next
        "4139d1"  #              cmp r9d, edx
        "740b"  #                je found
        "4585c9"  #       next:  test r9d, r9d
        "747a"  #                je miss
        "4983c210"  #            add r10, 16
        "ebe1"  #                jmp probe
        "49c1e920"  #     found: shr r9, 32
        "4c39c8"  #       known: cmp rax, r9
        "7613"  #                jbe limit
        "4c29c8"  #              sub rax, r9
        "48894118"  #            mov [rcx + 24], rax
        "48897138"  #     note:  mov [rcx + 56], rsi
        "895140"  #              mov [rcx + 64], edx
        "44894944"  #            mov [rcx + 68], r9d
        "c3"  #                  ret
        "4c8b4160"  #     limit: mov r8, [rcx + 96]
        "4d85c0"  #              test r8, r8
        "7456"  #                je full
        "4989c2"  #              mov r10, rax
        "49c1e20c"  #            shl r10, 12
        "4901f2"  #              add r10, rsi
        "4c0faf5130"  #          imul r10, [rcx + 48]
        "49c1ea20"  #            shr r10, 32
        "4181e2e00f0000"  # seek:  and r10d, 0xfe0
        "4f8b5c1010"  #          mov r11, [r8 + r10 + 16]
        "4d85db"  #              test r11, r11
        "7432"  #                je full
        "4b393410"  #            cmp [r8 + r10], rsi
        "7507"  #                jne more
        "4b39441008"  #          cmp [r8 + r10 + 8], rax
        "7406"  #                je cut
        "4183c220"  #     more:  add r10d, 32
        "ebdc"  #                jmp seek
        "49c70301000000"  # cut:   mov qword ptr [r11], 1
        "4c895968"  #            mov [rcx + 104], r11
        "4c014970"  #            add [rcx + 112], r9
        "eba3"  #                jmp note
        "b801000000"  #   stop:  mov eax, 1
        "eb0c"  #                jmp leave
        "b802000000"  #   miss:  mov eax, 2
        "eb05"  #                jmp leave
        "b804000000"  #   full:  mov eax, 4
        "894108"  #       leave: mov [rcx + 8], eax
        "895148"  #              mov [rcx + 72], edx
        "ff6110"  #              jmp [rcx + 16]
    ),
    "aarch64": b"".join(
        word.to_bytes(4, "little")
        for word in (
            0xF940_0064,  #        ldr x4, [x3]
            0xF940_0C65,  #        ldr x5, [x3, #24]
            0xAA05_0086,  #        orr x6, x4, x5
            0xB400_03A6,  #        cbz x6, out
            0xB400_0084,  #        cbz x4, count
            0xF100_0484,  #        subs x4, x4, #0x1
            0x5400_0640,  #        b.eq stop
            0xF900_0064,  #        str x4, [x3]
            0xB400_0305,  # count: cbz x5, out
            0xF940_1066,  #        ldr x6, [x3, #32]
            0x5302_7C47,  #        lsr w7, w2, #2
            0xB400_01E6,  #        cbz x6, known
            0xA942_A069,  #        ldp x9, x8, [x3, #40]
            0x9B08_7C28,  #        mul x8, x1, x8
            0xD360_FD08,  #        lsr x8, x8, #32
            0x8A09_0108,  # probe: and x8, x8, x9
            0x8B08_00CA,  #        add x10, x6, x8
            0xA940_1D4B,  #        ldp x11, x7, [x10]
            0xEB01_017F,  #        cmp x11, x1
            0x5400_0061,  #        b.ne next
            0x6B02_00FF,  #        cmp w7, w2
            0x5400_0080,  #        b.eq found
            0x3400_0487,  # next:  cbz w7, miss
            0x9100_4108,  #        add x8, x8, #0x10
            0x17FF_FFF7,  #        b probe
            0xD360_FCE7,  # found: lsr x7, x7, #32
            0xEB07_00BF,  # known: cmp x5, x7
            0x5400_00C9,  #        b.ls limit
            0xCB07_00A5,  #        sub x5, x5, x7
            0xF900_0C65,  #        str x5, [x3, #24]
            0xF900_1C61,  # note:  str x1, [x3, #56]
            0x2908_1C62,  #        stp w2, w7, [x3, #64]
            0xD65F_03C0,  # out:   ret
            0xF940_3066,  # limit: ldr x6, [x3, #96]
            0xB400_0346,  #        cbz x6, full
            0xF940_1869,  #        ldr x9, [x3, #48]
            0x8B05_3028,  #        add x8, x1, x5, lsl #12
            0x9B09_7D08,  #        mul x8, x8, x9
            0xD360_FD08,  #        lsr x8, x8, #32
            0x927B_1908,  # seek:  and x8, x8, #0xfe0
            0x8B08_00CA,  #        add x10, x6, x8
            0xA940_2D49,  #        ldp x9, x11, [x10]
            0xF940_094A,  #        ldr x10, [x10, #16]
            0xB400_022A,  #        cbz x10, full
            0xEB01_013F,  #        cmp x9, x1
            0x5400_0061,  #        b.ne more
            0xEB05_017F,  #        cmp x11, x5
            0x5400_0060,  #        b.eq cut
            0x9100_8108,  # more:  add x8, x8, #0x20
            0x17FF_FFF6,  #        b seek
            0x5280_0024,  # cut:   mov w4, #0x1
            0xF900_0144,  #        str x4, [x10]
            0xF940_386B,  #        ldr x11, [x3, #112]
            0x8B07_016B,  #        add x11, x11, x7
            0xA906_AC6A,  #        stp x10, x11, [x3, #104]
            0x17FF_FFE7,  #        b note
            0x5280_0024,  # stop:  mov w4, #0x1
            0x1400_0004,  #        b leave
            0x5280_0044,  # miss:  mov w4, #0x2
            0x1400_0002,  #        b leave
            0x5280_0084,  # full:  mov w4, #0x4
            0xB900_0864,  # leave: str w4, [x3, #8]
            0xB900_4862,  #        str w2, [x3, #72]
            0xF940_0864,  #        ldr x4, [x3, #16]
            0xD61F_0080,  #        br x4
        )
    ),
}


#: A second hook, for accesses to devices: stores the address and size of an access in an AccessPlace, unless it
#: is a part of the access that is there, and permits the access. It is called by the C ABI with (engine, kind,
#: address, size, value, user data).
ACCESS_CODE: Final[Mapping[str, bytes]] = {
    "x86_64": bytes.fromhex(
        "4889d0"  #              mov rax, rdx
        "492b01"  #              sub rax, [r9]
        "413b4908"  #            cmp ecx, [r9 + 8]
        "7309"  #                jae store
        "458b5108"  #            mov r10d, [r9 + 8]
        "4c39d0"  #              cmp rax, r10
        "7207"  #                jb out
        "498911"  #       store: mov [r9], rdx
        "41894908"  #            mov [r9 + 8], ecx
        "b801000000"  #   out:   mov eax, 1
        "c3"  #                  ret
    ),
    "aarch64": b"".join(
        word.to_bytes(4, "little")
        for word in (
            0xF940_00A6,  #        ldr x6, [x5]
            0xB940_08A7,  #        ldr w7, [x5, #8]
            0xCB06_0046,  #        sub x6, x2, x6
            0x6B07_007F,  #        cmp w3, w7
            0x5400_0062,  #        b.hs store
            0xEB07_00DF,  #        cmp x6, x7
            0x5400_0063,  #        b.lo out
            0xF900_00A2,  # store: str x2, [x5]
            0xB900_08A3,  #        str w3, [x5, #8]
            0x5280_0020,  # out:   mov w0, #1
            0xD65F_03C0,  #        ret
        )
    ),
}


#: A third one, for exceptions: stores the engine and the number of the exception. It is called by the C ABI with
#: (engine, number, user data).
EXCEPTION_CODE: Final[Mapping[str, bytes]] = {
    "x86_64": bytes.fromhex(
        "48893a"  #              mov [rdx], rdi
        "897208"  #              mov [rdx + 8], esi
        "c3"  #                  ret
    ),
    "aarch64": b"".join(
        word.to_bytes(4, "little")
        for word in (
            0xF900_0040,  #        str x0, [x2]
            0xB900_0841,  #        str w1, [x2, #8]
            0xD65F_03C0,  #        ret
        )
    ),
}


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
    """The address of the hook; None on unsupported hosts, or when no file can be mapped as executable."""
    return mapped_code(HOST_CODE.get(HOST))


def access_hook() -> int | None:
    """The same for the hook of memory accesses, whose data is an AccessPlace."""
    return mapped_code(ACCESS_CODE.get(HOST))


def exception_hook() -> int | None:
    """The same for the hook of exceptions, whose data is 12 bytes."""
    return mapped_code(EXCEPTION_CODE.get(HOST))


@functools.cache
def mapped_code(code: bytes | None) -> int | None:
    """The address of code, mapped once; None for None, or when no file can be mapped as executable."""
    if sys.platform != "linux":
        return None
    try:
        return None if code is None else executable(code)
    except OSError:
        return None


# keep a reference, so that the code stays mapped until the process ends
_mapped: list[tuple[mmap.mmap, NDArray[np.uint8]]] = []


def executable(code: bytes) -> int:
    """Map code as executable: never writable and executable at once, and coherent with instruction caches."""
    with open(os.memfd_create("relink-emu stop hook"), "wb") as file:
        file.write(code)
        file.flush()
        mapping = mmap.mmap(file.fileno(), len(code), mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)
    view = np.frombuffer(mapping, np.uint8)
    _mapped.append((mapping, view))
    return int(view.ctypes.data)

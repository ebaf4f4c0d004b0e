"""Machine code for the host that notes events of Unicorn and stops it at chosen places (see `stop_hook`).

Each is called by the C ABI as a hook of Unicorn, takes one to five nanoseconds, and has its data in a structure. A
stop is a call of `uc_emu_stop` in a hook before a block or an instruction, which is exact. Rows are written before
the block (or instruction) runs; when the log is full the hook stops the engine instead, and is called again for
the same block when the run continues.
"""

from __future__ import annotations

import ctypes
import functools
import platform
from collections.abc import Collection, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from emu.cpu.hooks.stop_hook import MULTIPLIER, PLACE_SHIFT, executable, stop_hook
from relink.errors import MachineError

_NOWHERE: Final = (1 << 64) - 1


def _words(*words: int) -> bytes:
    return b"".join(word.to_bytes(4, "little") for word in words)


#: Stops before the instructions or blocks of a set. Called with (engine, address, size, Places).
PLACE: Final[Mapping[str, bytes]] = {
    "x86_64": bytes.fromhex(
        "4889f0"  #        mov rax, rsi
        "48f7d0"  #        not rax
        "4989f0"  #        mov r8, rsi
        "4c0faf4128"  #        imul r8, [rcx+0x28]
        "49c1e820"  #        shr r8, 0x20
        "4c8b4918"  #        mov r9, [rcx+0x18]
        "4c234120"  # probe: and r8, [rcx+0x20]
        "4f8b1401"  #        mov r10, [r9+r8*1]
        "4939c2"  #        cmp r10, rax
        "740a"  #        je hit
        "4983c008"  #        add r8, 0x8
        "4d85d2"  #        test r10, r10
        "75ea"  #        jne probe
        "c3"  #        ret
        "483b31"  # hit:   cmp rsi, [rcx]
        "740e"  #        je pass
        "c7410801000000"  #        mov dword [rcx+0x8], 0x1
        "48897130"  #        mov [rcx+0x30], rsi
        "ff6110"  #        jmp [rcx+0x10]
        "48c701ffffffff"  # pass:  mov [rcx], -1
        "c3"  #        ret
    ),
    "aarch64": _words(
        0xA941_9464,  #        ldp x4, x5, [x3, #24]
        0xF940_1466,  #        ldr x6, [x3, #40]
        0xAA21_03E7,  #        mvn x7, x1
        0x9B06_7C26,  #        mul x6, x1, x6
        0xD360_FCC6,  #        lsr x6, x6, #32
        0x8A05_00C6,  # probe: and x6, x6, x5
        0xF866_6888,  #        ldr x8, [x4, x6]
        0xEB07_011F,  #        cmp x8, x7
        0x5400_0080,  #        b.eq hit
        0x9100_20C6,  #        add x6, x6, #0x8
        0xB5FF_FF68,  #        cbnz x8, probe
        0xD65F_03C0,  #        ret
        0xF940_0064,  # hit:   ldr x4, [x3]
        0xEB01_009F,  #        cmp x4, x1
        0x5400_00C0,  #        b.eq pass
        0x5280_0024,  #        mov w4, #0x1
        0xB900_0864,  #        str w4, [x3, #8]
        0xF900_1861,  #        str x1, [x3, #48]
        0xF940_0864,  #        ldr x4, [x3, #16]
        0xD61F_0080,  #        br x4
        0x9280_0004,  # pass:  mov x4, #-1
        0xF900_0064,  #        str x4, [x3]
        0xD65F_03C0,  #        ret
    ),
}

#: Notes (address, size) of each block or instruction. Called with (engine, address, size, Log).
LOG: Final[Mapping[str, bytes]] = {
    "x86_64": bytes.fromhex(
        "488b01"  #        mov rax, [rcx]
        "483b4118"  #        cmp rax, [rcx+0x18]
        "7311"  #        jae full
        "89d2"  #        mov edx, edx
        "488930"  #        mov [rax], rsi
        "48895008"  #        mov [rax+0x8], rdx
        "4883c010"  #        add rax, 0x10
        "488901"  #        mov [rcx], rax
        "c3"  #        ret
        "c7410801000000"  # full:  mov dword [rcx+0x8], 0x1
        "ff6110"  #        jmp [rcx+0x10]
    ),
    "aarch64": _words(
        0xF940_0064,  #        ldr x4, [x3]
        0xF940_0C65,  #        ldr x5, [x3, #24]
        0xEB05_009F,  #        cmp x4, x5
        0x5400_00A2,  #        b.cs full
        0x2A02_03E2,  #        mov w2, w2
        0xA881_0881,  #        stp x1, x2, [x4], #16
        0xF900_0064,  #        str x4, [x3]
        0xD65F_03C0,  #        ret
        0x5280_0024,  # full:  mov w4, #0x1
        0xB900_0864,  #        str w4, [x3, #8]
        0xF940_0864,  #        ldr x4, [x3, #16]
        0xD61F_0080,  #        br x4
    ),
}

#: Notes (address, size, address of the block before) of new blocks. Called with (engine, uc_tb of the new block,
#: uc_tb of the one before, Log). It is not called again for a block, so it stops when the last row is in use.
NEW_BLOCK: Final[Mapping[str, bytes]] = {
    "x86_64": bytes.fromhex(
        "488b01"  #        mov rax, [rcx]
        "4c8b06"  #        mov r8, [rsi]
        "4c8900"  #        mov [rax], r8
        "440fb7460a"  #        movzx r8d, word [rsi+0xa]
        "4c894008"  #        mov [rax+0x8], r8
        "4c8b02"  #        mov r8, [rdx]
        "4c894010"  #        mov [rax+0x10], r8
        "4883c018"  #        add rax, 0x18
        "488901"  #        mov [rcx], rax
        "483b4118"  #        cmp rax, [rcx+0x18]
        "7301"  #        jae full
        "c3"  #        ret
        "c7410801000000"  # full:  mov dword [rcx+0x8], 0x1
        "ff6110"  #        jmp [rcx+0x10]
    ),
    "aarch64": _words(
        0xF940_0064,  #        ldr x4, [x3]
        0xF940_0C65,  #        ldr x5, [x3, #24]
        0xF940_0026,  #        ldr x6, [x1]
        0x7940_1427,  #        ldrh w7, [x1, #10]
        0xF940_0048,  #        ldr x8, [x2]
        0xA881_1C86,  #        stp x6, x7, [x4], #16
        0xF800_8488,  #        str x8, [x4], #8
        0xF900_0064,  #        str x4, [x3]
        0xEB05_009F,  #        cmp x4, x5
        0x5400_0042,  #        b.cs full
        0xD65F_03C0,  #        ret
        0x5280_0024,  # full:  mov w4, #0x1
        0xB900_0864,  #        str w4, [x3, #8]
        0xF940_0864,  #        ldr x4, [x3, #16]
        0xD61F_0080,  #        br x4
    ),
}

#: Notes (address, size, kind) of accesses. Called with (engine, kind, address, size, value, Log). A stop here
#: would not be exact, so what exceeds the log is lost; it is only used for single instructions.
ACCESS: Final[Mapping[str, bytes]] = {
    "x86_64": bytes.fromhex(
        "498b01"  #        mov rax, [r9]
        "493b4118"  #        cmp rax, [r9+0x18]
        "7318"  #        jae over
        "488910"  #        mov [rax], rdx
        "4863c9"  #        movsxd rcx, ecx
        "4863f6"  #        movsxd rsi, esi
        "48894808"  #        mov [rax+0x8], rcx
        "48897010"  #        mov [rax+0x10], rsi
        "4883c018"  #        add rax, 0x18
        "498901"  #        mov [r9], rax
        "c3"  # over:  ret
    ),
    "aarch64": _words(
        0xF940_00A6,  #        ldr x6, [x5]
        0xF940_0CA7,  #        ldr x7, [x5, #24]
        0xEB07_00DF,  #        cmp x6, x7
        0x5400_00C2,  #        b.cs over
        0x9340_7C63,  #        sxtw x3, w3
        0x9340_7C21,  #        sxtw x1, w1
        0xA881_0CC2,  #        stp x2, x3, [x6], #16
        0xF800_84C1,  #        str x1, [x6], #8
        0xF900_00A6,  #        str x6, [x5]
        0xD65F_03C0,  # over:  ret
    ),
}

#: Notes (end of the block before, address, size) when that pair of blocks is not in a table of pairs seen lately.
#: Called with (engine, address, size, Edges).
EDGE: Final[Mapping[str, bytes]] = {
    "x86_64": bytes.fromhex(
        "89d2"  #        mov edx, edx
        "4c8d1416"  #        lea r10, [rsi+rdx*1]
        "488b4120"  #        mov rax, [rcx+0x20]
        "4c895120"  #        mov [rcx+0x20], r10
        "4989c0"  #        mov r8, rax
        "4c0faf4128"  #        imul r8, [rcx+0x28]
        "4901f0"  #        add r8, rsi
        "4c0faf4128"  #        imul r8, [rcx+0x28]
        "49c1e830"  #        shr r8, 0x30
        "49c1e004"  #        shl r8, 0x4
        "4c034130"  #        add r8, [rcx+0x30]
        "493900"  #        cmp [r8], rax
        "7507"  #        jne fresh
        "49397008"  #        cmp [r8+0x8], rsi
        "7501"  #        jne fresh
        "c3"  #        ret
        "4c8b09"  # fresh: mov r9, [rcx]
        "4c3b4918"  #        cmp r9, [rcx+0x18]
        "731a"  #        jae full
        "498900"  #        mov [r8], rax
        "49897008"  #        mov [r8+0x8], rsi
        "498901"  #        mov [r9], rax
        "49897108"  #        mov [r9+0x8], rsi
        "49895110"  #        mov [r9+0x10], rdx
        "4983c118"  #        add r9, 0x18
        "4c8909"  #        mov [rcx], r9
        "c3"  #        ret
        "48894120"  # full:  mov [rcx+0x20], rax
        "c7410801000000"  #        mov dword [rcx+0x8], 0x1
        "ff6110"  #        jmp [rcx+0x10]
    ),
    "aarch64": _words(
        0xA942_1464,  #        ldp x4, x5, [x3, #32]
        0x2A02_03E2,  #        mov w2, w2
        0x8B02_002A,  #        add x10, x1, x2
        0xF900_106A,  #        str x10, [x3, #32]
        0x9B05_7C86,  #        mul x6, x4, x5
        0x8B01_00C6,  #        add x6, x6, x1
        0x9B05_7CC6,  #        mul x6, x6, x5
        0xD370_FCC6,  #        lsr x6, x6, #48
        0xF940_1867,  #        ldr x7, [x3, #48]
        0x8B06_10E7,  #        add x7, x7, x6, lsl #4
        0xA940_24E8,  #        ldp x8, x9, [x7]
        0xEB04_011F,  #        cmp x8, x4
        0x5400_0081,  #        b.ne fresh
        0xEB01_013F,  #        cmp x9, x1
        0x5400_0041,  #        b.ne fresh
        0xD65F_03C0,  #        ret
        0xF940_0068,  # fresh: ldr x8, [x3]
        0xF940_0C69,  #        ldr x9, [x3, #24]
        0xEB09_011F,  #        cmp x8, x9
        0x5400_00C2,  #        b.cs full
        0xA900_04E4,  #        stp x4, x1, [x7]
        0xA881_0504,  #        stp x4, x1, [x8], #16
        0xF800_8502,  #        str x2, [x8], #8
        0xF900_0068,  #        str x8, [x3]
        0xD65F_03C0,  #        ret
        0xF900_1064,  # full:  str x4, [x3, #32]
        0x5280_0024,  #        mov w4, #0x1
        0xB900_0864,  #        str w4, [x3, #8]
        0xF940_0864,  #        ldr x4, [x3, #16]
        0xD61F_0080,  #        br x4
    ),
}


HOOKS: Final = {"place": PLACE, "log": LOG, "new block": NEW_BLOCK, "access": ACCESS, "edge": EDGE}


@functools.cache
def event_hook(name: str) -> int:
    """The address of one of HOOKS. Raises MachineError on hosts that have none."""
    if stop_hook() is None:
        raise MachineError(f"events cannot be reported exactly on this host ({platform.machine()})")
    return executable(HOOKS[name][platform.machine()])


class Places(ctypes.Structure):
    """The data of PLACE: a set of addresses, as a table with open addressing and linear probing."""

    _fields_ = (
        ("skip", ctypes.c_uint64),  #: the hook lets this address pass once, and forgets it
        ("stopped", ctypes.c_int32),  #: set when the hook has stopped the engine
        ("stop", ctypes.c_void_p),  #: the address of uc_emu_stop
        ("table", ctypes.c_void_p),  #: of complements of addresses; 0: unused
        ("mask", ctypes.c_uint64),  #: the table's size in bytes less 8
        ("multiplier", ctypes.c_uint64),
        ("hit", ctypes.c_uint64),  #: where it has stopped
    )

    skip: int
    stopped: int
    hit: int
    table: int | None
    mask: int

    def fill(self, addresses: Collection[int]) -> None:
        """Make the set that of `addresses`."""
        size = 16
        while size < 4 * len(addresses):
            size *= 2
        words = np.zeros(size, np.uint64)
        for address in addresses:
            place = (address * MULTIPLIER & _NOWHERE) >> PLACE_SHIFT & (8 * size - 8)
            while words[place // 8]:
                place = place + 8 & (8 * size - 8)
            words[place // 8] = address ^ _NOWHERE
        self._words = words  # kept alive
        self.table, self.mask, self.multiplier = int(words.ctypes.data), 8 * size - 8, MULTIPLIER
        self.skip = _NOWHERE


class Log(ctypes.Structure):
    """The data of LOG, NEW_BLOCK and ACCESS: a buffer of rows."""

    _fields_ = (
        ("next", ctypes.c_void_p),  #: where the next row goes
        ("stopped", ctypes.c_int32),  #: set when the hook has stopped the engine because the log is full
        ("stop", ctypes.c_void_p),
        ("end", ctypes.c_void_p),  #: end of the buffer
        ("before", ctypes.c_uint64),  #: EDGE: the end of the block before; 0: none
        ("multiplier", ctypes.c_uint64),
        ("table", ctypes.c_void_p),  #: EDGE: 65536 pairs
    )

    next: int
    stopped: int
    before: int
    table: int

    def prepare(self, rows: int, columns: int, *, pairs: bool = False) -> None:
        """Allocate the buffer, with some spare rows behind its end; `pairs`: with the table of EDGE."""
        self._rows: NDArray[np.uint64] = np.zeros((rows + 64, columns), np.uint64)
        self._width = 8 * columns
        self._start = self.next = int(self._rows.ctypes.data)
        self.end = self._start + self._width * rows
        self.multiplier = MULTIPLIER
        if pairs:
            self._pairs = np.full((1 << 16, 2), _NOWHERE, np.uint64)
            self.table = int(self._pairs.ctypes.data)

    def __len__(self) -> int:
        return int(self.next - self._start) // self._width

    @property
    def full(self) -> bool:
        return bool(self.next >= self.end)

    def last(self) -> tuple[int, ...] | None:
        """The last row."""
        return tuple(self._rows[len(self) - 1].tolist()) if len(self) else None

    def drop_last(self) -> None:
        self.next -= self._width

    def change_last(self, column: int, value: int) -> None:
        self._rows[len(self) - 1, column] = value

    def append(self, *row: int) -> None:
        """Add a row; there are spare ones when the log is full."""
        self._rows[len(self)] = row
        self.next += self._width

    def take(self) -> NDArray[np.uint64]:
        """A copy of the rows, which are then forgotten."""
        rows = self._rows[: len(self)].copy()
        self.next, self.stopped = self._start, 0
        return rows

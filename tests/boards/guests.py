"""Boards and small guest programs for tests."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from emu.boards import Board, Device, Ram, Rom
from emu.boards.cortex_m import CortexM
from emu.boards.cortex_m.semihosting import Semihosting

ROM, RAM, STACK = 0x0000_0000, 0x2000_0000, 0x2000_1000
CODE = ROM + 0x200
#: Instructions of Thumb code.
NOP, WFI, WFE, SEV, YIELD, CPSID, CPSIE = 0xBF00, 0xBF30, 0xBF20, 0xBF40, 0xBF10, 0xB672, 0xB662
HERE = 0xE7FE  #: b .


def board(
    code: list[int],
    devices: Mapping[int, Device] | None = None,
    *,
    cpu: str | CortexM = "cortex-m3",
    handlers: Mapping[int, list[int]] | None = None,
) -> Board:
    """A board that runs `code` (halfwords) after its reset; `handlers` by exception number follow it."""
    made = Board(cpu, memory=[Rom(ROM, 0x4000), Ram(RAM, 0x4000)], devices=devices)
    image, vectors = halfwords(code), [STACK, CODE | 1] + [0] * 62
    image += bytes(-len(image) % 4)
    for exception, handler in (handlers or {}).items():
        vectors[exception] = CODE + len(image) | 1
        image += halfwords(handler)
        image += bytes(-len(image) % 4)
    made.load(struct.pack("<64I", *vectors) + bytes(0x100) + image, at=ROM)
    made.reset()
    return made


def halfwords(code: list[int]) -> bytes:
    return struct.pack(f"<{len(code)}H", *code)


def load(register: int, value: int) -> list[int]:
    """movw, movt: a register gets a 32-bit constant."""
    return [
        word
        for top, part in ((0xF240, value & 0xFFFF), (0xF2C0, value >> 16))
        for word in _move(top, register, part)
    ]


def _move(top: int, register: int, part: int) -> list[int]:
    return [top | part >> 12 | (part >> 11 & 1) << 10, (part >> 8 & 7) << 12 | register << 8 | part & 0xFF]


def ldr(register: int, base: int, offset: int = 0) -> int:
    return 0x6800 | offset // 4 << 6 | base << 3 | register


def store(register: int, base: int, offset: int = 0) -> int:
    return 0x6000 | offset // 4 << 6 | base << 3 | register


def console(cpu: str) -> CortexM:
    return CortexM(cpu, semihosting=Semihosting())

"""Breakpoints at which a hook before the instruction is not enough."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from emu.cpu.instruction_sizes import SIZES
from relink.errors import AddressSpaceError

Read = Callable[[int, int], bytes]

_LEGACY_PREFIXES: Final = frozenset(b"\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3")
_STRING: Final = frozenset([*range(0x6C, 0x70), *range(0xA4, 0xA8), *range(0xAA, 0xB0)])


def it_start(address: int, read: Read) -> int | None:
    """The IT instruction whose block the instruction at `address` would be in, if this is Thumb code.

    In such a block Unicorn stops at its end only (Arm ARM, "IT": a block of one to four instructions). A wrong
    guess is harmless.
    """
    for start in range(address - 2, address - 18, -2):
        try:
            code = read(start, address - start)
        except AddressSpaceError:
            return None
        if code[1] != 0xBF or not (mask := code[0] & 15):
            continue
        at = 2
        for _ in range(4 - ((mask & -mask).bit_length() - 1)):
            if at == len(code):
                return start
            if at > len(code) - 2:
                break
            at += SIZES["arm"](code[at : at + 2].ljust(4, b"\0"), True)
    return None


def repeated_size(address: int, read: Read) -> int:
    """x86: the size of the instruction at `address` if it is a string instruction that repeats, else 0.

    It comes to its own address again for each iteration.
    """
    try:
        code = read(address, 16)
    except AddressSpaceError:
        return 0
    size = 0
    while size < len(code) - 2 and code[size] in _LEGACY_PREFIXES:
        size += 1
    repeats = not {0xF2, 0xF3}.isdisjoint(code[:size])
    if code[size] & 0xF0 == 0x40:  # REX; on i386 an instruction
        size += 1
    return size + 1 if repeats and code[size] in _STRING else 0

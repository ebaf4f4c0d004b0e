"""The flags of x86's integer arithmetic, for instructions that are computed here (Intel SDM volume 1, 3.4.3.1)."""

from __future__ import annotations

from typing import Final, Protocol

_CARRY, _PARITY, _ADJUST, _ZERO, _SIGN, _OVERFLOW = 1, 4, 0x10, 0x40, 0x80, 0x800
_STATUS: Final = _CARRY | _PARITY | _ADJUST | _ZERO | _SIGN | _OVERFLOW


class Registers(Protocol):
    def read_register(self, name: str) -> int: ...
    def write_register(self, name: str, value: int) -> None: ...


def of_difference(first: int, second: int, size: int) -> int:
    """The status flags of first - second, unsigned numbers of `size` bytes."""
    top = 1 << 8 * size - 1
    result = first - second & 2 * top - 1
    flags = _CARRY if first < second else 0
    flags |= 0 if (result & 0xFF).bit_count() & 1 else _PARITY
    flags |= (first ^ second ^ result) & _ADJUST
    flags |= 0 if result else _ZERO
    flags |= _SIGN if result & top else 0
    return flags | (_OVERFLOW if (first ^ second) & (first ^ result) & top else 0)


def set_flags(guest: Registers, bits: int, flags: int) -> None:
    """Write the status flags of a CPU in a mode of `bits`."""
    name = "rflags" if bits == 64 else "eflags"
    guest.write_register(name, guest.read_register(name) & ~_STATUS | flags)

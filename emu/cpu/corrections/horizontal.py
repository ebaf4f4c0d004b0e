"""SSSE3's horizontal sums and differences of a register with itself: Unicorn reads lanes that it has already
written.

Source: Intel SDM volume 2, PHADDW, PHADDSW, PHSUBW, PHSUBSW.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol


class Registers(Protocol):
    def read_register(self, name: str) -> int: ...
    def write_register(self, name: str, value: int) -> None: ...


class _Operation(NamedTuple):
    bits: int  #: bits of a lane
    subtracts: bool
    saturates: bool


#: Third opcode byte, after 0f 38.
OPERATIONS: Final[Mapping[int, _Operation]] = {
    0x01: _Operation(16, False, False),
    0x02: _Operation(32, False, False),
    0x03: _Operation(16, False, True),
    0x05: _Operation(16, True, False),
    0x06: _Operation(32, True, False),
    0x07: _Operation(16, True, True),
}


def execute(guest: Registers, name: str, opcode: int) -> None:
    """Execute the instruction with a 128-bit register as both operands."""
    bits, subtracts, saturates = OPERATIONS[opcode]
    value, mask, half = guest.read_register(name), (1 << bits) - 1, 1 << bits - 1
    lanes = [((value >> at & mask) ^ half) - half for at in range(0, 128, bits)]
    result = 0
    for number, (first, second) in enumerate(zip(lanes[::2], lanes[1::2], strict=True)):
        sum_ = first - second if subtracts else first + second
        if saturates:
            sum_ = min(max(sum_, -half), half - 1)
        result |= (sum_ & mask) << bits * number
    guest.write_register(name, result | result << 64)

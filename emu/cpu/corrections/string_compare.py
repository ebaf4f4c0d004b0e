"""pcmpestri, pcmpestrm, pcmpistri and pcmpistrm of SSE4.2: Unicorn misses a partial match at the end, and gets
lengths in registers wrong.

Source: Intel SDM volume 2, 4.1 ("Imm8 Control Byte Operation"), and each instruction.
"""

from __future__ import annotations

from typing import Protocol

_EQUAL_ANY, _RANGES, _EQUAL_EACH = range(3)  # 3 is "equal ordered"
_CF, _PF, _AF, _ZF, _SF, _OF = 1, 4, 0x10, 0x40, 0x80, 0x800


class Registers(Protocol):
    def read_register(self, name: str) -> int: ...
    def write_register(self, name: str, value: int) -> None: ...


def _elements(bits: int, control: int) -> list[int]:
    """The elements of a vector: bytes or words, signed or not."""
    size = 2 if control & 1 else 1
    data = bits.to_bytes(16, "little")
    return [int.from_bytes(data[at : at + size], "little", signed=bool(control & 2)) for at in range(0, 16, size)]


def _implicit_length(elements: list[int]) -> int:
    return elements.index(0) if 0 in elements else len(elements)


def _intermediate(first: list[int], length1: int, second: list[int], length2: int, mode: int) -> int:
    """IntRes1: a bit for each element of the second vector."""
    count, result = len(second), 0
    for j in range(count):
        valid = j < length2
        if mode == _EQUAL_ANY:
            bit = valid and second[j] in first[:length1]
        elif mode == _RANGES:
            pairs = zip(first[: length1 & ~1 : 2], first[1:length1:2], strict=False)
            bit = valid and any(low <= second[j] <= high for low, high in pairs)
        elif mode == _EQUAL_EACH:
            bit = first[j] == second[j] if valid and j < length1 else not valid and j >= length1
        else:  # the needle matches up to the end of the vector
            bit = all(j + i < length2 and first[i] == second[j + i] for i in range(min(length1, count - j)))
        result |= bit << j
    return result


def compare(
    registers: Registers, opcode: int, control: int, first: int, second: int, *, wide: bool, prefix: str
) -> None:
    """Run 66 0F 3A `opcode` (60 to 63) on two vectors.

    `wide`: lengths have 64 bits; `prefix` is that of register names ("r", "e").
    """
    one, two = _elements(first, control), _elements(second, control)
    if opcode & 2:
        length1, length2 = _implicit_length(one), _implicit_length(two)
    else:
        names = (f"{prefix}ax", f"{prefix}dx")
        length1, length2 = (_explicit_length(registers.read_register(name), len(one), wide) for name in names)
    mode, count = control >> 2 & 3, len(two)
    result = _intermediate(one, length1, two, length2, mode)
    negated = (1 << count) - 1 if not control & 0x20 else (1 << length2) - 1
    result ^= negated if control & 0x10 else 0
    _put(registers, opcode, control, result, count, prefix)
    flags = (_CF if result else 0) | (_ZF if length2 < count else 0) | (_SF if length1 < count else 0)
    flags |= _OF if result & 1 else 0
    name = f"{prefix}flags"
    kept = registers.read_register(name) & ~(_CF | _PF | _AF | _ZF | _SF | _OF)
    registers.write_register(name, kept | flags)


def _explicit_length(value: int, count: int, wide: bool) -> int:
    bits = 64 if wide else 32
    value &= (1 << bits) - 1
    value -= (value >> bits - 1) << bits
    return min(abs(value), count)


def _put(registers: Registers, opcode: int, control: int, result: int, count: int, prefix: str) -> None:
    """The index into ECX, or the mask into XMM0."""
    if opcode & 1:
        last = control & 0x40
        index = count if not result else result.bit_length() - 1 if last else (result & -result).bit_length() - 1
        registers.write_register(f"{prefix}cx", index)
        return
    mask = result
    if control & 0x40:
        size = 128 // count
        mask = sum(((1 << size) - 1) << size * j for j in range(count) if result >> j & 1)
    registers.write_register("xmm0", mask)

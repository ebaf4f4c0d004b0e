"""The fields that relocations write. `read` and `write` of a field are inverse.

A field works on arrays: `read` decodes raw unsigned words into addends, `fits` tells which values can be stored,
`write` merges values into raw words. The arrays are uint64 throughout; a negative value is its two's complement.

`Word` is a whole word of data. `Bits` is an immediate scattered over an instruction, written as the ISA manual
draws it: `Bits("imm[20|10:1|11|19:12] 12", Range.SIGNED)` is RISC-V's J-type, whose low 12 bits it leaves alone.
`Pair` is a high part in one instruction and a low part in the next.
"""

from __future__ import annotations

import enum
import re
from typing import Protocol

import numpy as np

from relink.arrays import U64, Bools
from relink.records import cached_property, dataclass


class Range(enum.Enum):
    """The range of values that a field accepts."""

    WRAP = "any value, truncated to the field"
    SIGNED = "-2^(n-1) … 2^(n-1)-1"
    UNSIGNED = "0 … 2^n-1"
    EITHER = "-2^(n-1) … 2^n-1"


def sign_extended(value: U64, bits: int) -> U64:
    """The low `bits` of each value as a signed number, in two's complement."""
    sign = np.uint64(1 << (bits - 1))
    return ((value & np.uint64((1 << bits) - 1)) ^ sign) - sign


def in_range(value: U64, bits: int, range_: Range) -> Bools | bool:
    """Which values `bits` bits can hold; True where all can."""
    if range_ is Range.WRAP:
        return True
    half, full = np.uint64(1 << (bits - 1)), np.uint64(1 << bits)
    if range_ is Range.SIGNED:
        return value + half < full
    if range_ is Range.UNSIGNED:
        return value < full
    return value + half < full + half


class Field(Protocol):
    """The interface of all fields. Raw words are little-endian and have `size` bytes."""

    @property
    def size(self) -> int:
        """Size in bytes of the field's word or instructions."""

    @property
    def description(self) -> str:
        """The accepted values, for error messages and documentation."""

    @property
    def keeps_raw(self) -> bool:
        """Whether `write` needs the previous word."""

    def read(self, raw: U64) -> U64:
        """The addend a REL entry keeps in place: sign-extended to 64 bits where the field is signed."""

    def fits(self, value: U64) -> Bools | bool:
        """Which of `value` (two's complement) the field can hold; True when it holds any."""

    def write(self, raw: U64, value: U64) -> U64:
        """The word after storing `value`."""


@dataclass(frozen=True, slots=True)
class Word:
    """A whole little-endian word of 1, 2, 4 or 8 bytes."""

    size: int  #: bytes
    range: Range = Range.WRAP

    @property
    def bits(self) -> int:
        return 8 * self.size

    @property
    def description(self) -> str:
        return f"{self.bits} bits ({self.range.value})"

    @property
    def keeps_raw(self) -> bool:
        return False

    def read(self, raw: U64) -> U64:
        """The addend a REL entry keeps in place: sign-extended to 64 bits."""
        return raw if self.size == 8 else sign_extended(raw, self.bits)

    def fits(self, value: U64) -> Bools | bool:
        """Which of `value` (two's complement) the field can hold; True when it holds any."""
        return True if self.size == 8 else in_range(value, self.bits, self.range)

    def write(self, raw: U64, value: U64) -> U64:
        """The word after storing `value`; `raw` is replaced completely."""
        return value if self.size == 8 else value & np.uint64((1 << self.bits) - 1)


word8 = Word(1, Range.EITHER)
word16 = Word(2, Range.EITHER)
word32 = Word(4, Range.EITHER)
word64 = Word(8)
#: A word with an address of a 32-bit ISA: addresses wrap around.
address32 = Word(4, Range.WRAP)
signed32 = Word(4, Range.SIGNED)
unsigned32 = Word(4, Range.UNSIGNED)


# ---------------------------------------------------------------- instruction fields

_TOKEN = r"imm\[([0-9:|]+)\]|([0-9]+)"


@dataclass(frozen=True)
class Bits:
    """An immediate scattered over one instruction.

    `diagram` reads from the most significant bit to the least, as ISA manuals draw encodings: `imm[hi:lo|…]` are
    bits of the value, a bare number is a count of opcode bits, which are kept. The widths must add up to 8, 16, 32
    or 64.

    Bits of the value above the highest one drawn must be a sign or zero extension, as `range` says. Bits below the
    lowest one drawn must be zero, unless `drops_low`: then the field is a high part, and `rounding` is added first
    (0x800 when the low part is a signed 12-bit field).
    """

    diagram: str
    range: Range
    drops_low: bool = False
    rounding: int = 0
    halfwords: bool = False  #: Thumb: the diagram's upper half is the halfword at the lower address

    @cached_property
    def pieces(self) -> tuple[tuple[int, int, int], ...]:
        """(lowest bit in the instruction, width, lowest bit in the value) of each run of immediate bits."""
        runs: list[tuple[int, int | None]] = []  # (width, lowest bit of the value or None), from the top
        for immediate, skipped in re.findall(_TOKEN, self.diagram):
            if skipped:
                runs.append((int(skipped), None))
            for part in immediate.split("|") if immediate else ():
                high, _, low = part.partition(":")
                runs.append((int(high) - int(low or high) + 1, int(low or high)))
        position = sum(width for width, _ in runs)
        if position not in (8, 16, 32, 64):
            raise ValueError(f"the bits of {self.diagram!r} add up to {position}")
        pieces = []
        for width, low in runs:
            position -= width
            if low is not None:
                pieces.append((position, width, low))
        return tuple(pieces)

    @cached_property
    def size(self) -> int:
        return sum(int(s) if s else _width(i) for i, s in re.findall(_TOKEN, self.diagram)) // 8

    @cached_property
    def top(self) -> int:
        """The number of value bits the field spans, low zeros included."""
        return max(low + width for _, width, low in self.pieces)

    @cached_property
    def align(self) -> int:
        """Values must be multiples of this (1 when low bits are dropped)."""
        return 1 if self.drops_low else 1 << min(low for _, _, low in self.pieces)

    @cached_property
    def mask(self) -> int:
        """The instruction bits that the field writes."""
        return sum(((1 << width) - 1) << position for position, width, _ in self.pieces)

    @property
    def description(self) -> str:
        aligned = f", multiples of {self.align}" if self.align > 1 else ""
        return f"{self.top} bits ({self.range.value}{aligned})"

    @property
    def keeps_raw(self) -> bool:
        return True

    def read(self, raw: U64) -> U64:
        """The value in the instruction; dropped low bits read as zero."""
        raw = self._swapped(raw)
        value = np.zeros_like(raw)
        for position, width, low in self.pieces:
            part = (raw >> np.uint64(position)) & np.uint64((1 << width) - 1)
            value |= part << np.uint64(low)
        return value if self.range is Range.UNSIGNED or self.top >= 64 else sign_extended(value, self.top)

    def fits(self, value: U64) -> Bools | bool:
        value = value + np.uint64(self.rounding)
        held = True if self.top >= 64 else in_range(value, self.top, self.range)
        if self.align == 1:
            return held
        aligned: Bools = (value & np.uint64(self.align - 1)) == 0
        return aligned & held

    def write(self, raw: U64, value: U64) -> U64:
        raw, value = self._swapped(raw), value + np.uint64(self.rounding)
        word = raw & np.uint64(~self.mask & ((1 << 64) - 1))
        for position, width, low in self.pieces:
            part = (value >> np.uint64(low)) & np.uint64((1 << width) - 1)
            word |= part << np.uint64(position)
        return self._swapped(word)

    def _swapped(self, raw: U64) -> U64:
        """Swap the halfwords of a Thumb instruction: the most significant one comes first, in either byte
        order.
        """
        if not self.halfwords:
            return raw
        return (raw >> np.uint64(16)) | ((raw & np.uint64(0xFFFF)) << np.uint64(16))


def _width(immediate: str) -> int:
    total = 0
    for part in immediate.split("|"):
        high, _, low = part.partition(":")
        total += int(high) - int(low or high) + 1
    return total


@dataclass(frozen=True)
class Pair:
    """Two adjacent instructions: the first has the high part of the value, the second the low part. `fits` is that
    of the high part.
    """

    high: Bits
    low: Bits

    @property
    def size(self) -> int:
        return self.high.size + self.low.size

    @property
    def description(self) -> str:
        return self.high.description

    @property
    def keeps_raw(self) -> bool:
        return True

    def read(self, raw: U64) -> U64:
        first, second = self._split(raw)
        return self.high.read(first) + self.low.read(second)

    def fits(self, value: U64) -> Bools | bool:
        aligned: Bools = (value & np.uint64(self.low.align - 1)) == 0
        return aligned & self.high.fits(value)

    def write(self, raw: U64, value: U64) -> U64:
        first, second = self._split(raw)
        return self.high.write(first, value) | (self.low.write(second, value) << np.uint64(8 * self.high.size))

    def _split(self, raw: U64) -> tuple[U64, U64]:
        bits = np.uint64(8 * self.high.size)
        return raw & np.uint64((1 << 8 * self.high.size) - 1), raw >> bits


def address_bits(field: Field) -> int:
    """The number of bits of an absolute address that fit in `field`; 64 when all fit, or when the field does not
    hold addresses.
    """
    part = field.high if isinstance(field, Pair) else field
    if isinstance(part, Word):
        bits = part.bits
    elif isinstance(part, Bits):
        bits = part.top
    else:
        return 64
    if bits >= 64 or part.range is Range.WRAP:
        return 64
    return bits - 1 if part.range is Range.SIGNED else bits

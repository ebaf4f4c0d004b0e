"""What a relocation writes: fields of memory, each with a `read` and a `write` that are inverse.

A field works on whole arrays: `read` decodes raw unsigned words into addends, `fits` tells which values
may be stored, `write` merges values into raw words. The arrays are uint64 throughout; a negative value is
its two's complement. Instruction fields live beside `Word` and share its interface.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
Bools = NDArray[np.bool_]


class Range(enum.Enum):
    """Which values a field accepts."""

    WRAP = "any value, cut to the field"
    SIGNED = "-2^(n-1) … 2^(n-1)-1"
    UNSIGNED = "0 … 2^n-1"
    EITHER = "-2^(n-1) … 2^n-1"


@dataclass(frozen=True, slots=True)
class Word:
    """A whole little-endian word of 1, 2, 4 or 8 bytes."""

    size: int  #: bytes
    range: Range = Range.WRAP

    @property
    def bits(self) -> int:
        return 8 * self.size

    def read(self, raw: U64) -> U64:
        """The addend a REL entry keeps in place: sign-extended to 64 bits."""
        if self.size == 8:
            return raw
        sign = np.uint64(1 << (self.bits - 1))
        return (raw ^ sign) - sign

    def fits(self, value: U64) -> Bools | bool:
        """Which of `value` (two's complement) the field can hold; True when it holds any."""
        if self.size == 8 or self.range is Range.WRAP:
            return True
        half = np.uint64(1 << (self.bits - 1))
        full = np.uint64(1 << self.bits)
        if self.range is Range.SIGNED:
            return value + half < full
        if self.range is Range.UNSIGNED:
            return value < full
        return value + half < full + half

    def write(self, raw: U64, value: U64) -> U64:
        """The word after storing `value`; nothing of a whole word's `raw` survives."""
        return value if self.size == 8 else value & np.uint64((1 << self.bits) - 1)


word8 = Word(1, Range.EITHER)
word16 = Word(2, Range.EITHER)
word32 = Word(4, Range.EITHER)
word64 = Word(8)
#: A word as wide as an address of a 32-bit ISA: addresses wrap.
address32 = Word(4, Range.WRAP)
signed32 = Word(4, Range.SIGNED)
unsigned32 = Word(4, Range.UNSIGNED)

"""Arm's instruction fields that a bit diagram cannot describe.

- Many offsets are a magnitude with the sign elsewhere in the instruction: the U bit of a load, or the choice
  between ADD and SUB.
- T32's long branches store two bits of the offset combined with its sign.
- Bit 0 of a branch's target is its instruction set: it selects the instruction to write, and some branches cannot
  reach the other set.

Encodings are from the Arm Architecture Reference Manual (DDI 0406C, chapters A5, A6 and A8); reading and writing
follow AAELF32, section 5.6.1.4 "Static Arm relocations" and the two sections after it. Raw words are as in memory:
the first halfword of a 32-bit T32 instruction is the low one.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np

from relink.arch.fields import Bits, Field, Range, in_range
from relink.arch.single import Single, holds, of_field
from relink.arrays import U64, Bools
from relink.records import dataclass

_ONE, _ODD = np.uint64(1), np.uint64((1 << 64) - 2)
_32_BITS = np.uint64(0xFFFF_FFFF)


def _negative(value: U64) -> Bools:
    sign: Bools = (value >> np.uint64(63)) != 0
    return sign


# ---------------------------------------------------------------- fields over fields


_Inner = TypeVar("_Inner", bound=Field, covariant=True)


@dataclass(frozen=True)
class Over(Generic[_Inner]):
    """Base class of fields that change some methods of another field, `inner`."""

    inner: _Inner

    keeps_raw = True

    @property
    def size(self) -> int:
        return self.inner.size

    @property
    def description(self) -> str:
        return self.inner.description

    def read(self, raw: U64) -> U64:
        return self.inner.read(raw)

    def fits(self, value: U64) -> Bools | bool:
        return self.inner.fits(value)

    def write(self, raw: U64, value: U64) -> U64:
        return self.inner.write(raw, value)


# ---------------------------------------------------------------- parts of an address


@dataclass(frozen=True)
class Part(Over[Bits]):
    """The bits of a value from bit `shift` up; the addend is not shifted (MOVW, MOVT, v6-M's MOVS and ADDS).

    By this rule a MOVW and a MOVT for the same address have the same immediate: it is the addend of both, and each
    stores its half of the sum.
    """

    shift: int = 0
    range: Range = Range.WRAP

    @property
    def description(self) -> str:
        return f"{self.inner.top} bits from bit {self.shift} ({self.range.value})"

    def fits(self, value: U64) -> Bools | bool:
        return in_range(value, self.inner.top, self.range)

    def write(self, raw: U64, value: U64) -> U64:
        return self.inner.write(raw, value >> np.uint64(self.shift))

    def single(self) -> Single:
        size, read, _, write = of_field(self.inner)
        fits = holds(self.inner.top, self.range)
        return Single(size, read, fits, lambda raw, value: write(raw, value >> self.shift))


# ---------------------------------------------------------------- sign and magnitude


@dataclass(frozen=True)
class UpDown(Over[Field]):
    """A magnitude, and opcode bits that select addition (`up`) or subtraction (`down`)."""

    up: int
    down: int

    @property
    def description(self) -> str:
        return f"sign and {self.inner.description}"

    def read(self, raw: U64) -> U64:
        value = self.inner.read(raw)
        signed: U64 = np.where((raw & np.uint64(self.up | self.down)) == self.down, -value, value)
        return signed

    def fits(self, value: U64) -> Bools | bool:
        return self.inner.fits(np.where(_negative(value), -value, value))

    def write(self, raw: U64, value: U64) -> U64:
        down = _negative(value)
        kept = raw & np.uint64(0xFFFF_FFFF ^ (self.up | self.down))
        sign = np.where(down, np.uint64(self.down), np.uint64(self.up))
        return self.inner.write(kept | sign, np.where(down, -value, value) & _32_BITS)


def leading_group(value: U64) -> U64:
    """Gn of a residual Yn: the highest eight bits that an even rotation reaches ("Group relocations")."""
    length = np.frexp(value.astype(np.float64))[1]
    shift = np.maximum(length - 7, 0) // 2 * 2
    group: U64 = value & (np.uint64(0xFF) << shift.astype(np.uint64))
    return group


@dataclass(frozen=True)
class Rotated:
    """A32's modified immediate: eight bits, rotated. It stores a value's leading group."""

    checked: bool  #: whether the remainder after this group must be zero

    size = 4
    keeps_raw = True

    @property
    def description(self) -> str:
        return "eight bits at an even position" + ("" if self.checked else " (the rest is for other groups)")

    def read(self, raw: U64) -> U64:
        rotation = ((raw >> np.uint64(8)) & np.uint64(0xF)) * np.uint64(2)
        byte = raw & np.uint64(0xFF)
        value: U64 = (byte >> rotation | byte << (np.uint64(32) - rotation)) & _32_BITS
        return value

    def fits(self, value: U64) -> Bools | bool:
        if not self.checked:
            return True
        alone: Bools = (leading_group(value) == value) & (value <= _32_BITS)
        return alone

    def write(self, raw: U64, value: U64) -> U64:
        group = leading_group(value & _32_BITS)
        length = np.frexp(group.astype(np.float64))[1]
        half = np.maximum(length - 7, 0) // 2
        byte = group >> (2 * half).astype(np.uint64)
        rotation = ((16 - half) & 15).astype(np.uint64)
        word: U64 = (raw & np.uint64(0xFFFF_F000)) | (rotation << np.uint64(8)) | byte
        return word


@dataclass(frozen=True)
class Residual(Over[Field]):
    """The remainder of a magnitude after the `groups` leading groups that earlier instructions of a sequence
    store.
    """

    groups: int

    @property
    def description(self) -> str:
        return f"{self.inner.description} after {self.groups} group(s)" if self.groups else self.inner.description

    def of(self, value: U64) -> U64:
        for _ in range(self.groups):
            value = value ^ leading_group(value)
        return value

    def fits(self, value: U64) -> Bools | bool:
        return self.inner.fits(self.of(value))

    def write(self, raw: U64, value: U64) -> U64:
        return self.inner.write(raw, self.of(value))


# ---------------------------------------------------------------- branches


@dataclass(frozen=True)
class ArmCall:
    """A32's BL and BLX (A8.8.25); bit 0 of the target selects between them.

    BLX's H bit is bit 1 of the offset. Both are unconditional. The function that computes the value must check
    that the place holds one of them.
    """

    size = 4
    keeps_raw = True
    description = "26 bits (signed, multiples of 4, or of 2 plus 1 for a Thumb target)"

    def read(self, raw: U64) -> U64:
        half = np.where(raw >= _BLX, (raw >> np.uint64(23)) & np.uint64(2), np.uint64(0))
        offset: U64 = _BL_OFFSET.read(raw) | half
        return offset

    def fits(self, value: U64) -> Bools | bool:
        fits: Bools = ((value & np.uint64(3)) != 2) & np.asarray(in_range(value & _ODD, 26, Range.SIGNED))
        return fits

    def write(self, raw: U64, value: U64) -> U64:
        half = (value & np.uint64(2)) << np.uint64(23)
        kept = np.where(raw >= _BLX, _BL, raw)
        return _BL_OFFSET.write(np.where(value & _ONE, _BLX | half, kept), value)

    def single(self) -> Single:
        offset, near, bl, blx = of_field(_BL_OFFSET), holds(26, Range.SIGNED), int(_BL), int(_BLX)

        def write(raw: int, value: int) -> int:
            kept = bl if raw >= blx else raw
            return offset.write(blx | (value & 2) << 23 if value & 1 else kept, value)

        return Single(
            self.size,
            lambda raw: offset.read(raw) | (raw >> 23 & 2 if raw >= blx else 0),
            lambda value: value & 3 != 2 and near(value & ~1),
            write,
        )


_BL_OFFSET = Bits("8 imm[25:2]", Range.SIGNED)
_BL, _BLX = np.uint64(0xEB00_0000), np.uint64(0xFA00_0000)


@dataclass(frozen=True)
class LongOffset:
    """The 25-bit offset of T32's BL, BLX and B.W: bits 23 and 22 are stored as NOT(bit EOR sign) (A8.8.18, T4)."""

    size = 4
    keeps_raw = True

    @property
    def description(self) -> str:
        return _PLAIN_LONG.description

    def read(self, raw: U64) -> U64:
        return _PLAIN_LONG.read(_plain(raw))

    def fits(self, value: U64) -> Bools | bool:
        return _PLAIN_LONG.fits(value)

    def write(self, raw: U64, value: U64) -> U64:
        return _plain(_PLAIN_LONG.write(_plain(raw), value))

    def single(self) -> Single:
        size, read, fits, write = of_field(_PLAIN_LONG)

        def plain(raw: int) -> int:
            return raw ^ (0 if raw >> 10 & 1 else 1 << 29 | 1 << 27)

        return Single(size, lambda raw: read(plain(raw)), fits, lambda raw, value: plain(write(plain(raw), value)))


_PLAIN_LONG = Bits("5 imm[24] imm[21:12] 2 imm[23] 1 imm[22] imm[11:1]", Range.SIGNED, halfwords=True)


def _plain(raw: U64) -> U64:
    """Convert J1 and J2 to bits 23 and 22 of the offset, or back."""
    flip = (~raw >> np.uint64(10)) & _ONE
    exchanged: U64 = raw ^ (flip << np.uint64(29)) ^ (flip << np.uint64(27))
    return exchanged


@dataclass(frozen=True)
class ThumbCall:
    """T32's BL and BLX (A8.8.25); bit 0 of the target selects between them.

    BLX's offset is relative to the place's address rounded down to a word, so it is a multiple of 4.
    """

    size = 4
    keeps_raw = True
    description = "25 bits (signed, odd for a Thumb target, else multiples of 4)"

    def read(self, raw: U64) -> U64:
        return LONG_OFFSET.read(raw)

    def fits(self, value: U64) -> Bools | bool:
        aligned = ((value & _ONE) != 0) | ((value & np.uint64(2)) == 0)
        fits: Bools = aligned & np.asarray(in_range(value & _ODD, 25, Range.SIGNED))
        return fits

    def write(self, raw: U64, value: U64) -> U64:
        same_state = np.uint64(1 << 28)
        opcode = np.where(value & _ONE, raw | same_state, raw & ~same_state)
        return LONG_OFFSET.write(opcode, value)

    def single(self) -> Single:
        size, read, _, write = of_field(LONG_OFFSET)
        near, same_state = holds(25, Range.SIGNED), 1 << 28
        return Single(
            size,
            read,
            lambda value: value & 3 != 2 and near(value & ~1),
            lambda raw, value: write(raw | same_state if value & 1 else raw & ~same_state, value),
        )


LONG_OFFSET = LongOffset()


@dataclass(frozen=True)
class ToThumb(Over[Field]):
    """A T32 branch that cannot change the instruction set: its target must have bit 0 set, which is not stored."""

    @property
    def description(self) -> str:
        return f"{self.inner.description}, plus 1: a Thumb target"

    def fits(self, value: U64) -> Bools | bool:
        odd: Bools = (value & _ONE) != 0
        return odd & self.inner.fits(value & _ODD)

    def write(self, raw: U64, value: U64) -> U64:
        return self.inner.write(raw, value & _ODD)

    def single(self) -> Single:
        size, read, fits, write = of_field(self.inner)
        return Single(size, read, lambda v: v & 1 != 0 and fits(v ^ 1), lambda raw, v: write(raw, v & ~1))


@dataclass(frozen=True)
class Forward(Over[Bits]):
    """An offset that is never negative, although the addend may be -4, the PC bias (THM_PC8, THM_JUMP6)."""

    def read(self, raw: U64) -> U64:
        """((offset + 4) modulo the field) - 4, from "Addends and PC-bias compensation"."""
        four = np.uint64(4)
        return ((self.inner.read(raw) + four) & np.uint64((1 << self.inner.top) - 1)) - four


@dataclass(frozen=True)
class BranchFuture(Over[Bits]):
    """Armv8.1-M's BF…, a hint: replaced by a NOP when the target is out of range ("no errors are required")."""

    @property
    def description(self) -> str:
        return f"{self.inner.description}; else a NOP"

    def fits(self, value: U64) -> Bools | bool:
        return True

    def write(self, raw: U64, value: U64) -> U64:
        near = np.asarray(self.inner.fits(value & _ODD)) & ((value & _ONE) != 0)
        return np.where(near, self.inner.write(raw, value & _ODD), np.uint64(0x8000_F3AF))


# ---------------------------------------------------------------- instructions replaced whole


@dataclass(frozen=True)
class Rewrite:
    """An instruction of a sequence that is replaced by a shorter one. The value 1 means that `knows` accepts the
    instruction at the place. Each case is (mask, pattern, kept, replacement): a matching instruction is replaced
    except for its bits `kept`.
    """

    size: int
    cases: tuple[tuple[int, int, int, int], ...]

    keeps_raw = True
    description = "an instruction of a TLS descriptor's sequence"

    def knows(self, raw: U64) -> Bools:
        known = np.zeros(raw.shape, np.bool_)
        for mask, pattern, _, _ in self.cases:
            known |= (raw & np.uint64(mask)) == pattern
        return known

    def read(self, raw: U64) -> U64:
        return np.zeros_like(raw)

    def fits(self, value: U64) -> Bools | bool:
        known: Bools = value != 0
        return known

    def write(self, raw: U64, value: U64) -> U64:
        word = raw
        for mask, pattern, kept, replacement in self.cases:
            new = (raw & np.uint64(kept)) | np.uint64(replacement)
            word = np.where((raw & np.uint64(mask)) == pattern, new, word)
        return word

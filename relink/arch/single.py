"""One relocation at a time: a formula and its field as functions of Python's numbers.

The pages say what a type computes and where it is stored (`relink.arch.spec`, `relink.arch.fields`); the engine
evaluates both on arrays. For a handful of entries that is slow, so here the same text and the same pieces make
functions of single numbers. Values are two's complement in 64 bits, as in the arrays.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from relink.arch.fields import Bits, Field, Pair, Range, Word
from relink.arch.spec import Formula
from relink.arrays import U64
from relink.records.tuples import NamedTuple

_MASK = (1 << 64) - 1
#: The letters that functions of formulas take, in this order; B and the letters of thread-local storage are not.
LETTERS = ("S", "A", "P", "GOT", "G", "V")


class Single(NamedTuple):
    """A field for one word. `fits` and `write` take any two's complement value."""

    size: int  #: bytes
    read: Callable[[int], int]
    fits: Callable[[int], bool]
    write: Callable[[int, int], int]


def of_formula(formula: Formula) -> Callable[..., int] | None:
    """A function of the numbers `LETTERS`, whose result is to be taken modulo 2^64; None for other letters."""
    if not formula.letters <= {*LETTERS}:
        return None
    made: Callable[..., int] = eval(f"lambda {', '.join(LETTERS)}: {formula.text}", {"Page": _page})
    return made


def of_field(field: Field) -> Single:
    """The field for one word. One with rules of its own has a method `single` for it, which says the same of one
    word as its others say of arrays; else it is asked by arrays of one element.
    """
    made: Callable[[], Single] | None = getattr(field, "single", None)
    if made is not None:
        return made()
    if isinstance(field, Word):
        return _of_word(field)
    if isinstance(field, Bits):
        return _of_halfwords(_of_bits(field)) if field.halfwords else _of_bits(field)
    if isinstance(field, Pair) and not (field.high.halfwords or field.low.halfwords):
        return _of_pair(field)
    return Single(
        field.size,
        lambda raw: int(field.read(one(raw))[0]),
        lambda value: bool(np.all(field.fits(one(value)))),
        lambda raw, value: int(field.write(one(raw), one(value))[0]),
    )


def one(value: int) -> U64:
    """A value as an array."""
    return np.array([value & _MASK], np.uint64)


def signed(value: int, bits: int) -> int:
    """The low `bits` of a value as a signed number, in two's complement of 64 bits."""
    sign = 1 << bits - 1
    return ((value & (sign << 1) - 1 ^ sign) - sign) & _MASK


def _page(address: int) -> int:
    return address & ~0xFFF


def holds(bits: int, range_: Range) -> Callable[[int], bool]:
    """`relink.arch.fields.in_range` of one value."""
    half, full = 1 << bits - 1, 1 << bits
    if range_ is Range.WRAP:
        return lambda value: True
    if range_ is Range.SIGNED:
        return lambda value: (value + half & _MASK) < full
    if range_ is Range.UNSIGNED:
        return lambda value: value < full
    return lambda value: (value + half & _MASK) < full + half


def _of_word(word: Word) -> Single:
    bits = word.bits
    mask = (1 << bits) - 1
    fits = holds(bits, word.range) if bits < 64 else lambda value: True
    return Single(word.size, lambda raw: signed(raw, bits), fits, lambda raw, value: value & mask)


def _of_bits(bits: Bits) -> Single:
    pieces = [(position, (1 << width) - 1, low) for position, width, low in bits.pieces]
    top, rounding, unaligned = bits.top, bits.rounding, bits.align - 1
    kept, is_signed = ~bits.mask, bits.range is not Range.UNSIGNED and bits.top < 64
    held = holds(top, bits.range) if top < 64 else lambda value: True

    def read(raw: int) -> int:
        value = 0
        for position, mask, low in pieces:
            value |= (raw >> position & mask) << low
        return signed(value, top) if is_signed else value

    def fits(value: int) -> bool:
        value = value + rounding & _MASK
        return not value & unaligned and held(value)

    def write(raw: int, value: int) -> int:
        value, raw = value + rounding, raw & kept
        for position, mask, low in pieces:
            raw |= (value >> low & mask) << position
        return raw

    return Single(bits.size, read, fits, write)


def _of_halfwords(field: Single) -> Single:
    """The field of a Thumb instruction, whose upper half is the halfword at the lower address."""

    def swapped(raw: int) -> int:
        return raw >> 16 | (raw & 0xFFFF) << 16

    _, read, fits, write = field
    return Single(
        field.size, lambda raw: read(swapped(raw)), fits, lambda raw, value: swapped(write(swapped(raw), value))
    )


def _of_pair(pair: Pair) -> Single:
    high, low = _of_bits(pair.high), _of_bits(pair.low)
    shift, unaligned = 8 * high.size, pair.low.align - 1
    mask = (1 << shift) - 1
    return Single(
        pair.size,
        lambda raw: high.read(raw & mask) + low.read(raw >> shift) & _MASK,
        lambda value: not value & unaligned and high.fits(value),
        lambda raw, value: high.write(raw & mask, value) | low.write(raw >> shift, value) << shift,
    )

"""Operands for the instruction tests: edges and random values, from one seeded generator."""

from __future__ import annotations

import math
import random
import struct

INTEGERS = [
    0, 1, 2, 3, 31, 32, 33, 63, 64, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 1 << 24, (1 << 24) + 1, 1 << 31,
    (1 << 31) - 1, (1 << 32) - 1, (1 << 53) - 1, 1 << 53, (1 << 53) + 1, 1 << 63, (1 << 63) - 1, (1 << 64) - 1,
    (1 << 64) - 2, 0xFFFFFFFF80000000,
]  # fmt: skip

#: Ordinary values, ties, the ends of the integer ranges, and what their neighbours are.
VALUES = [
    0.0, 1.0, 0.5, 1.5, 2.5, 3.75, 3.0, 7.25, 0.1, 100.0, 123456.789, 1e10, 1e-10, 1e30, 1e-30, 1e-40, 1e300,
    1e-300, 2147483647.0, 2147483648.0, 2147483647.5, 4294967296.5, 9.3e18, 2.0**63, 2.0**62, 2.0**52 + 1,
    2.0**52 - 0.5, 2.0**23 - 0.5, 8388609.0, 0.49999999999999994, 5e-324, 2.0**-149, 2.0**-126, 2.0**-1022,
    3.4028234663852886e38, 1.7976931348623157e308, 4503599627370497.5, 0.99999994,
]  # fmt: skip

#: Patterns no Python float reaches safely: infinities, NaNs quiet and signaling, the ends of the subnormals.
PATTERNS = {
    "s": [
        0x7F800000,
        0x7FC00000,
        0x7FC12345,
        0x7F800001,
        0x7FA00000,
        0x7FFFFFFF,
        0x00000001,
        0x007FFFFF,
        0x00800000,
        0x00800001,
        0x7F7FFFFF,
    ],
    "d": [
        0x7FF0000000000000,
        0x7FF8000000000000,
        0x7FF8000012345678,
        0x7FF0000000000001,
        0x7FF4000000000000,
        0x7FFFFFFFFFFFFFFF,
        1,
        0x000FFFFFFFFFFFFF,
        0x0010000000000000,
        0x0010000000000001,
        0x7FEFFFFFFFFFFFFF,
    ],
}


def integer(rng: random.Random) -> int:
    choice = rng.random()
    if choice < 0.4:
        return rng.choice(INTEGERS)
    return rng.getrandbits(64 if choice < 0.7 else rng.randrange(1, 64))


def pattern(value: float, kind: str) -> int:
    """The bits of `value` in the format "s" or "d" (overflow: infinity)."""
    if kind == "d":
        return int.from_bytes(struct.pack("<d", value), "little")
    try:
        return int.from_bytes(struct.pack("<f", value), "little")
    except OverflowError:
        return 0x7F800000 | (0x80000000 if value < 0 else 0)


def floating(rng: random.Random, kind: str) -> int:
    """A 64-bit register image: of a single, under ones as a NaN-boxing machine would leave it."""
    if kind == "i":
        return integer(rng)
    choice = rng.random()
    width = 32 if kind == "s" else 64
    sign = rng.getrandbits(1) << width - 1
    if choice < 0.35:
        bits = pattern(rng.choice(VALUES), kind)
    elif choice < 0.55:
        bits = rng.choice(PATTERNS[kind])
    elif choice < 0.65:
        bits = pattern(float(rng.randrange(-2000, 2000)) / rng.choice((1, 2, 8)), kind)
    elif choice < 0.75:  # any exponent: overflow and underflow
        bits = rng.getrandbits(width - 1)
    else:  # near one another: cancellation, quotients around one
        bits = pattern(rng.uniform(-1000, 1000) * 10.0 ** rng.randrange(-6, 7), kind)
    bits ^= sign
    return bits | 0xFFFFFFFF00000000 if kind == "s" else bits


def value(bits: int, kind: str) -> float:
    """What a register image holds as "s" or "d"."""
    if kind == "s":
        return float(struct.unpack("<f", (bits & 0xFFFFFFFF).to_bytes(4, "little"))[0])
    return float(struct.unpack("<d", bits.to_bytes(8, "little"))[0])


def near_product(x: int, y: int, kind: str, rng: random.Random) -> int:
    """An addend that makes x * y + z hard: it cancels the product but for its last bits, or lies so far below
    (or above) it that it only decides a tie."""
    product = value(x, kind) * value(y, kind)
    precision = 24 if kind == "s" else 53
    distance = rng.choice((0, 0, 0, -1, 1, -precision - 1, -precision, precision, precision + 1))
    try:
        addend = math.ldexp(product, distance)
    except OverflowError:
        addend = product
    bits = pattern(addend, kind) ^ rng.getrandbits(1) << (31 if kind == "s" else 63)
    if rng.random() < 0.5:  # a power of two: half a unit of the other, exactly
        bits &= ~((1 << precision - 1) - 1)
    return bits + rng.choice((0, 0, -1, 1, 2)) & (1 << 64) - 1

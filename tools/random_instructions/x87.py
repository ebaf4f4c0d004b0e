"""Sequences of x87 instructions, on every kind of number, control word and register stack."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Final

from tools.random_instructions.layout import SLOT, VECTORS, number, put

GROUP: Final = "x87 sequence"
_FIRST: Final = range(0xD8, 0xE0)
_REGISTERS: Final = 0xC0  #: second bytes from here on name registers
#: Not tried: instructions that load or store the environment or control word, by bits 3 to 5 of the second byte.
_ENVIRONMENTS: Final = {0xD9: (4, 5, 6), 0xDB: (4, 6), 0xDD: (4, 5, 6)}
#: Behind D9: transcendental functions, right but not always hardware's last bit; remainders, which differ between
#: processors while they are partial; fstpnce, which no manual has.
_NOT_COMPARED: Final = (0xF0, 0xF1, 0xF2, 0xF3, 0xF9, 0xFB, 0xFE, 0xFF, 0xF5, 0xF8, *range(0xD8, 0xE0))
_OTHERS: Final = (b"\x9b", b"\x0f\x77")  #: fwait, emms
_HIGH: Final = 1 << 63


def _one(rng: Random) -> bytes:
    first = rng.choice(_FIRST)
    if rng.random() < 0.02:
        return rng.choice(_OTHERS)
    if rng.random() < 0.35:
        group = rng.randrange(8)
        if group in _ENVIRONMENTS.get(first, ()):
            return b""
        return bytes((first, 0x40 | group << 3 | 6, rng.choice((0, 0, 16, 32))))
    second = rng.randrange(_REGISTERS, 0x100)
    return b"" if first == 0xD9 and second in _NOT_COMPARED else bytes((first, second))


def codes(rng: Random, known: Callable[[bytes], bool]) -> Iterator[bytes]:
    """Sequences of one to eight instructions that are `known`, without end; operands in memory are at MEMORY."""
    while True:
        code, most = b"", rng.choice((3, 6, SLOT))
        while len(code) < most:
            one = _one(rng)
            if one and known(one):
                code += one
        yield code[:SLOT] if len(code) <= SLOT else code[: -len(one)]


def is_sequence(code: bytes) -> bool:
    """Whether code may be from here: begins with an x87 instruction."""
    return code[:1] in _OTHERS or (bool(code) and code[0] in _FIRST)


def extended(rng: Random) -> int:
    """A pattern of 80 bits: numbers of all sizes, and what is none."""
    fraction = rng.choice(
        (
            0,
            _HIGH,
            2**64 - 1,
            rng.getrandbits(64),
            rng.getrandbits(64) & -(1 << rng.randrange(64)),
            rng.getrandbits(64) >> rng.randrange(64),
            _HIGH | rng.getrandbits(rng.randrange(1, 64)),
            2**64 - (1 << rng.randrange(64)),
        )
    )
    near = rng.choice((0x3FFF, 0x3FFF, 0x3F81, 0x3C01, 0x407E, 0x43FE, 0x403E, 0x401E))
    exponent = rng.choice(
        (0, 0x7FFF, rng.randrange(1, 4), 0x7FFE - rng.randrange(70), rng.randrange(0x8000), near)
    )
    if rng.random() < 0.6:
        exponent = near + rng.randrange(-66, 67)
    if exponent and rng.random() < 0.95:
        fraction |= _HIGH
    return rng.getrandbits(1) << 79 | exponent << 64 | fraction


def fill(rng: Random, data: bytearray, memory: int) -> None:
    """The state of x87, and operands at an offset in `data`."""
    put(data, VECTORS, 2, 0x7F | rng.choice((3, 3, 3, 2, 2, 0, 0, 1)) << 8 | rng.randrange(4) << 10)
    put(data, VECTORS + 2, 2, rng.getrandbits(16) & 0x7F7F if rng.random() < 0.5 else rng.getrandbits(16) & 0x7F00)
    put(data, VECTORS + 4, 1, rng.choice((0xFF, 0xFF, 0, 0xF0, 0xF, rng.getrandbits(8), rng.getrandbits(8))))
    for n in range(8):
        put(data, VECTORS + 32 + 16 * n, 10, extended(rng))
    for at in range(memory, memory + 48, 16):
        kind = rng.randrange(4)
        if kind == 0:
            put(data, at, 10, extended(rng))
        elif kind == 1:
            put(data, at, 8, number(rng, 64))
        elif kind == 2:
            put(data, at, 4, number(rng, 32))
        else:
            put(data, at, 10, int(f"{rng.choice((0, 8))}{0:01}{rng.randrange(10**18):018}", 16))

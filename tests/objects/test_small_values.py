"""What the pages say of one place in numbers is what they say of arrays."""

from __future__ import annotations

import random

import numpy as np

from relink.arch import architecture
from relink.arch.single import one
from relink.arch.special import OneSite, for_one
from relink.relocate.few_of_object import _Site


def test_what_changes_values_says_the_same_of_numbers_and_arrays() -> None:
    """Of Arm's branches of all kinds, at all kinds of instructions."""
    rng, page = random.Random(0), architecture("arm")
    specials = {row.special for row in page.relocations.values()}
    found = [(special, alone) for special in specials if special and (alone := for_one(special))]
    assert len(found) == 4
    opcodes = 0xEB00_0001, 0xFA00_0001, 0xFB00_0001, 0xEA00_0001, 0x0B00_0001, 0xF800_F000, 0xE800_F000
    for special, alone in found:
        for opcode in (*opcodes, *(rng.getrandbits(32) for _ in range(8))):
            for _ in range(40):
                s, a = rng.choice((0, 1, rng.getrandbits(32))), rng.choice((0, -4, -8, rng.getrandbits(31)))
                place, function, value = rng.getrandbits(31) & ~1, rng.random() < 0.5, rng.getrandbits(64)
                letters = {"S": one(s), "A": one(a), "P": one(place)}
                buffer = np.frombuffer(opcode.to_bytes(4, "little"), np.uint8)
                site = _Site(buffer, 0, letters, function)
                number = alone(OneSite(opcode, s, a, place, function), value) & (1 << 64) - 1
                assert number == int(special(site, one(value))[0]), (special, hex(opcode), s, a, function)

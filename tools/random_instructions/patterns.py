"""Encodings of fixed-width ISAs: bits, and fields that name what may stand in them.

"1 . 0 01011 .. 0 g5 .*6 g5 g5"   0, 1: fixed; ".", ".*6": random bits; "g5": five bits chosen from the pool g
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from random import Random

Pools = Mapping[str, Sequence[int]]


def _tokens(pattern: str) -> list[tuple[str, int]]:
    """(bit, pool or ".", how many bits) of each part."""
    parts = re.findall(r"([a-z])(\d+)|(\.)\*(\d+)|([01.])", pattern)
    return [(pool or dots or bit, int(width or many or 1)) for pool, width, dots, many, bit in parts]


def random_word(pattern: str, pools: Pools, rng: Random) -> int:
    """A word that `pattern` allows."""
    word = 0
    for kind, size in _tokens(pattern):
        if kind in pools:
            value = rng.choice(pools[kind]) & (1 << size) - 1
        else:
            value = rng.getrandbits(size) if kind == "." else int(kind)
        word = word << size | value
    return word


def rows(text: str) -> tuple[tuple[str, str], ...]:
    """(group, pattern) of each line."""
    pairs = (line.split("|") for line in text.strip().splitlines())
    return tuple((group.strip(), pattern.strip()) for group, pattern in pairs)


def width(pattern: str) -> int:
    """Bits of a pattern."""
    return sum(size for _, size in _tokens(pattern))


def words(
    table: Sequence[tuple[str, str]], pools: Pools, rng: Random, count: int, only: str
) -> Iterator[tuple[str, int]]:
    """(group, word) of random rows of `table`, in which an entry is (group, pattern)."""
    rows = [row for row in table if only in row[0]]
    for group, pattern in rng.choices(rows, k=count):
        yield group, random_word(pattern, pools, rng)

"""Fields: write and read are inverse, and a range ends exactly where it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relink.arch.fields import Range, Word

SIZES = (1, 2, 4, 8)
WORDS = [Word(size, range_) for size in SIZES for range_ in Range]
any_word = pytest.mark.parametrize("word", WORDS, ids=lambda word: f"{word.range.name}{word.bits}")
U64 = st.integers(0, (1 << 64) - 1)


def array(*values: int) -> np.ndarray:
    return np.array([value % (1 << 64) for value in values], np.uint64)


def limits(word: Word) -> tuple[int, int]:
    """The lowest and the highest value, from the words of `Range` alone."""
    n = word.bits
    return {
        Range.SIGNED: (-(1 << n - 1), (1 << n - 1) - 1),
        Range.UNSIGNED: (0, (1 << n) - 1),
        Range.EITHER: (-(1 << n - 1), (1 << n) - 1),
        Range.WRAP: (-(1 << 63), (1 << 64) - 1),
    }[word.range]


def fits(word: Word, value: int) -> bool:
    return bool(np.all(word.fits(array(value))))


@any_word
@given(raw=U64, value=U64)
def test_what_is_written_is_read_back_sign_extended(word: Word, raw: int, value: int) -> None:
    mask = (1 << word.bits) - 1
    stored = word.write(array(raw & mask), array(value))
    assert int(stored[0]) == value & mask
    signed = (value & mask) - (1 << word.bits if value >> (word.bits - 1) & 1 else 0)
    assert int(word.read(stored)[0].astype(np.int64)) == signed


@any_word
@given(raw=U64)
def test_what_is_read_is_written_back(word: Word, raw: int) -> None:
    raw &= (1 << word.bits) - 1
    assert int(word.write(array(0), word.read(array(raw)))[0]) == raw


@any_word
def test_the_ends_of_the_range_fit_and_one_past_each_does_not(word: Word) -> None:
    if word.size == 8 or word.range is Range.WRAP:
        assert all(fits(word, value) for value in (0, -1, 1 << 63, (1 << 64) - 1))
        return
    low, high = limits(word)
    assert fits(word, low)
    assert fits(word, high)
    assert not fits(word, low - 1)
    assert not fits(word, high + 1)


@any_word
@given(value=st.integers(-(1 << 63), (1 << 63) - 1))
def test_any_value_fits_exactly_when_it_lies_in_the_range(word: Word, value: int) -> None:
    low, high = limits(word)
    assert fits(word, value) == (low <= value <= high or word.size == 8)

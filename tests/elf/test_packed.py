"""RELR and Android's APS2, against encoders written from their descriptions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relink.elf.packed import decode_aps2, decode_relr, decode_sleb128
from relink.errors import MalformedElf
from tests.elf.build import sleb128

DTYPES = {4: "<u4", 8: "<u8"}


def encode_relr(places: list[int], word: int) -> list[int]:
    """As linkers do: an address, then bitmaps as long as they have a bit to set."""
    out: list[int] = []
    left = list(places)
    bits = word * 8 - 1
    while left:
        out.append(left[0])
        base, left = left[0] + word, left[1:]
        while left and left[0] < base + bits * word:
            inside = [place for place in left if place < base + bits * word]
            out.append(1 | sum(1 << ((place - base) // word + 1) for place in inside))
            left, base = left[len(inside) :], base + bits * word
    return out


def relr(words: list[int], word: int, most: int = 1 << 20) -> list[int]:
    places: list[int] = decode_relr("x", np.array(words, DTYPES[word]).astype(np.uint64), word, most).tolist()
    return places


@given(st.sets(st.integers(0, 3000), max_size=200), st.sampled_from((4, 8)))
def test_relr_gives_back_every_place(numbers: set[int], word: int) -> None:
    places = [0x1000 + number * word for number in sorted(numbers)]
    assert relr(encode_relr(places, word), word) == places


def test_relr_at_both_ends_of_a_bitmap() -> None:
    assert relr([0x1000, 1 | 1 << 1 | 1 << 63], 8) == [0x1000, 0x1008, 0x1000 + 63 * 8]
    assert relr([0x1000, 1, 1 | 1 << 1], 8) == [0x1000, 0x1008 + 63 * 8]
    assert relr([0x1000, 1 | 1 << 31, 1 | 1 << 1], 4) == [0x1000, 0x1000 + 31 * 4, 0x1004 + 31 * 4]


def test_relr_that_begins_with_a_bitmap_is_refused() -> None:
    with pytest.raises(MalformedElf, match="begins with a bitmap"):
        relr([3], 8)


def test_relr_that_rebases_a_word_twice_is_refused() -> None:
    with pytest.raises(MalformedElf, match="twice"):
        relr([0x1000, 3, 0x1008], 8)


def test_relr_out_of_order_is_read() -> None:
    assert relr([0x2000, 0x1000], 8) == [0x2000, 0x1000]


def test_relr_naming_more_words_than_the_image_has_is_refused() -> None:
    with pytest.raises(MalformedElf, match="room for 63"):
        relr([0x1000, (1 << 64) - 1], 8, most=63)
    assert len(relr([0x1000, (1 << 64) - 1], 8, most=64)) == 64


@given(st.lists(st.integers(-(1 << 63), (1 << 63) - 1)))
def test_sleb128_gives_back_every_number(values: list[int]) -> None:
    assert decode_sleb128("x", np.frombuffer(sleb128(*values), np.uint8)).tolist() == values


def test_a_sleb128_number_that_goes_on_is_refused() -> None:
    with pytest.raises(MalformedElf, match="more than ten bytes"):
        decode_sleb128("x", np.frombuffer(b"\x80" * 10 + b"\0", np.uint8))


def aps2(numbers: list[int], *, bits: int = 64, addends: bool = True, most: int = 1000) -> list[tuple[int, ...]]:
    found = decode_aps2("x", np.frombuffer(b"APS2" + sleb128(*numbers), np.uint8), bits, addends, most)
    columns = [found.offset.tolist(), found.info.tolist()]
    if found.addend is not None:
        columns.append(found.addend.tolist())
    return list(zip(*columns, strict=True))


def aps2_one_by_one(numbers: list[int]) -> list[tuple[int, ...]]:
    """The state machine as bionic describes it, an entry at a time (64-bit RELA)."""
    rest = iter(numbers)
    total, offset, info, addend = next(rest), next(rest), 0, 0
    out: list[tuple[int, ...]] = []
    while len(out) < total:
        size, flags = next(rest), next(rest)
        delta = next(rest) if flags & 2 else 0
        info = next(rest) if flags & 1 else info
        if flags & 8:
            addend += next(rest) if flags & 4 else 0
        else:
            addend = 0
        for _ in range(size):
            offset += delta if flags & 2 else next(rest)
            info = info if flags & 1 else next(rest)
            addend += next(rest) if flags & 8 and not flags & 4 else 0
            out.append((offset, info, addend))
    return out


small = st.integers(-1000, 1000)


@st.composite
def aps2_tables(draw: st.DrawFn) -> list[int]:
    groups: list[int] = []
    total = 0
    for _ in range(draw(st.integers(0, 6))):
        size, flags = draw(st.integers(1, 5)), draw(st.integers(0, 15))
        total += size
        groups += [size, flags]
        groups += [draw(st.integers(0, 64))] if flags & 2 else []
        groups += [draw(st.integers(0, 1 << 40))] if flags & 1 else []
        groups += [draw(small)] if flags & 12 == 12 else []
        for _ in range(size):
            groups += [] if flags & 2 else [draw(st.integers(0, 64))]
            groups += [] if flags & 1 else [draw(st.integers(0, 1 << 40))]
            groups += [draw(small)] if flags & 12 == 8 else []
    return [total, draw(st.integers(0, 1 << 40)), *groups]


@given(aps2_tables())
def test_aps2_agrees_with_the_state_machine(numbers: list[int]) -> None:
    assert aps2(numbers) == aps2_one_by_one(numbers)


def test_aps2_addends_start_over_after_a_group_without() -> None:
    shared = 1 | 2
    assert aps2([4, 0, 1, shared | 8, 8, 3, 50, 1, shared, 8, 3, 2, shared | 8, 8, 3, 7, -2]) == [
        (8, 3, 50),
        (16, 3, 0),
        (24, 3, 7),
        (32, 3, 5),
    ]


@pytest.mark.parametrize(
    ("numbers", "problem"),
    [
        ([1 << 40, 0, 1 << 40, 3, 8, 3], "claims 1099511627776 entries, the image has room for 1000"),
        ([-1, 0], "claims -1 entries"),
        ([1], "before its first group"),
        ([5, 0], "before all its groups"),
        ([5, 0, 6, 3, 8, 3], "group of 6 entries, 5 are left"),
        ([5, 0, 0, 3, 8, 3], "group of 0 entries"),
        ([5, 0, 5, 0, 1, 1], "runs past the end"),
        ([5, 0, 5, 3], "runs past the end"),
        ([1, 0, 1, 16, 8, 3], "unknown flags 0x10"),
    ],
)
def test_aps2_that_contradicts_itself_is_refused(numbers: list[int], problem: str) -> None:
    with pytest.raises(MalformedElf, match=problem):
        aps2(numbers)


def test_aps2_with_addends_in_a_rel_table_is_refused() -> None:
    with pytest.raises(MalformedElf, match="DT_ANDROID_REL has a group with addends"):
        aps2([1, 0, 1, 11, 8, 3, 5], addends=False)
    assert aps2([1, 0, 1, 3, 8, 0x103], addends=False, bits=32) == [(8, 0x103)]


def test_aps2_offsets_wrap_at_the_class_width() -> None:
    assert aps2([1, 0xFFFFFFFC, 1, 3, 8, 3], bits=32) == [(4, 3, 0)]


def test_another_magic_is_refused() -> None:
    with pytest.raises(MalformedElf, match="not APS2"):
        decode_aps2("x", np.frombuffer(b"APR1\0\0", np.uint8), 64, True, 10)

"""Names in batches, and lookup through GNU, SysV and no hash table."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relink.elf import Names, ProgramHeader, decode
from relink.elf import hashes as hash_tables
from relink.elf.constants import DynamicTag as Tag
from relink.elf.contents import Contents
from relink.elf.hashes import GnuHash
from relink.elf.layout import ELF32, ELF64, Layout
from relink.elf.strings import StringTable
from relink.errors import MalformedElf
from tests.elf.build import Symbols, Table, gnu_hash_of, image, symbol, sysv_hash_of, words

byte_names = st.lists(st.binary(max_size=40).map(lambda raw: raw.replace(b"\0", b"z")), max_size=20)
unique_names = st.lists(st.text("abcdef_", min_size=1, max_size=12).map(str.encode), max_size=40, unique=True)


@given(byte_names)
def test_both_hashes_of_a_batch_are_those_of_each_name(names: list[bytes]) -> None:
    batch = Names.of(names)
    assert batch.gnu_hash.tolist() == [gnu_hash_of(name) for name in names]
    assert batch.sysv_hash.tolist() == [sysv_hash_of(name) for name in names]


@pytest.mark.parametrize("size", [1, 7, 8, 9, 1023, 1024, 1025, 5000])
def test_long_names_hash_like_short_ones(size: int) -> None:
    names = [b"x" * size, bytes(1 + i % 255 for i in range(size)), b"short", b""]
    assert Names.of(names).gnu_hash.tolist() == [gnu_hash_of(name) for name in names]
    assert Names.of(names).sysv_hash.tolist() == [sysv_hash_of(name) for name in names]


@pytest.mark.parametrize(
    ("count", "size"), [(17, 0), (17, 1), (40, 27), (32, 256), (33, 256), (32, 257), (1000, 9)]
)
def test_batches_of_any_shape_hash_alike(count: int, size: int) -> None:
    """Byte by byte, all at once, or by words."""
    names = [bytes(1 + (n + 7 * i) % 255 for i in range(size * (n + 1) // count)) for n in range(count)]
    assert Names.of(names).gnu_hash.tolist() == [gnu_hash_of(name) for name in names]
    part = np.arange(count - 1, 3, -1)
    assert Names.of(names).take(part).gnu_hash.tolist() == [gnu_hash_of(names[n]) for n in part.tolist()]


def test_a_name_of_megabytes_hashes_by_chunks() -> None:
    name = bytes(1 + i % 251 for i in range((1 << 20) * 2 + 77))
    assert Names.of([name]).gnu_hash.tolist() == [gnu_hash_of(name)]


@given(byte_names, byte_names, st.randoms(use_true_random=False))
def test_equal_compares_bytes(left: list[bytes], right: list[bytes], random: object) -> None:
    pairs = [(a, b) for a in range(len(left)) for b in range(len(right))]
    mine = np.array([a for a, _ in pairs], np.int64)
    theirs = np.array([b for _, b in pairs], np.int64)
    same = Names.of(left).equal(mine, Names.of(right), theirs)
    assert same.tolist() == [left[a] == right[b] for a, b in pairs]


def test_names_differing_in_the_last_byte_only_differ() -> None:
    for size in (1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 700):
        left, right = Names.of([b"a" * size]), Names.of([b"a" * (size - 1) + b"b"])
        assert left.equal(np.array([0]), right, np.array([0])).tolist() == [False]
        assert left.equal(np.array([0]), left, np.array([0])).tolist() == [True]


@given(byte_names, byte_names)
def test_take_concat_and_compact_keep_the_bytes(left: list[bytes], right: list[bytes]) -> None:
    both = Names.concat([Names.of(left), Names.of(right)])
    assert [both.raw(i) for i in range(len(both))] == left + right
    backwards = both.take(np.arange(len(both))[::-1])
    assert [backwards.raw(i) for i in range(len(both))] == (left + right)[::-1]
    assert [backwards.compact().raw(i) for i in range(len(both))] == (left + right)[::-1]
    assert both.texts() == [name.decode("utf-8", "surrogateescape") for name in left + right]


def test_text_that_is_no_utf8_survives_the_round_trip() -> None:
    batch = Names.of([b"caf\xe9", "naïve"])
    assert Names.of(batch.texts()).raw(0) == b"caf\xe9"
    assert batch.text(1) == "naïve"


@settings(max_examples=60)
@given(
    unique_names,
    st.sampled_from((ELF32, ELF64)),
    st.integers(1, 9),
    st.sampled_from((("gnu",), ("sysv",), ("gnu", "sysv"))),
)
def test_every_defined_name_is_found_and_no_other(
    names: list[bytes], layout: Layout, buckets: int, hashes: tuple[str, ...]
) -> None:
    symbols = decode(Symbols(names, layout, hashes=hashes, buckets=buckets).image()).symbols
    assert len(symbols) == len(names) + 1
    asked = Names.of([*names, b"absent", b"", b"abcdefg"])
    request, found = symbols.candidates(asked)
    assert [asked.raw(i) for i in request.tolist()] == [symbols.names.raw(i) for i in found.tolist()]
    assert request.tolist() == [*range(len(names))]


@pytest.mark.parametrize("hashes", [("gnu",), ("sysv",)])
def test_undefined_symbols_are_no_candidates(hashes: tuple[str, ...]) -> None:
    image = Symbols([b"puts"], section=0, value=0, hashes=hashes).image()
    assert decode(image).symbols.find("puts").tolist() == []


@pytest.mark.parametrize("hashes", [("gnu",), ("sysv",)])
def test_undefined_symbols_that_stand_for_their_plt_entry_are(hashes: tuple[str, ...]) -> None:
    image = Symbols([b"puts"], section=0, hashes=hashes).image()
    assert decode(image).symbols.find("puts").tolist() == [1]


def test_without_any_hash_table_relocations_say_how_many_symbols_there_are() -> None:
    rela = b"".join(int.to_bytes(part, 8, "little") for part in (0x40, (2 << 32) | 1, 0, 0x48, (1 << 32) | 1, 0))
    content = Symbols([b"first", b"second"], hashes=(), extra=[Table(Tag.RELA, rela, Tag.RELASZ)]).image()
    symbols = decode(content).symbols
    assert len(symbols) == 3
    assert symbols.find("first").tolist() == [1]
    assert symbols.find("second").tolist() == [2]


def test_definitions_of_one_name_come_in_chain_order() -> None:
    # SysV chains are built from the back: the last symbol is met first; GNU chains go forward.
    assert decode(Symbols([b"foo", b"foo", b"foo"], hashes=("sysv",)).image()).symbols.find("foo").tolist() == [
        3,
        2,
        1,
    ]
    assert decode(Symbols([b"foo", b"foo", b"foo"], hashes=("gnu",)).image()).symbols.find("foo").tolist() == [
        1,
        2,
        3,
    ]


def sysv_image(buckets: list[int], chain: list[int]) -> bytes:
    names = [b"s%d" % i for i in range(1, len(chain))]
    plain = Symbols(names, hashes=()).tables()
    return image([*plain, Table(Tag.HASH, words(len(buckets), len(chain), *buckets, *chain))])


@pytest.mark.parametrize(
    ("buckets", "chain"),
    [([1], [0, 1, 0]), ([1], [0, 2, 1]), ([1, 1], [0, 0]), ([1, 2], [0, 3, 3, 0])],
    ids=["to itself", "of two", "two buckets, one chain", "two chains join"],
)
def test_sysv_chains_that_loop_or_join_are_refused(buckets: list[int], chain: list[int]) -> None:
    with pytest.raises(MalformedElf, match="loop or run together"):
        decode(sysv_image(buckets, chain)).symbols.find("s1")


def test_a_ring_no_bucket_leads_to_is_never_entered() -> None:
    decoded = decode(sysv_image([0], [0, 2, 1]))
    assert decoded.symbols.find("s1").tolist() == []


def test_sysv_links_outside_the_table_are_refused() -> None:
    with pytest.raises(MalformedElf, match="links to symbol 9 of 3"):
        decode(sysv_image([9], [0, 0, 0])).symbols.find("s1")


def test_a_symbol_in_the_wrong_sysv_chain_is_not_found() -> None:
    name = b"s1"
    right = sysv_hash_of(name) % 2
    assert decode(sysv_image([1, 0] if right == 0 else [0, 1], [0, 0])).symbols.find("s1").tolist() == [1]
    assert decode(sysv_image([0, 1] if right == 0 else [1, 0], [0, 0])).symbols.find("s1").tolist() == []


def gnu_image(table: bytes, count: int = 2) -> bytes:
    plain = Symbols([b"s%d" % i for i in range(count)], hashes=()).tables()
    return image([*plain, Table(Tag.GNU_HASH, table)])


def test_a_gnu_chain_without_an_end_is_refused() -> None:
    data = np.frombuffer(words(1, 1, 1, 6) + b"\xff" * 8 + words(1) + words(2) * 3000, np.uint8)
    segment = ProgramHeader(1, 4, 0, 0, 0, len(data), len(data), 4096)
    with pytest.raises(MalformedElf, match="the DT_GNU_HASH chain of symbol 1 has no end"):
        GnuHash.read(Contents("x", [segment], lambda _: data), ELF64, 0)


def test_a_gnu_bucket_before_the_table_is_refused() -> None:
    with pytest.raises(MalformedElf, match="begins at symbol 1, the table's first symbol is 5"):
        _ = decode(gnu_image(words(1, 5, 1, 6) + b"\xff" * 8 + words(1, 1))).symbols


@pytest.mark.parametrize("heads", [[0], [0, 0], [3], [0, 7, 3, 0], [2**32 - 1, 0, 1]])
def test_few_buckets_have_the_bounds_of_many(heads: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    buckets = np.array(heads, np.uint32)
    used = [head for head in heads if head] or [0]
    assert hash_tables._bounds(buckets) == (min(used), max(used))
    monkeypatch.setattr(hash_tables, "_FEW", -1)
    assert hash_tables._bounds(buckets) == (min(used), max(used))


@pytest.mark.parametrize("tag", [Tag.HASH, Tag.GNU_HASH])
def test_a_hash_table_without_buckets_finds_nothing(tag: Tag) -> None:
    decoded = decode(image([*Symbols([b"a"], hashes=()).tables(), Table(tag, words(0, 1, 0, 0, 0, 0))]))
    assert len(decoded.symbols.find("a")) == 0
    assert "no buckets" in str(decoded.warnings[0])


def test_a_gnu_table_that_promises_four_billion_symbols_is_refused_at_once() -> None:
    with pytest.raises(MalformedElf, match="dynamic symbol table"):
        _ = decode(gnu_image(words(1, 0xFFFFFFFF, 1, 6) + b"\xff" * 8 + words(0))).symbols


def test_symbols_that_all_collide_are_refused() -> None:
    strings = b"\0foo\0"
    rows = symbol(ELF64, 0, section=0) + symbol(ELF64, 1) * 5000
    h = gnu_hash_of(b"foo")
    table = words(1, 1, 1, 6) + b"\xff" * 8 + words(1, *([h & ~1] * 4999), h | 1)
    content = image([Table(Tag.STRTAB, strings, Tag.STRSZ), Table(Tag.SYMTAB, rows), Table(Tag.GNU_HASH, table)])
    symbols = decode(content).symbols
    assert len(symbols.find("foo")) == 5000
    with pytest.raises(MalformedElf, match="hash collisions"):
        symbols.candidates(Names.of([b"foo"] * 1000))


@settings(max_examples=150)
@given(st.randoms(use_true_random=False))
def test_walks_of_many_chains_at_once_are_those_of_each(random: Random) -> None:
    """Tables that no linker writes: heads inside chains, entries in chains of other hashes, few hashes."""
    count, buckets, first = random.randint(1, 40), random.randint(1, 8), random.randint(0, 3)
    ending = random.choice((0.03, 0.4))  # chains of one to a few entries, or of dozens
    words_ = [random.randrange(24) << 1 | (random.random() < ending) for _ in range(count)]
    words_[-1] |= 1
    heads = [random.choice((0, random.randint(first, first + count - 1))) for _ in range(buckets)]
    table = GnuHash(first, np.array(heads, np.uint32), np.array(words_, np.uint32))
    hashes = [random.randrange(48) for _ in range(30)]
    expected = [(n, symbol) for n, hash_ in enumerate(hashes) for symbol in table.met_by(hash_) or ()]
    found = table.walk(np.array(hashes, np.uint32))
    assert found is not None
    assert list(zip(found[0].tolist(), found[1].tolist(), strict=True)) == expected
    for entry in np.flatnonzero(table.sole(np.arange(first, first + count))).tolist():
        walks = [table.met_by(words_[entry] & ~1 | last) or [] for last in (0, 1)]
        assert [first + entry] in walks


def test_what_a_linker_writes_is_found_by_its_words_alone() -> None:
    names = [b"name%d" % number for number in range(200)]
    table = decode(Symbols(names, hashes=("gnu",), buckets=64).image()).symbols
    assert table.only_of_their_hash(np.arange(201)).tolist() == [False] + [True] * 200
    words_ = np.concatenate([table.chain_words(np.arange(1, 201)), np.array([12345], np.uint32)])
    found = table.has_hashes(words_)
    assert found is not None
    assert found.tolist() == [True] * 200 + [False]
    asked = table.candidates(Names.of([b"name7", b"nothing", b"name3"]))
    assert [table.names.raw(symbol) for symbol in asked[1].tolist()] == [b"name7", b"name3"]
    assert asked[0].tolist() == [0, 2]
    assert "_index" not in table.__dict__


def test_names_between_long_ones_are_measured_one_by_one_as_in_a_batch() -> None:
    lengths = [0, 1, 5, 127, 128, 129, 500] * 12
    names = [b"n" * length for length in lengths]
    table = StringTable("x", np.frombuffer(b"".join(name + b"\0" for name in names) + bytes(60_000), np.uint8))
    starts = np.cumsum([0, *(length + 1 for length in lengths[:-1])]).astype(np.uint32)
    assert len(starts) * 512 <= len(table.data)
    assert table.names(starts, "names").length.tolist() == lengths
    assert "_nuls" not in table.__dict__

"""Any bytes at all decode as an object or an archive, or are refused with an ElfError, at little cost."""

from __future__ import annotations

import time
import tracemalloc
from contextlib import suppress
from functools import cache

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relink.elf.archive import Archive
from relink.elf.objects import decode_object
from relink.errors import ElfError
from tests.elf.build_archive import bsd_archive, gnu_archive
from tests.elf.build_object import Sec, Sym, group, rela, simple_object
from tests.elf.compiled import compiled
from tests.elf.test_mutations import INTERESTING, MEMORY, MEMORY_PER_BYTE, TIME
from tests.elf.test_objects import read_all
from tests.fixtures import TARGETS
from tests.sampling import examples


@cache
def originals() -> list[bytes]:
    plain = [compiled(target).read_bytes() for target in TARGETS]
    special = [
        compiled("x86_64", cpp=True),
        compiled("arm", "-gz=zlib"),
        compiled("riscv32", "-Wa,--crel,--allow-experimental-crel"),
    ]
    return [*plain, *(path.read_bytes() for path in special)]


@cache
def archives() -> list[bytes]:
    small = simple_object([Sym("one", bind=1, section=1)], [rela((0, 1, 1, 0)), group(1, 1, 1), Sec(".x")])
    members = {"small.o": small, "a_name_that_is_longer.o": originals()[0], "text": b"no object"}
    index = {"one": 0, "add": 1}
    return [
        gnu_archive(members, index),
        gnu_archive(members),
        gnu_archive(members, index, width=8),
        bsd_archive(members, index),
    ]


def hot_spots(content: bytes) -> list[tuple[int, int]]:
    """(offset, size) of what decoding reads: headers and every table."""
    one = decode_object(content)
    spots = [(0, 64), *[(one.header.shoff, len(one.sections) * one.header.shentsize)] * 3]
    spots += [(s.offset, s.size) for s in one.sections if s.type not in (0, 1, 8) or s.flags & 0x800]
    return [(offset, size) for offset, size in spots if size]


def archive_hot_spots(content: bytes) -> list[tuple[int, int]]:
    """The headers of all members, and the index."""
    members = Archive.open(content).members
    return [(8, members[0].offset), *((member.offset, 90) for member in members)]


def changed(draw: st.DrawFn, original: bytes, spots: list[tuple[int, int]], values: tuple[int, ...]) -> bytes:
    content = bytearray(original)
    for _ in range(draw(st.integers(1, 4))):
        start, size = draw(st.sampled_from([(0, len(content)), *spots * 4]))
        offset = min(start + draw(st.integers(0, size - 1)), len(content) - 1)
        width = draw(st.sampled_from((1, 2, 4, 8)))
        if draw(st.booleans()):
            offset &= -width
        value = draw(st.sampled_from(values) | st.integers(0, (1 << 64) - 1) | st.integers(0, len(content)))
        content[offset : offset + width] = (value & ((1 << 8 * width) - 1)).to_bytes(width, "little")
    if draw(st.integers(0, 9)) == 0:
        del content[draw(st.integers(0, len(content))) :]
    return bytes(content)


@st.composite
def mutated_object(draw: st.DrawFn) -> bytes:
    original = draw(st.sampled_from(originals()))
    return changed(draw, original, hot_spots(original), INTERESTING)


@st.composite
def mutated_archive(draw: st.DrawFn) -> bytes:
    original = draw(st.sampled_from(archives()))
    letters = tuple(
        int.from_bytes(text, "little") for text in (b"0", b"9", b" ", b"/", b"\n", b"#1/", b"//", b"99999999")
    )
    return changed(draw, original, archive_hot_spots(original), letters)


def object_costs_little(content: bytes) -> None:
    begin = time.process_time()
    with suppress(ElfError):
        read_all(decode_object(content))
    assert time.process_time() - begin < TIME


def archive_costs_little(content: bytes) -> None:
    begin = time.process_time()
    with suppress(ElfError):
        archive = Archive.open(content)
        for number in range(len(archive.members)):
            with suppress(ElfError):
                read_all(archive.object(number))
        archive.defining(archive.index.names)
    assert time.process_time() - begin < TIME


@settings(max_examples=examples(400), deadline=None, suppress_health_check=list(HealthCheck))
@given(mutated_object())
def test_a_mutated_object_decodes_or_is_refused(content: bytes) -> None:
    object_costs_little(content)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(mutated_object())
def test_a_mutated_object_costs_a_small_multiple_of_its_size(content: bytes) -> None:
    tracemalloc.start()
    try:
        object_costs_little(content)
        assert tracemalloc.get_traced_memory()[1] < MEMORY + MEMORY_PER_BYTE * len(content)
    finally:
        tracemalloc.stop()


@settings(max_examples=examples(300), deadline=None, suppress_health_check=list(HealthCheck))
@given(mutated_archive())
def test_a_mutated_archive_is_read_or_refused(content: bytes) -> None:
    archive_costs_little(content)


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=300),
    st.sampled_from((b"!<arch>\n", b"!<thin>\n", b"\x7fELF\x02\x01\x01", b"\x7fELF\x01\x01\x01")),
)
def test_noise_behind_a_good_magic_is_read_or_refused(noise: bytes, magic: bytes) -> None:
    object_costs_little(magic + noise)
    archive_costs_little(magic + noise)


def test_every_truncation_is_refused_or_read() -> None:
    for content in (originals()[0], originals()[3], *archives()):
        for end in range(0, len(content), max(1, len(content) // 200)):
            object_costs_little(content[:end])
            archive_costs_little(content[:end])

"""Any bytes at all decode or are refused with a RelinkError, quickly and in little memory."""

from __future__ import annotations

import struct
import time
import tracemalloc
from contextlib import suppress
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relink.elf import decode, decode_memory
from relink.elf.layout import ELF32, ELF64
from relink.errors import AddressSpaceError, RelinkError
from tests.elf.helpers import linked_fixtures, read_everything
from tests.fixtures import TARGETS
from tests.sampling import examples

#: Seconds and bytes any file may cost, over what its size explains.
TIME, MEMORY = 5.0, 32 << 20
MEMORY_PER_BYTE = 128

INTERESTING = (
    0,
    1,
    2,
    7,
    8,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    1 << 60,
    (1 << 64) - 1,
)


@cache
def originals() -> list[bytes]:
    contents = [path.read_bytes() for target in TARGETS for path in linked_fixtures(target)]
    return [content for content in contents if len(content) < 64 << 10]


def hot_spots(content: bytes) -> list[tuple[int, int]]:
    """(offset, size) of what decoding reads: headers, the dynamic section, and the tables it names."""
    spots = [(0, 64)]
    try:
        decoded = decode(content)
    except RelinkError:
        return spots
    layout = decoded.header.layout
    spots.append((decoded.header.phoff, decoded.header.phnum * layout.program_header.size))
    for section in decoded.sections:
        if section.flags & 2 and section.type not in (1, 8):
            spots.append((section.offset, section.size))
    for segment in decoded.program_headers:
        if segment.type == 2:
            spots += [(segment.offset, segment.filesz)] * 3
    return [(offset, size) for offset, size in spots if size]


@cache
def images() -> list[bytes]:
    """The small shared objects as they lie in memory, byte 0 at their lowest address, not relocated."""
    decoded = [decode(content) for content in originals()]
    found = []
    for one in decoded:
        memory = bytearray(one.span)
        for segment in one.segments:
            begin = segment.vaddr - one.min_vaddr
            memory[begin : begin + segment.filesz] = one.bytes_at(segment.vaddr, segment.filesz).tobytes()
        if one.min_vaddr == 0:
            found.append(bytes(memory))
    return found


def hot_spots_in_memory(content: bytes) -> list[tuple[int, int]]:
    """Headers, the tables behind them, and the dynamic section."""
    decoded = decode_memory(lambda address, size: content[address : address + size], 0, name="memory")
    dynamic = [(s.vaddr, s.filesz) for s in decoded.program_headers if s.type == 2 and s.filesz]
    return [(0, 64), (64, 500), (0, decoded.segments[0].filesz), *dynamic * 3]


@st.composite
def mutated(draw: st.DrawFn, *, in_memory: bool = False) -> bytes:
    content = bytearray(draw(st.sampled_from(images() if in_memory else originals())))
    spots = (hot_spots_in_memory if in_memory else hot_spots)(bytes(content))
    for _ in range(draw(st.integers(1, 4))):
        if draw(st.booleans()) or not spots:
            offset = draw(st.integers(0, len(content) - 1))
        else:
            start, size = draw(st.sampled_from(spots))
            offset = min(start + draw(st.integers(0, size - 1)), len(content) - 1)
        width = draw(st.sampled_from((1, 2, 4, 8)))
        if draw(st.booleans()):
            offset &= -width
        value = draw(st.sampled_from(INTERESTING) | st.integers(0, (1 << 64) - 1) | st.integers(0, len(content)))
        content[offset : offset + width] = (value & ((1 << 8 * width) - 1)).to_bytes(width, "little")
    if draw(st.integers(0, 9)) == 0:
        del content[draw(st.integers(0, len(content))) :]
    return bytes(content)


def costs_little(content: bytes) -> None:
    begin = time.process_time()
    with suppress(RelinkError):
        read_everything(decode(content))
    assert time.process_time() - begin < TIME


@settings(max_examples=examples(400), deadline=None, suppress_health_check=list(HealthCheck))
@given(mutated())
def test_a_mutated_fixture_decodes_or_is_refused(content: bytes) -> None:
    costs_little(content)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(mutated())
def test_a_mutated_fixture_costs_a_small_multiple_of_its_size(content: bytes) -> None:
    tracemalloc.start()
    try:
        costs_little(content)
        assert tracemalloc.get_traced_memory()[1] < MEMORY + MEMORY_PER_BYTE * len(content)
    finally:
        tracemalloc.stop()


@settings(max_examples=examples(200), deadline=None, suppress_health_check=list(HealthCheck))
@given(mutated(in_memory=True), st.booleans())
def test_a_mutated_image_in_memory_decodes_or_is_refused(content: bytes, short: bool) -> None:
    def read(address: int, size: int) -> bytes:
        at = address - 0x10000
        if at < 0 or (at + size > len(content) and not short):
            raise AddressSpaceError("not mapped", address=address, size=size)
        return content[at : at + size]

    with suppress(RelinkError):
        read_everything(decode_memory(read, 0x10000, name="memory"))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400), st.sampled_from((ELF32, ELF64)))
def test_noise_behind_a_good_ident_decodes_or_is_refused(noise: bytes, layout: object) -> None:
    ident = b"\x7fELF" + struct.pack("4B8x", 1 if layout is ELF32 else 2, 1, 1, 0)
    costs_little(ident + noise)


@pytest.mark.parametrize("target", TARGETS)
def test_every_truncation_is_refused_or_read(target: str) -> None:
    content = min((path.read_bytes() for path in linked_fixtures(target)), key=len)
    for end in range(0, len(content), max(1, len(content) // 500)):
        costs_little(content[:end])

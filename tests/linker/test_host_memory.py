"""HostMemory gives out addresses, protects pages and keeps buffers."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import pytest

from relink import (
    AddressSpaceError,
    HostMemory,
    Linker,
    Pages,
)
from relink.elf import decode
from relink.elf.source import COPIED, is_mapped
from relink.memory.address_space import PAGE, Region
from tests.counting import per_item, python_lines
from tests.fixtures import fixture
from tests.grouping import each
from tests.linker.craft import DATA, Library, Sym
from tests.linker.helpers import load
from tests.linker.test_place import RW, RX, R


def test_addresses_are_not_used_again_before_the_end_is_reached() -> None:
    memory = HostMemory("i386")
    seen: set[int] = set()
    size = 64 << 20
    room = (0xF000_0000 - 0x4000_0000) // (size + PAGE)
    for _ in range(room):
        region = memory.reserve(size)
        assert region.address not in seen
        seen.add(region.address)
        memory.release(region)
    assert memory.reserve(size).address in seen


def test_a_full_address_space_says_so() -> None:
    memory = HostMemory("arm")
    with pytest.raises(AddressSpaceError, match="no room"):
        memory.reserve(1 << 60)
    taken = [memory.reserve(256 << 20) for _ in range(10)]
    with pytest.raises(AddressSpaceError, match="no room"):
        taken += [memory.reserve(256 << 20) for _ in range(2)]
    memory.release(taken[3])
    assert memory.reserve(128 << 20).address >= taken[3].address


@each("seed", range(20))
def test_regions_never_overlap_and_what_is_chosen_is_obeyed(seed: int) -> None:
    """Against a model that is a set of pages."""
    dice = random.Random(seed)
    memory = HostMemory(dice.choice(["x86_64", "arm"]))
    base = memory.architecture.image_base
    mine: dict[object, range] = {}
    for _ in range(200):
        if mine and dice.random() < 0.4:
            region = dice.choice(list(mine))
            memory.release(region)  # type: ignore[arg-type]
            del mine[region]
            continue
        size = dice.randrange(1, 6 * PAGE)
        at = base + dice.randrange(64) * PAGE if dice.random() < 0.5 else None
        align = PAGE << dice.randrange(4)
        pages = range(0) if at is None else range(at // PAGE, (at + size + PAGE - 1) // PAGE)
        taken = any(page in other for page in pages for other in mine.values())
        try:
            region = memory.reserve(size, at=at, align=align)
        except AddressSpaceError:
            assert taken
            continue
        assert not taken
        assert region.address == at if at is not None else region.address % align == 0
        assert region.size == (size + PAGE - 1) // PAGE * PAGE == len(region.buffer)
        got = range(region.address // PAGE, region.end // PAGE)
        assert not any(page in other for page in got for other in mine.values())
        mine[region] = got
    addresses = [region.address for region in memory.regions]
    assert addresses == sorted(addresses)
    assert set(memory.regions) == set(mine)


def test_only_published_pages_can_be_read_and_written() -> None:
    memory = HostMemory("riscv64")
    region = memory.reserve(4 * PAGE)
    with pytest.raises(AddressSpaceError, match="not mapped"):
        memory.read(region.address, 1)
    memory.publish(region, (Pages(0, PAGE, R), Pages(PAGE, PAGE, RW), Pages(3 * PAGE, PAGE, RX)))
    memory.write(region.address + PAGE - 2, b"abcd")
    assert memory.read(region.address + PAGE - 2, 4) == b"abcd"
    assert memory.read(region.address, 2 * PAGE)[PAGE - 2 : PAGE + 2] == b"abcd"
    for at, size in (
        (2 * PAGE, 1),
        (2 * PAGE - 1, 2),
        (3 * PAGE - 1, 1),
        (3 * PAGE, PAGE + 1),
        (4 * PAGE, 1),
        (-1, 1),
        (0, 4 * PAGE),
    ):
        with pytest.raises(AddressSpaceError, match="not mapped"):
            memory.read(region.address + at, size)
        with pytest.raises(AddressSpaceError, match="not mapped"):
            memory.write(region.address + at, bytes(size))
    assert memory.protection(region.address + 2 * PAGE) is None
    memory.release(region)
    with pytest.raises(AddressSpaceError):
        memory.read(region.address, 1)
    with pytest.raises(AddressSpaceError, match="no such region"):
        memory.release(region)


def test_a_buffer_held_by_somebody_outlives_its_region() -> None:
    memory = HostMemory("x86_64")
    region = memory.reserve(PAGE)
    buffer = region.buffer
    memory.release(region)
    del region
    buffer[:] = 7
    assert buffer.sum() == 7 * PAGE


def test_a_library_is_found_at_the_address_its_image_tells(arch: str) -> None:
    image = load(Library(arch, "liba.so", symbols=[Sym("s", DATA + 5)]))
    assert image.symbol_at(image.address_of(DATA + 7)) == ("s", 2)
    assert image.symbol_at(image.address_of(DATA + 4)) is None


@pytest.mark.parametrize("change", ["cut", "overwritten", "removed"])
def test_a_small_file_that_changes_after_it_was_loaded_is_no_matter(tmp_path: Path, change: str) -> None:
    """As an update in place does to it."""
    original = fixture("riscv64", "deps/libleaf")
    path = tmp_path / "leaf.so"
    path.write_bytes(original.read_bytes())
    linker = Linker(HostMemory("riscv64"))
    image = linker.load(path)
    untouched = Linker(HostMemory("riscv64")).load(original)
    if change == "removed":
        path.unlink()
    else:
        with open(path, "r+b") as file:
            file.truncate(0)
            if change == "overwritten":
                file.write(b"\xff" * len(original.read_bytes()))
    assert bytes(image.region.buffer) == bytes(untouched.region.buffer)
    assert image.exports == untouched.exports
    assert image.decoded.sections


def test_a_large_file_is_mapped_and_a_small_one_read(tmp_path: Path) -> None:
    for size, mapped in ((COPIED, False), (COPIED + 1, True)):
        path = tmp_path / str(size)
        path.write_bytes(fixture("riscv64", "deps/libleaf").read_bytes().ljust(size, b"\0"))
        assert is_mapped(decode(path).data) is mapped


def first_fit(memory: HostMemory, low: int, high: int, size: int, align: int) -> int | None:
    """The first address for a region, looked for from `low`."""
    address = -(-low // align) * align
    for region in memory.regions:
        if region.address < address + size + 4096 and address < region.end + 4096:
            address = -(-(region.end + 4096) // align) * align
    return address if address + size <= high else None


@pytest.mark.parametrize("seed", range(4))
def test_low_regions_lie_at_the_first_addresses_with_room(seed: int) -> None:
    rng, memory, kept = random.Random(seed), HostMemory("x86_64"), list[Region]()
    usual, lowest, below = 0x4000_0000, 0x10_0000, 0x4008_0000
    memory.reserve(usual - 0x18_0000, at=0x18_0000)  # little room, so that all cases occur
    full = 0
    for _ in range(800):
        kind = rng.randrange(10)
        size = 4096 * rng.choice((1, 1, 2, 3, 4, 5, 16))
        if kind < 4 and kept:
            memory.release(kept.pop(rng.randrange(len(kept))))
            continue
        if kind == 4:
            with suppress(AddressSpaceError):
                kept.append(memory.reserve(size, at=usual + 4096 * rng.randrange(0x80)))
            continue
        align = rng.choice((4096, 4096, 4096, 0x4000))
        expected = first_fit(memory, usual, below, size, align)
        expected = first_fit(memory, lowest, below, size, align) if expected is None else expected
        if expected is None:
            full += 1
            with pytest.raises(AddressSpaceError, match="no room"):
                memory.reserve(size, align=align, below=below)
        else:
            kept.append(memory.reserve(size, align=align, below=below))
            assert kept[-1].address == expected
    assert full


def test_a_low_region_costs_the_same_among_many() -> None:
    """However many there are below it: the lines of Python that run."""

    def cost(count: int) -> int:
        memory = HostMemory("x86_64")
        return python_lines(lambda: [memory.reserve(4096, below=1 << 31) for _ in range(count)])

    assert per_item(cost, 50) < 80

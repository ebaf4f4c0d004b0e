"""Pages for patches: the nearest free ones, found without a look at all regions."""

from __future__ import annotations

import random
from collections.abc import Container
from itertools import pairwise
from typing import Any

import pytest

from emu.patch.near_pages import free_pages, short_jump
from relink.arch import ARCHITECTURES
from relink.arch.spec import Detour
from relink.memory.address_space import PAGE, HostMemory
from tests.counting import python_lines


def of_all_gaps(memory: HostMemory, traps: Container[int], size: int, near: int, detour: Detour) -> int | None:
    """The same from a list of all places."""
    edges = [(0x10000, 0x10000), *((region.address, region.end) for region in memory.regions)]
    edges.append((memory.architecture.address_mask & -PAGE,) * 2)
    found = []
    for (_, low), (high, _) in pairwise(edges):
        first, last = low + PAGE, high - PAGE - size
        found += [first, last] if first <= last else []
    for address in sorted(found, key=lambda address: abs(address - near)):
        free = address not in traps and address + size - 1 not in traps
        if free and short_jump(detour, near, address + detour.entry) is not None:
            return address
    return None


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_nearest_place_of_all_gaps_is_found(arch: str) -> None:
    chance, detour, found = random.Random(arch), ARCHITECTURES[arch].detours[0], set[bool]()
    for number in range(60):
        memory: Any = HostMemory(arch)
        at, spread = 0x4000_0000, 1 << chance.choice([14, 18, 23])
        for _ in range(chance.randrange(1, 30)):
            at += PAGE * chance.choice([0, 0, 1, 2, 3, chance.randrange(spread // PAGE)])
            at = memory.reserve(PAGE * chance.randrange(1, 4), at=at).end
        region = chance.choice(memory.regions)
        near = region.address + 4 * chance.randrange(region.size // 4)
        traps: Any = range(near + PAGE, near + spread) if number % 3 == 0 else ()
        size = PAGE * chance.randrange(1, 4)
        place = free_pages(memory, traps, size, near, detour)
        assert place == of_all_gaps(memory, traps, size, near, detour), number
        found.add(place is not None)
    assert True in found


@pytest.mark.not_taken_back("counts lines")
def test_a_place_costs_the_same_among_many_regions() -> None:
    def cost(count: int) -> int:
        memory: Any = HostMemory("x86_64")
        traps: Any = range(0)
        regions = [memory.reserve(PAGE, at=0x4000_0000 + 8 * PAGE * number) for number in range(count)]
        near = regions[count // 2].address
        detour = memory.architecture.detours[0]
        return python_lines(lambda: free_pages(memory, traps, PAGE, near, detour))

    few = cost(20)
    assert few > 10, "the counter counts"
    assert cost(2000) <= few + 20

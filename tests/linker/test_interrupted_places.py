"""Address ranges where a signal handler raises at any point while they are given away: none stays reserved."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from emu import Machine
from relink.linker import Linker
from relink.load.phases import Phase
from relink.memory.address_space import HostMemory, Protection
from tests.fixtures import arch_of, fixture
from tests.grouping import each
from tests.interrupts import interrupted
from tests.linker.craft import Library
from tests.linker.test_sparse import FAR, FLASH, RAM, firmware
from tests.objects.build import compiled

SOURCES: dict[str, Callable[[], tuple[str, object]]] = {
    "a library": lambda: ("x86_64", fixture("x86_64", "basic")),
    "an object in low memory": lambda: ("x86_64", compiled("x86_64", "int f(void) { return 1; }\n")),
    "an image in parts": lambda: ("arm", firmware((FLASH, RAM))),
    "one in parts far apart": lambda: ("arm", firmware((FLASH, FAR))),
}


@each("source", SOURCES)
def test_places_of_images_are_given_back(source: str) -> None:
    arch, content = SOURCES[source]()
    memory = HostMemory(arch)
    linker = Linker(memory)
    for number in count(1):
        load = linker.begin(content)  # type: ignore[arg-type]
        load.run_to(Phase.OPEN)
        passed = interrupted(load.map, number)
        load.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)  # as of a `with` statement
        assert not memory.regions, number
        if passed < number:
            break
    assert number > 20


@pytest.mark.parametrize("target", ["x86_64", "loongarch64"])
def test_pages_of_images_are_unmapped_and_not_charged(target: str) -> None:
    with Machine(arch_of(target)) as machine:
        for number in count(1):
            load = machine.linker.begin(Library(machine.arch.name).image())
            load.run_to(Phase.RELOCATE)
            address, used = load.plan.root.base, machine.memory_limit.used
            assert load.plan.regions[0][1], "it has pages"
            passed = interrupted(load.publish, number)
            load.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
            assert not machine.cpu.extent(address, Protection.NONE), number
            assert machine.memory_limit.used == used, number
            if passed < number:
                break
    assert number > 20


@pytest.mark.parametrize("target", ["x86_64", "loongarch64"])
def test_anonymous_mappings_can_be_unmapped(target: str) -> None:
    with Machine(arch_of(target)) as machine:
        memory = machine.memory
        memory.unmap(memory.map_anonymous(0x2000))  # what is made once is made
        before, addresses = memory.regions, list[int]()
        for number in range(1, 40):
            interrupted(lambda: addresses.append(memory.map_anonymous(0x2000)), number)
            while addresses:
                memory.unmap(addresses.pop())
            assert memory.regions == before, number


def test_a_second_mapping_of_a_region_is_whole_or_made_again() -> None:
    low, high = 0x2000_0000, 0x3000_0000
    for number in count(1):
        with Machine("x86_64") as machine:
            memory = machine.memory
            address, before = memory.map_anonymous(0x2000), len(memory.regions)
            passed = interrupted(lambda it=(memory, address): it[0].mirror(it[1], low, high), number, starts=True)  # type: ignore[misc]
            assert memory.mirror(address, low, high) is not None
            assert len(memory.regions) == before + 1, number
        if passed < number:
            break
    assert number > 20

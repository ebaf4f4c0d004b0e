"""The images of one load are mapped in the engine together: with the pages, charges and errors of each alone."""

from __future__ import annotations

import pytest

from emu import Machine
from emu.cpu.pages import PageMap
from emu.memory.limit import DEFAULT_LIMIT
from relink.errors import AddressSpaceError
from relink.memory.address_space import PAGE, HostMemory
from tests.linker.test_few_entries import ARCHES
from tests.linker.test_together import chain

COUNT = 6


def machine_for(arch: str, memory_limit: int = DEFAULT_LIMIT) -> Machine:
    libraries = {library.soname or "": library.image() for library in chain(arch, COUNT)}
    return Machine(arch, libraries=libraries, memory_limit=memory_limit)


def state(machine: Machine) -> object:
    """All regions but the stack, which these libraries make executable; and what is charged."""
    others = (region for region in machine.memory.regions if region.name != "[stack]")
    regions = [(region.address, region.size, region.pages) for region in others]
    return regions, machine.memory.limit.used


@pytest.mark.parametrize("arch", ARCHES)
def test_pages_and_charges_are_those_of_images_published_alone(arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for together in (True, False):
        with monkeypatch.context() as patch, machine_for(arch) as machine:
            if not together:
                patch.setattr(type(machine.memory), "publish_all", HostMemory.publish_all)
            before = state(machine)
            library = machine.load("lib0.so")
            contents = [
                machine.memory.read(region.address + run.offset, run.size)
                for region in machine.memory.regions
                if region.name.startswith("lib")
                for run in region.pages
            ]
            extents = [
                machine.cpu.extent(region.address + run.offset, run.protection)
                for region in machine.memory.regions
                for run in region.pages
            ]
            found.append((state(machine), contents, extents))
            assert len(contents) == 2 * COUNT
            library.close()
            assert state(machine) == before
    assert found[0] == found[1]


@pytest.mark.parametrize("arch", ["x86_64", "loongarch64"])
def test_the_limit_names_the_first_image_that_exceeds_it(arch: str) -> None:
    with machine_for(arch) as machine:
        used = machine.memory.limit.used
        machine.load("lib0.so")
        needed = machine.memory.limit.used
    assert needed >= used + 2 * COUNT * PAGE
    for limit in (used + 3 * PAGE, needed - 1):
        with machine_for(arch, memory_limit=limit) as machine:
            before = state(machine)
            with pytest.raises(AddressSpaceError, match="exceeds the machine's memory limit") as caught:
                machine.load("lib0.so")
            assert caught.value.address is not None
            assert state(machine) == before
    with machine_for(arch, memory_limit=needed) as machine:
        machine.load("lib0.so")


def test_an_engine_that_refuses_one_mapping_keeps_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with machine_for("x86_64") as machine:
        before, cpu = state(machine), machine.cpu
        real, calls = type(cpu).map, list[int]()

        def refuses(self: object, address: int, *rest: object, **more: object) -> None:
            calls.append(address)
            if len(calls) == 4:
                raise AddressSpaceError("refused", address=address)
            real(self, address, *rest, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(type(cpu), "map", refuses)
        monkeypatch.setattr(PageMap, "add_all", lambda self, pieces: False)
        with pytest.raises(AddressSpaceError, match="refused"):
            machine.load("lib0.so")
        monkeypatch.undo()
        assert len(calls) == 4
        assert state(machine) == before
        machine.load("lib0.so")


def test_the_charge_of_a_region_goes_where_a_signal_handler_raises(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Machine("x86_64") as machine:
        memory, cpu = machine.memory, machine.cpu
        before, left = memory.regions, memory.limit.left
        address = memory.map_anonymous(0x3000)
        real = cpu.unmap

        def unmap(start: int, size: int) -> None:
            real(start, size)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(type(cpu), "unmap", lambda self, start, size: unmap(start, size))
            with pytest.raises(KeyboardInterrupt):
                memory.unmap(address)
        assert (memory.regions, memory.limit.left) == (before, left)

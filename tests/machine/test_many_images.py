"""The images of one load are mapped in the engine together: with the pages, charges and errors of each alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emu import Library, Machine
from emu.cpu.pages import PageMap
from emu.debug.gdb.commands import Commands, Texts
from emu.memory.limit import DEFAULT_LIMIT
from relink.errors import AddressSpaceError
from relink.load.by_address import ImagesByAddress
from relink.memory.address_space import PAGE, HostMemory
from tests.counting import engine_calls, python_calls
from tests.linker.craft import Library as Crafted
from tests.linker.test_few_entries import ARCHES
from tests.linker.test_together import chain
from tests.machine.dl import Guest

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


def chained(machine: Machine, at: int) -> Iterator[int]:
    """The addresses of the guest's struct link_map, by l_next (`at` 3) or l_prev (4), from the first one."""
    word, here = machine.arch.word_size, machine.link_maps.program
    while at == 4 and (after := machine.memory.read_uint(here + 3 * word, word)):
        here = after
    while here:
        yield here
        here = machine.memory.read_uint(here + at * word, word)


@pytest.mark.parametrize("arch", ["x86_64", "arm"])
def test_the_chain_of_link_maps_is_that_of_the_images_after_every_change(arch: str) -> None:
    chance, libraries = random.Random(arch), list[Library]()
    with Machine(arch) as machine:
        for number in range(40):
            if libraries and chance.random() < 0.4:
                libraries.pop(chance.randrange(len(libraries))).close()
            else:
                libraries.append(machine.load(Crafted(arch, f"lib{number}.so").image()))
            expected = [*map(machine.link_maps.link_map_address, machine.linker.images)]
            assert [*chained(machine, 3)][1:] == expected
            assert [*chained(machine, 4)][-2::-1] == expected
            for image in machine.linker.images:
                assert machine.image_at(image.base) is image
                assert machine.image_at(image.region.end) is None


@pytest.mark.not_taken_back("counts the calls of the engine")
def test_a_load_and_a_close_write_to_their_neighbours_in_the_chain_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def cost(count: int) -> int:
        with Machine("x86_64") as machine:
            assert machine.link_maps.program
            for number in range(count):
                machine.load(Crafted("x86_64", f"lib{number}.so").image())
            with engine_calls(monkeypatch, type(machine.cpu)) as calls:
                machine.load(Crafted("x86_64", "last.so").image()).close()
            return calls["write"]

    few = cost(3)
    assert few > 2, "the counter counts"
    assert cost(40) == few


def test_an_image_is_added_to_the_index_of_addresses_without_a_look_at_the_others() -> None:
    with Machine("x86_64") as machine:
        index, images = ImagesByAddress(), machine.linker.images

        def cost(count: int) -> int:
            while len(images) < count:
                machine.load(Crafted("x86_64", f"lib{len(images)}.so").image())
            index.find(images[:-1], 0)
            return python_calls(lambda: index.find(images, images[-1].base))

        few = cost(10)
        assert few > 5, "the counter counts"
        assert cost(80) <= few + 5
        assert index.find(images, images[5].base) is images[5]


def test_the_list_of_images_that_a_debugger_reads_in_pieces_is_made_once() -> None:
    made = list[bytes]()

    def libraries() -> bytes:
        made.append(b"%d" % len(made) * 1000)
        return made[-1]

    unused: Any = None
    texts = Texts(unused, libraries, unused, unused)
    commands = Commands(unused, unused, unused, unused, texts, 0, range(0))
    for number in (1, 2):
        pieces = [commands._transfer(b"libraries-svr4:read::%x,64" % at) for at in range(0, 1000, 100)]
        assert b"".join(piece[1:] for piece in pieces) == made[-1]
        assert len(made) == number


@pytest.mark.not_taken_back("counts calls")
def test_dlopen_of_what_is_loaded_or_absent_makes_few_calls_for_each_image(tmp_path: Path) -> None:
    """But for those that have been loaded since it was called first. Pages that are used first cost some calls."""

    def cost(count: int) -> int:
        with Guest("x86_64") as guest:
            for number in range(count):
                path = tmp_path / f"lib{number}.so"
                path.write_bytes(Crafted("x86_64", path.name).image())
                guest.machine.load(path)
            assert guest.open(str(tmp_path / "lib1.so"))
            calls = python_calls(lambda: guest.open("/absent/lib.so"))
            assert "absent" in (guest.error() or "")
            return calls + python_calls(lambda: guest.open(str(tmp_path / "lib1.so")))

    cost(2)  # what is made once
    few = cost(2)
    assert few > 100, "the counter counts"
    assert cost(40) <= few + 5 * 38

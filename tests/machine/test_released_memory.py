"""Memory of the host that one region had and another gets: nobody sees the other's bytes."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from emu import Machine
from relink import HostMemory
from relink.memory import host_pages
from relink.memory.host_pages import give_back
from relink.memory.once import caches_are_used
from tests.linker.craft import DATA, Library, Sym


@pytest.fixture(autouse=True)
def _large(monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries made here span a MiB."""
    monkeypatch.setattr(HostMemory._give_back, "__defaults__", (1 << 21,))
    monkeypatch.setattr(host_pages, "_spare", {})


ARCHES = ("x86_64", "riscv32", "loongarch64")


def _library(arch: str, name: str, data: bytes) -> bytes:
    return Library(arch, name, symbols=[Sym("data", DATA)], data=data.ljust(256, b"\0")).image()


@pytest.mark.not_taken_back("snapshots keep the memory of released regions")
@pytest.mark.parametrize("arch", ARCHES)
def test_memory_is_used_again_and_is_clear(arch: str) -> None:
    full, empty = _library(arch, "full.so", b"\xff" * 256), _library(arch, "empty.so", b"")
    with Machine(arch) as machine:
        before = machine.load(full)
        host = before.image.region.buffer.ctypes.data
        machine.unload(before.image)
        after = machine.load(empty)
        region = after.image.region
        assert region.buffer.ctypes.data == host, "otherwise this shows nothing"
        assert machine.memory.read(after.image.symbol("data").address, 256) == bytes(256)
        machine.unload(after.image)
    memory = HostMemory(arch)
    region = memory.reserve(0x4000)
    region.buffer[:] = 1
    memory.release(region)
    assert not memory.reserve(0x4000).buffer.any()


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("hold", ["array", "part", "view"])
def test_an_array_that_somebody_holds_stays_as_it_was(arch: str, hold: str) -> None:
    full, other = _library(arch, "full.so", b"\xff" * 256), _library(arch, "other.so", b"\xee" * 256)
    with Machine(arch) as machine:
        image = machine.load(full).image
        region, start = image.region, image.symbol("data").address - image.region.address
        buffer = region.buffer
        part = slice(start, start + 256)
        held: Any = {"array": buffer, "part": buffer[part], "view": buffer.data[part]}[hold]
        del buffer
        machine.unload(image)
        machine.load(other)
        kept = bytes(held[part] if hold == "array" else held)
        assert kept == b"\xff" * 256


@pytest.mark.not_taken_back("snapshots keep the memory of released regions")
def test_a_region_that_was_released_does_not_lead_to_the_memory_of_another() -> None:
    with Machine("x86_64") as machine:
        image = machine.load(_library("x86_64", "one.so", b"1")).image
        region = image.region
        machine.unload(image)
        machine.load(_library("x86_64", "two.so", b"2"))
        assert len(region.buffer) == 0


@pytest.mark.parametrize("arch", ARCHES)
def test_a_snapshot_keeps_the_memory_of_what_is_unloaded_after_it(arch: str) -> None:
    one, two = _library(arch, "one.so", b"\x11" * 256), _library(arch, "two.so", b"\x22" * 256)
    with Machine(arch) as machine:
        library = machine.load(one)
        address = library.image.symbol("data").address
        with machine.snapshot() as snapshot:
            for _ in range(3):
                machine.unload(library.image)
                machine.load(two)
                machine.restore(snapshot)
                assert machine.memory.read(address, 256) == b"\x11" * 256
                assert library.image.region.buffer.any()


@pytest.mark.not_taken_back("snapshots keep the memory of released regions")
def test_what_is_kept_is_bounded() -> None:
    with Machine("x86_64") as machine:
        libraries = [machine.load(_library("x86_64", f"{n}.so", b"1")) for n in range(20)]
        for library in libraries:
            machine.unload(library.image)
    assert {len(each) for each in host_pages._spare.values()} == {1, host_pages._MOST_SPARE}
    memory = HostMemory("x86_64")
    for number in range(1, 2 * host_pages._MOST_SIZES):
        memory.release(memory.reserve(number << 12))
    memory.release(memory.reserve(4 << 20))
    assert len(host_pages._spare) == host_pages._MOST_SIZES
    assert max(host_pages._spare) < 4 << 20


@pytest.mark.not_taken_back("snapshots keep the memory of released regions")
@pytest.mark.parametrize("arch", ARCHES)
def test_a_machine_gets_a_clear_stack_and_thread(arch: str) -> None:
    for _ in range(3):
        with Machine(arch) as machine:
            stack, thread = machine.stack, machine.threads.main
            addresses = [(stack.bottom, stack.top), (thread.start, machine.thread_pointer)]
            for low, high in addresses:
                assert not any(machine.memory.read(low, min(high - low, 1 << 16)))
                assert not any(machine.memory.read(max(high - (1 << 14), low), min(high - low, 1 << 14) - 64))
                machine.memory.write(low, b"\xff" * min(high - low, 1 << 15))
                machine.memory.write(max(high - (1 << 13), low), b"\xff" * 64)
            region = machine.memory.region_at(stack.bottom)
        assert region is not None
        assert len(region.buffer) == 0, "the next machine has it"


def test_a_machine_is_closed_in_a_process_whose_memory_is_locked() -> None:
    """The host does not take locked pages back."""
    with Machine("x86_64") as machine:
        region = machine.memory.region_at(machine.stack.bottom)
        assert region is not None
        host, libc = ctypes.c_void_p(region.buffer.ctypes.data), ctypes.CDLL(None)
        if libc.mlock(host, ctypes.c_size_t(4096)):
            pytest.skip("this process may not lock memory")
    assert libc.munlock(host, ctypes.c_size_t(4096)) == 0, "it is still mapped"
    assert len(region.buffer) > 0, "no other machine has it"


def test_only_whole_mappings_are_kept() -> None:
    block = host_pages.host_pages(0x8000)
    part = block[:0x4000]
    assert not give_back(part, 1)
    assert not give_back(block, 1), "the part refers to it"
    del part
    assert give_back(block, 1)


def test_it_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELINK_EMU_NO_CACHE", "1")
    monkeypatch.setattr(host_pages, "_reused", caches_are_used())
    memory = HostMemory("x86_64")
    region = memory.reserve(0x4000)
    memory.release(region)
    assert len(region.buffer) == 0x4000
    assert not host_pages._spare

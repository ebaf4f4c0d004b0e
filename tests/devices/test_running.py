"""Placed programs run: start-up code copies its data, calls between flash and RAM go through veneers."""

from __future__ import annotations

import struct

import pytest

from emu import Machine
from relink import LinkScript, MemoryRegion
from tests.devices.firmware import FAR, NEAR, TARGETS, firmware, script
from tests.fixtures import arch_of
from tests.objects.build import compiled


def expected(n: int, counter: int) -> int:
    """What `main_loop` answers: see APP."""
    square = [0, 1, 4, 9, 16][n % 5] + [3, 4][n & 1]
    return square + counter + n + 11


@pytest.mark.parametrize("gc", [False, True], ids=["all", "gc"])
@pytest.mark.parametrize("target", TARGETS)
def test_start_up_code_and_calls_between_regions_run(target: str, gc: bool) -> None:
    rules = script(FAR, gc=gc)
    with Machine(arch_of(target)) as machine:
        library = machine.load(firmware(target), script=rules)
        image = library.image
        assert image.objects is not None
        assert image.objects.placed is not None
        moved = {s.name: s for s in image.objects.placed.sections if s.load_address != s.address}
        assert set(moved) == {".ramfunc", ".data"}
        assert library.function("main_loop", "int(int)")(5) == expected(5, 7) - 11
        assert library.function("quick", "int(int)")(1) == expected(1, 12) - 11


@pytest.mark.parametrize("target", TARGETS)
def test_start_up_code_runs_in_a_machine_as_on_the_device(target: str) -> None:
    """What it copies is where its section is stored."""
    with Machine(arch_of(target)) as machine:
        library = machine.load(firmware(target), script=script(FAR))
        data = library.image.section(".data").address
        machine.memory.write(data, bytes(4))
        library.function("reset", "void(void)")()
        assert library.symbols["answer"].read("int") == expected(5, 7)


def test_a_program_may_run_elsewhere_than_it_is_stored() -> None:
    """As extensions do that a loader copies: linked for RAM, all of it stored in flash."""
    flash, ram = MemoryRegion("flash", 0x0800_0000, 0x10000), MemoryRegion("ram", 0x2000_0000, 0x10000)
    place = dict.fromkeys((".text", ".rodata", ".data"), (ram, flash))
    source = "int n = 3; const int t[2] = {4, 5}; int f(int i) { return t[i & 1] + n++; }"
    with Machine("riscv32") as machine:
        image = machine.load(compiled("riscv32", source), script=LinkScript.of({**place, ".bss": ram})).image
        chunks = image.chunks()
        assert all(flash.origin <= chunk.address < flash.end for chunk in chunks)
        assert image.symbol("f").address == ram.origin
        assert machine.call(ram.origin, "int(int)", 1) == 8
        for address, data in chunks:
            assert machine.memory.read(address, len(data)) == data


def test_an_application_is_linked_against_what_is_resident() -> None:
    """Two images of one linker, each with a script."""
    boot = MemoryRegion("boot", 0x0800_0000, 0x1000, "rx")
    low, high = MemoryRegion("low", 0x2000_0000, 0x1000, "rw"), MemoryRegion("high", 0x2000_1000, 0x1000, "rw")
    app = MemoryRegion("app", 0x0900_0000, 0x1000, "rx")
    with Machine("aarch64") as machine:
        first = compiled("aarch64", "int ticks = 5; int now(void) { return ticks++; }\n")
        machine.load(first, name="boot", script=LinkScript.of(regions=[boot, low]))
        second = compiled("aarch64", "int now(void); int twice(void) { return now() + now(); }\n")
        library = machine.load(second, name="app", script=LinkScript.of(regions=[app, high]))
        assert library.image.symbol("twice").address == app.origin
        assert library.function("twice", "int(void)")() == 11


COPIES = """
extern const unsigned long __copy_table_start[], __copy_table_end[], __zero_table_start[], __zero_table_end[];
int ready = 3;
int later[3];
__attribute__((section(".noinit"))) int kept;
__attribute__((section(".ramfunc"))) int quick(int n) { return n + ready + later[0] + kept; }
long copies(int n) { return __copy_table_start + n < __copy_table_end ? __copy_table_start[n] : -1; }
long zeroes(int n) { return __zero_table_start + n < __zero_table_end ? __zero_table_start[n] : -1; }
long start(void) { return quick(1) + copies(0) + zeroes(0); }
"""


@pytest.mark.parametrize("target", TARGETS)
def test_tables_say_what_start_up_code_copies_and_zeroes(target: str) -> None:
    with Machine(arch_of(target)) as machine:
        library = machine.load(compiled(target, COPIES), script=script(FAR, entry="start"))
        assert library.image.objects is not None
        assert library.image.objects.placed is not None
        placed = {s.name: s for s in library.image.objects.placed.sections}
        rows = [placed[".ramfunc"], placed[".data"]]
        wanted = [n for s in rows for n in (s.load_address, s.address, s.size)]
        copies, zeroes = (library.function(name, "long(int)") for name in ("copies", "zeroes"))
        assert [copies(n) for n in range(7)] == [*wanted, -1]
        assert [zeroes(n) for n in range(3)] == [placed[".bss"].address, placed[".bss"].size, -1]
        assert (placed[".noinit"].address, placed[".noinit"].bits) == (placed[".bss"].address + 12, False)


def test_an_image_at_address_zero_runs() -> None:
    with Machine("aarch64") as machine:
        library = machine.load(firmware("aarch64"), script=script((0, 0x2000_0000)))
        assert library.function("main_loop", "int(int)")(5) == expected(5, 7) - 11
        vectors = struct.unpack("<QQ", machine.memory.read(0, 16))
        assert vectors == (0x2000_4000, library.image.symbol("reset").address)


def test_flash_and_ram_of_a_script_may_be_near_each_other() -> None:
    with Machine("arm") as machine:
        library = machine.load(firmware("thumb"), script=script(NEAR))
        assert not library.link_map().stubs
        assert library.function("main_loop", "int(int)")(5) == expected(5, 7) - 11


def test_a_script_is_data() -> None:
    assert isinstance(script(), LinkScript)

"""Objects that reach for data of images in low memory are placed there."""

from __future__ import annotations

import pytest

from emu import Machine
from relink import HostMemory, Linker, LoadOptions
from relink.errors import RelocationOverflow
from tests.fixtures import arch_of
from tests.objects.build import compiled, linked

LOW = "int value = 5; int *where(void) { return &value; }"
USER = "extern int value; int get(void) { return value; } void set(int v) { value = v; }"
DIRECT = {"x86_64": "-fno-pic", "riscv64": "-mcmodel=medany"}


@pytest.mark.parametrize("target", DIRECT)
def test_an_object_finds_data_of_one_in_low_memory(target: str) -> None:
    with Machine(arch_of(target)) as machine:
        low = machine.load(compiled(target, LOW, "-fno-pic"))
        user = machine.load(compiled(target, USER, "-fno-pic", DIRECT[target]))
        user.function("set", "void(int)")(7)
        assert low.symbols["value"].read("int") == 7


@pytest.mark.parametrize("target", DIRECT)
def test_an_object_in_low_memory_finds_data_of_an_earlier_one(target: str) -> None:
    """The earlier one could lie anywhere: it addresses its data relative to itself, or is data alone."""
    first = "int own = 1; int value = 5; int get(void) { return value + own; }"
    for early, place in ((first, DIRECT[target]), ("int value = 5;", "-fno-pic")):
        with Machine(arch_of(target)) as machine:
            value = machine.load(compiled(target, early, "-fno-pic", place)).symbols["value"].address
            late = machine.load(compiled(target, "extern int value; int *at(void) { return &value; }", "-fno-pic"))
            assert late.function("at", "unsigned long(void)")() == value < late.image.region.end < 1 << 31


def test_objects_that_offer_data_stay_in_reach_of_shared_objects() -> None:
    """Later objects may refer directly to both. What must lie low cannot: an overflow names the symbol."""
    linker = Linker(HostMemory("x86_64"))
    shared = linker.load(linked("x86_64", [compiled("x86_64", "int there = 1;", "-fPIC")]))
    early = linker.load(compiled("x86_64", "int value = 5; int get(void) { return value; }"))
    assert abs(early.region.address - shared.region.address) < 1 << 30
    both = "extern int value, there; int sum(void) { return value + there; }"
    linker.load(compiled("x86_64", both))
    with pytest.raises(RelocationOverflow, match="value"):
        linker.load(compiled("x86_64", "extern int value; int *where(void) { return &value; }"))


def test_objects_that_offer_data_are_loaded_elsewhere_when_low_memory_is_full() -> None:
    linker = Linker(HostMemory("x86_64"))
    for low, high in ((0x10_0000, 0x4000_0000), (0x4000_0000, 0x8000_0000)):
        linker.memory.reserve(high - low, at=low, name="taken")
    assert linker.load(compiled("x86_64", "int value = 5;")).region.address > 1 << 32


@pytest.mark.parametrize("target", DIRECT)
def test_what_an_object_in_low_memory_has_deferred_comes_into_its_reach(target: str) -> None:
    early = "extern int value; int *where(void) { return &value; } int get(void) { return value; }"
    linker = Linker(HostMemory(arch_of(target)))
    waiting = linker.load(compiled(target, early, "-fno-pic"), options=LoadOptions(allow_deferred=True))
    assert waiting.region.end < 1 << 31
    linker.load(compiled(target, "int value = 9;", "-fPIC"))
    assert waiting.deferred == ()


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("x86_64", "lea gone(%rip), %rax\nret\n"),
        ("riscv64", "lla a0, gone\nret\n"),
        ("loongarch64", "pcalau12i $a0, %pc_hi20(gone)\naddi.d $a0, $a0, %pc_lo12(gone)\nret\n"),
    ],
)
def test_a_weak_symbol_nobody_defines_is_reached_at_0(target: str, text: str) -> None:
    code = compiled(target, f".weak gone\n.text\n.globl get\nget:\n{text}", language="assembler")
    with Machine(arch_of(target)) as machine:
        assert machine.load(code).function("get", "unsigned long(void)")() == 0
        defined = machine.load(compiled(target, "int gone = 7;", "-fPIC"))
        there = machine.load(code, name="again.o").function("get", "unsigned long(void)")()
        assert there == defined.image.symbol("gone").address


def test_an_object_that_refers_to_nothing_low_is_not_placed_there() -> None:
    linker = Linker(HostMemory("x86_64"))
    linker.load(compiled("x86_64", LOW, "-fno-pic"))
    assert linker.load(compiled("x86_64", USER, "-fPIC")).region.end > 1 << 32
    other = compiled("x86_64", "int get2(void); int other(void) { return get2(); } int get2(void) { return 1; }")
    assert linker.load(other).region.end > 1 << 32

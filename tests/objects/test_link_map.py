"""Link maps: what they say is where things are, in memory and by other tools' accounts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from emu import Library, Machine
from emu.errors import GuestFault
from relink import HostMemory, Linker
from relink.arch import architecture
from relink.errors import LinkError, UseAfterUnload
from relink.link_map import LinkMap
from relink.linker import LoadOptions
from tests.fixtures import TARGETS as FIXTURE_TARGETS
from tests.fixtures import arch_of, each_target, fixture
from tests.grouping import each
from tests.objects.build import compiled, linked

IMPORTS = {"my_host_function": lambda value: value * 2}
MAIN = """
extern int outside(int); extern int other_word; extern int shared_block[16];
static int hidden(int x) { return x + 1; }
int counter = 5;
int calls(int x) { return outside(hidden(x)); }
int reads(void) { return other_word + shared_block[3]; }
_Thread_local int per_thread = 9;
int *where(void) { return &per_thread; }
"""
OTHER = """
int other_word = 30; int shared_block[16];
const char text[] = "constant";
"""


kind = each_target()


@pytest.fixture
def pic(kind: str) -> list[Path]:
    return [compiled(kind, text, "-fPIC", "-fcommon") for text in (MAIN, OTHER)]


@pytest.fixture
def library(kind: str, pic: list[Path]) -> Iterator[Library]:
    with Machine(arch_of(kind)) as machine:
        yield machine.load(pic, symbols={"outside": lambda value: value * 2})


def test_sections_lie_where_the_map_says_per_input(library: Library, pic: list[Path]) -> None:
    link = library.link_map()
    assert link.objects == tuple(map(str, pic))
    memory = library._machine.memory
    for path in pic:
        with path.open("rb") as file:
            elf = ELFFile(file)
            names = [s.name for s in elf.iter_sections() if s["sh_flags"] & 2 and s["sh_type"] != "SHT_GROUP"]
            assert sorted(s.name for s in link.sections if s.object == str(path)) == sorted(names)
            data: Any = elf.get_section_by_name(".data")
            place = link.section(".data", str(path))
            assert memory.read(place.address, place.size) == data.data(), "nothing there is relocated"
            assert place.permissions == "rw-"
            assert place.align == data["sh_addralign"]
    for section in link.sections:
        segment = next(s for s in link.segments if s.address <= section.address < s.address + s.size)
        assert section.address + section.size <= segment.address + segment.size
        if not section.name.startswith((".t", ".data.rel.ro")):  # TLS images and what is relocated lie with data
            assert section.permissions == segment.permissions
    assert all(a.address + a.size <= b.address for a, b in zip(link.sections, link.sections[1:], strict=False))


def test_symbols_are_those_of_the_objects_with_their_places(library: Library, pic: list[Path]) -> None:
    link = library.link_map()
    assert link.symbol("calls").address == library.image.symbol("calls").address
    assert link.symbol("counter").object == str(pic[0])
    assert (link.symbol("other_word").object, link.symbol("other_word").size) == (str(pic[1]), 4)
    assert link.symbol("text").type == "OBJECT"
    assert link.symbol("per_thread").type == "TLS"
    assert link.symbol("per_thread").address == 0, "the offset in the image's block"
    assert link.symbol("calls").binding == "GLOBAL"
    assert not [s.name for s in link.symbols if s.name.startswith((".L", "$"))]
    code = library.image.architecture.code_address_mask
    text = link.section(".text", str(pic[0]))
    assert text.address <= link.symbol("calls").address & code < text.address + text.size


def test_slots_hold_what_their_symbols_bound_to(library: Library) -> None:
    link = library.link_map()
    memory, word = library._machine.memory, library.image.architecture.word_size
    assert link.slots
    for slot in link.slots:
        assert slot.words == tuple(memory.read_uint(slot.address + i * word, word) for i in range(len(slot.words)))
        if slot.kind == "ADDRESS" and slot.provider == library.image.name:
            assert slot.value == library.symbols[slot.symbol].address
    if any(slot.symbol == "other_word" for slot in link.slots):
        slot = library.image.got_slot("other_word")
        assert (slot.kind, slot.provider) == ("ADDRESS", library.image.name)
        assert slot.value == link.symbol("other_word").address
    thread_local = [slot for slot in link.slots if slot.symbol == "per_thread"]
    assert all(slot.kind.startswith("TLS_") for slot in thread_local)


def test_stubs_reach_what_the_map_says(kind: str, pic: list[Path]) -> None:
    arch = architecture(arch_of(kind))
    with Machine(arch) as machine:
        lib = machine.load(pic, symbols={"outside": lambda value: value * 2})
        assert lib.function("calls", "int(int)")(20) == 42
        if arch.stub is None:
            assert lib.link_map().stubs == ()
            return
        stub = lib.image.stub("outside")
        assert stub.provider == "the host"
        assert machine.traps.get(stub.target) is not None, "its target is the trap of the host function"
        assert machine.call(stub.address + _entry(arch.name, kind), "int(int)", 4) == 8, "and it jumps there"


def _entry(arch: str, kind: str) -> int:
    """Where Thumb code enters a stub of Arm's."""
    rows = architecture(arch).relocations.values()
    return next((row.entry for row in rows if row.name == "THM_CALL"), 0) if kind == "thumb" else 0


def test_relink_alone_answers_the_same(kind: str, pic: list[Path]) -> None:
    """As docs/objects.md has it: `image.section(".text").address`, `image.got_slot(…)`, without a CPU."""
    linker = Linker(HostMemory(arch_of(kind)))
    other = linked(kind, [compiled(kind, "int outside(int x) { return x; }\n", "-fPIC")])
    linker.load(other)
    image = linker.load(pic, options=LoadOptions(unresolved=lambda image, symbol: 0))
    section = image.section(".text", str(pic[0]))
    assert linker.memory.read(section.address, 4) != b"\0" * 4
    for slot in image.link_map().slots:
        if slot.symbol == "outside":
            assert slot.value == image.scope[0].resolver.find("outside", None, linker.images).address[0]
            assert slot.provider == str(other)


def test_what_is_not_there_is_a_typed_error(library: Library) -> None:
    image = library.image
    with pytest.raises(LinkError, match=r"has no section \.nowhere"):
        image.section(".nowhere")
    with pytest.raises(LinkError, match=r"has no section \.text of x\.o"):
        image.section(".text", "x.o")
    with pytest.raises(LinkError, match="has no GOT slot for nobody"):
        image.got_slot("nobody")
    with pytest.raises(LinkError, match="has no stub for nobody"):
        image.stub("nobody")
    with pytest.raises(LinkError, match="defines no symbol nobody"):
        library.link_map().symbol("nobody")


def test_a_closed_library_has_no_map(kind: str, pic: list[Path]) -> None:
    with Machine(arch_of(kind)) as machine:
        lib = machine.load(pic, symbols={"outside": lambda value: value})
        link = lib.link_map()
        lib.close()
        with pytest.raises(UseAfterUnload):
            lib.link_map()
        assert link.section(".text"), "a map outlives its image: it is a snapshot"


# ---------------------------------------------------------------- commons and groups


@pytest.mark.parametrize("target", FIXTURE_TARGETS)
def test_commons_have_the_place_alignment_and_size_they_asked_for(target: str) -> None:
    with Machine(arch_of(target)) as machine:
        lib = machine.load(fixture(target, "objects/commons"))
        commons = {common.name: common for common in lib.link_map().commons}
        assert set(commons) == {"common_word", "common_block", "common_shared"}
        assert (commons["common_block"].size, commons["common_block"].align) == (100, 64)
        assert commons["common_block"].address % 64 == 0
        assert lib.function("block_address", "uintptr_t()")() == commons["common_block"].address


@pytest.mark.parametrize("target", FIXTURE_TARGETS)
def test_groups_that_were_left_out_are_named_with_what_was_kept(target: str) -> None:
    first, second = fixture(target, "objects/comdat_a"), fixture(target, "objects/comdat_b")
    with Machine(arch_of(target)) as machine:
        link = machine.load([first, second], allow_unresolved=True).link_map()
    assert link.discarded
    for group in link.discarded:
        assert (group.object, group.kept) == (str(second), str(first))
        assert group.sections
        assert all(link.section(name).object == str(first) for name in group.sections if ".text" in name)


# ---------------------------------------------------------------- shared objects


@pytest.mark.parametrize("target", FIXTURE_TARGETS)
def test_shared_objects_tell_sections_and_slots(target: str) -> None:
    with Machine(arch_of(target)) as machine:
        lib = machine.load(fixture(target, "basic"), symbols=IMPORTS)
        link = lib.link_map()
        with fixture(target, "basic").open("rb") as file:
            text: Any = ELFFile(file).get_section_by_name(".text")
            assert link.section(".text").address == text["sh_addr"] + lib.image.bias
        slot = link.slot("my_host_function", "PLT")
        assert slot.provider == "the host"
        assert machine.traps.get(slot.value) is not None
        for empty in (link.objects, link.stubs, link.commons):
            assert len(empty) == 0
        assert link.symbol("counter").address == lib.symbols["counter"].address


def test_a_file_without_sections_still_tells_its_slots(target: str) -> None:
    with Machine(arch_of(target)) as machine:
        link = machine.load(fixture(target, "basic-nosections"), symbols=IMPORTS).link_map()
    assert link.sections == ()
    assert link.slot("my_host_function", "PLT")


@each("name", ["tls", "ifunc"])
def test_thread_local_and_ifunc_slots_have_their_kinds(target: str, name: str) -> None:
    path = fixture(target, name)
    with Machine(arch_of(target), library_path=[path.parent]) as machine:
        kinds = {slot.kind for slot in machine.load(path).link_map().slots}
    if name == "tls":
        assert kinds & {"TLS_GD", "TLS_DESC"}
        assert "TLS_IE" in kinds
    else:
        assert "IRELATIVE" in kinds


# ---------------------------------------------------------------- as text


def test_the_text_has_everything_in_order_of_address(library: Library) -> None:
    link = library.link_map()
    text = str(link)
    for section in link.sections:
        assert section.name in text
    for symbol in link.symbols:
        assert symbol.name in text
    lines = text[text.index("Sections and symbols") :].partition("\n\n")[0].splitlines()[1:]
    addresses = [int(line.split()[0], 16) for line in lines]
    assert addresses == sorted(addresses)
    for title in ("Inputs", "Segments", "Sections and symbols", "Thread-local symbols"):
        assert f"\n{title}" in text


def test_an_empty_map_prints() -> None:
    nothing = LinkMap("x", "arm", 0, 4096, (), (), (), (), None, (), (), (), ())
    assert str(nothing) == "x: arm, 0x00000000 to 0x00001000"


def test_a_fault_and_the_map_agree(kind: str) -> None:
    crash = "int crash(volatile int *p) { return *p; }\n"
    with Machine(arch_of(kind)) as machine:
        lib = machine.load(compiled(kind, crash, "-ffunction-sections"))
        place = lib.link_map().section(".text.crash")
        with pytest.raises(GuestFault) as caught:
            lib.function("crash", "int(void *)")(8)
        assert place.address <= caught.value.pc < place.address + place.size

"""Sections of unusual kinds, references to what is removed, and other inputs than plain objects."""

from __future__ import annotations

from pathlib import Path

import pytest

from emu import Machine
from relink import (
    AddressSpaceError,
    HostMemory,
    Linker,
    LinkError,
    LinkErrors,
    LinkScript,
    LoadOptions,
    MemoryRegion,
    OutputSection,
)
from relink.objects.script import Place
from tests.devices.firmware import FAR, TARGETS, firmware, linked_for, script
from tests.devices.test_scripts import FLASH, RAM, USUAL, link, placed
from tests.fixtures import arch_of
from tests.objects.build import archived, compiled, run, zig

# ---------------------------------------------------------------- sections of unusual kinds


@pytest.mark.parametrize("target", TARGETS)
def test_commons_thread_local_storage_and_unusual_sections_are_placed(target: str) -> None:
    source = """
    int common_one[3]; char common_two;
    static _Thread_local int counter = 5; static _Thread_local char later; void set(int n) { later = n; }
    __attribute__((section(".noinit"))) int kept;
    __attribute__((section("plain"), used)) const int table = 7;
    extern const int __start_plain[];
    __attribute__((section(".text.foo"), noinline)) int foo(int n) { return n + 1; }
    int use(void) { return common_one[1] + common_two + counter++ + later + kept + *__start_plain - 6; }
    int both(int n) { return foo(n) + use(); }
    """
    place = {**USUAL, ".tdata": (RAM, FLASH), ".tbss": RAM}
    objects = [compiled(target, source, "-fcommon", "-ftls-model=local-exec", "-fno-asynchronous-unwind-tables")]
    rules = LinkScript.of(place, discard=(".ARM.*",))
    sections = placed(linked_for(target, objects, rules))
    assert sections["plain"].region == "flash"
    assert sections[".noinit"].bits is False
    assert sections[".noinit"].address >= sections[".bss"].address + sections[".bss"].size
    assert sections[".tdata"].load_address == sections[".tdata"].load_address & 0x0FFF_FFFF
    assert sections[".tbss"].address == sections[".tdata"].address + sections[".tdata"].size
    with Machine(arch_of(target)) as machine:
        library = machine.load(objects, script=rules)
        assert library.function("both", "int(int)")(3) == 4 + 5 + 1
        assert library.function("both", "int(int)")(3) == 4 + 6 + 1


def test_empty_sections_and_odd_alignments_are_packed() -> None:
    source = """
    .section .empty, "a"
    .section .bytes, "a"
    .byte 1
    .section .more, "aw"
    .byte 2
    .section .more.aligned, "aw"
    .balign 2
    .byte 3
    .text
    .globl f
    f: ret
    """
    sections = placed(link(source, LinkScript.of(USUAL), "x86_64", "assembler"))
    assert ".empty" not in sections
    assert (sections[".bytes"].address, sections[".bytes"].size) == (0x0800_0001, 1)
    assert (sections[".more"].address, sections[".more"].size) == (0x2000_0000, 1)
    assert sections[".more.aligned"].address == 0x2000_0002
    assert sections[".more"].load_address == 0x0800_0002
    assert sections[".more.aligned"].load_address == 0x0800_0004


def test_an_empty_section_needs_no_region() -> None:
    """Assemblers write .data and .bss into every object."""
    source = """
    .data
    .globl nothing
    nothing:
    .bss
    .text
    .globl f
    f: ret
    """
    image = link(source, LinkScript.of({".text": FLASH}), "x86_64", "assembler")
    assert list(placed(image)) == [".text"]
    assert FLASH.origin <= image.symbol("nothing").address <= FLASH.end


def test_patterns_choose_by_section_and_by_file() -> None:
    objects = [compiled("arm", f"int d_{n} = {n}; int f_{n}(void) {{ return d_{n}; }}\n", "-ffunction-sections")
               for n in range(3)]  # fmt: skip
    named = f"*{objects[1].name}(.text.*)"
    place: dict[str, Place] = {
        ".first": OutputSection(FLASH, inputs=(named,)), ".text": FLASH, ".data": (RAM, FLASH), ".bss": RAM,
    }  # fmt: skip
    image = linked_for("arm", objects, LinkScript.of(place, discard=(".ARM.*",)))
    assert image.symbol("f_1").address == 0x0800_0000
    assert image.symbol("f_0").address < image.symbol("f_2").address
    assert placed(image)[".first"].size == placed(image)[".text"].size // 2


def test_the_usual_sections_need_no_list() -> None:
    objects = firmware("thumb")
    rules = LinkScript.of(regions=[FLASH, RAM], entry="reset", gc=True)
    sections = placed(linked_for("thumb", objects, rules))
    assert sections[".isr_vector"].address == FLASH.origin
    assert sections[".data"].load_address < FLASH.end
    assert sections[".bss"].region == "ram"


def test_the_link_map_has_the_pages_of_every_region() -> None:
    image = linked_for("riscv32", firmware("riscv32"), script(FAR))
    segments = [(segment.address, segment.permissions) for segment in image.link_map().segments]
    assert segments == [(FAR[0], "r-x"), (FAR[1], "rwx")]
    assert image.section(".ramfunc").address == FAR[1]


def test_memory_that_is_all_ram_needs_no_copy() -> None:
    ram = MemoryRegion("all", 0x8000_0000, 0x10000)
    image = linked_for("riscv32", firmware("riscv32"), LinkScript.of(regions=[ram], entry="reset"))
    assert all(section.load_address == section.address for section in placed(image).values())


# ---------------------------------------------------------------- references


def test_references_to_discarded_sections_are_errors() -> None:
    with pytest.raises(LinkErrors) as caught:
        link("__attribute__((section(\".gone\"))) static int gone = 4; int f(int n) { return gone += n; }\n",
             LinkScript.of(USUAL, discard=(".gone",)))  # fmt: skip
    assert all("discarded" in str(error) for error in caught.value.exceptions)


def test_gc_keeps_what_is_kept_named_or_referred_to() -> None:
    source = """
    __attribute__((section(".keepme"))) int kept = 1;
    __attribute__((section(".dropme"))) int dropped = 2;
    __attribute__((section("listed"))) const int one = 3;
    __attribute__((section(".also"))) int also = 4;
    __attribute__((section(".text.asked"))) int asked(void) { return also; }
    extern const int __start_listed[];
    __attribute__((section(".text.start"))) int start(void) { return __start_listed[0]; }
    __attribute__((constructor)) static void begin(void) { *(volatile int *)&also = 5; }
    """
    rules = LinkScript.of({**USUAL, ".init_array": FLASH}, entry="start", gc=True, keep=(".keep*",))
    image = Linker(HostMemory("riscv32")).load(
        [compiled("riscv32", source)], options=LoadOptions(script=rules, undefined=["asked"])
    )
    names = {symbol.name for symbol in image.link_map().symbols}
    assert {"kept", "one", "also", "asked", "start", "begin"} <= names
    assert "dropped" not in names
    assert ".dropme" not in placed(image)


@pytest.mark.parametrize("target", ["x86_64", "riscv64", "thumb"])
def test_gc_keeps_unwinding_tables_but_not_the_code_they_describe(target: str) -> None:
    source = "int used(int n) { return n + 1; }\nint unused(int n) { return n + 2; }\n"
    flags = ("-fasynchronous-unwind-tables", "-funwind-tables", "-ffunction-sections")
    image = linked_for(target, [compiled(target, source, *flags)], LinkScript.of(USUAL, entry="used", gc=True))
    names = {symbol.name for symbol in image.link_map().symbols}
    assert "used" in names
    assert "unused" not in names
    tables = [
        section.size for section in image.link_map().sections if section.name.startswith((".eh_", ".ARM.ex"))
    ]
    assert sum(tables) > 0


def test_gc_needs_no_definition_for_what_it_removes() -> None:
    source = 'int missing(void); __attribute__((section(".text.dead"))) int dead(void) { return missing(); }\n'
    source += '__attribute__((section(".text.start"))) int start(void) { return 1; }\n'
    assert link(source, LinkScript.of(USUAL, entry="start", gc=True)).symbol("start").address == FLASH.origin
    with pytest.raises(LinkError, match="undefined symbol: missing"):
        link(source, LinkScript.of(USUAL, entry="start"))


def test_archives_and_the_output_of_another_link_are_placed_too(tmp_path: Path) -> None:
    start, app = firmware("aarch64", "-fno-common")
    archive = archived(tmp_path / "libapp.a", [app])
    joined = tmp_path / "joined.o"
    run([zig(), "ld.lld", "-m", "aarch64linux", "-r", start, app, "-o", joined])
    wanted = linked_for("aarch64", [start, app], script(FAR))
    for objects in ([start, archive], [joined]):
        image = linked_for("aarch64", objects, script(FAR))
        assert [chunk.data for chunk in image.chunks()] == [chunk.data for chunk in wanted.chunks()]


@pytest.mark.parametrize("target", ["riscv32", "riscv64", "loongarch64"])
def test_relaxable_code_keeps_its_alignment(target: str) -> None:
    """Excess padding goes, and what follows it moves."""
    source = ".text\n.globl f, g\nf: nop\n.balign 16\ng: nop\n.size g, .-g\n.section .data\n.word g - f\n"
    rules = LinkScript.of(USUAL)
    image = linked_for(target, [compiled(target, source, "-mrelax", language="assembler")], rules)
    assert image.symbol("g").address == FLASH.origin + 16
    assert image.region.content(RAM.origin, 4).tolist() == [16, 0, 0, 0]  # type: ignore[union-attr]


def test_an_image_of_a_script_is_at_its_address_only() -> None:
    with pytest.raises(Exception, match="was placed by a link script: its base must be 0x8000000"):
        Linker(HostMemory("arm")).load(
            firmware("thumb"), options=LoadOptions(script=script(FAR), base=0x1000_0000)
        )
    linker = Linker(HostMemory("arm"))
    linker.load(firmware("thumb"), name="one", options=LoadOptions(script=script(FAR)))
    before = linker.memory.read(FAR[0], 64)
    with pytest.raises(Exception, match="taken by one"):
        linker.load(firmware("thumb"), name="two", options=LoadOptions(script=script(FAR), local=True))
    assert linker.memory.read(FAR[0], 64) == before
    assert len(linker.images) == 1


def test_what_is_no_object_cannot_be_placed(tmp_path: Path) -> None:
    shared = tmp_path / "lib.so"
    source = compiled("aarch64", "int f(void) { return 1; }\n", "-fpic")
    run([zig(), "ld.lld", "-m", "aarch64linux", "-shared", source, "-o", shared])
    linker = Linker(HostMemory("aarch64"))
    with pytest.raises(LinkError, match="is no relocatable object: a link script cannot place it"):
        linker.load(shared, options=LoadOptions(script=LinkScript.of(USUAL)))
    assert not linker.images


def test_addresses_beyond_the_architecture_are_refused() -> None:
    high = MemoryRegion("high", 0xFFFF_F000, 0x10000)
    source = "char a[0x2000] = {1}; int f(void) { return a[1]; }\n"
    with pytest.raises(AddressSpaceError, match="outside the address space"):
        link(source, LinkScript.of({".text": high, ".data": high, ".bss": high}), "riscv32")

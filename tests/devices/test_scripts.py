"""Link scripts that contradict themselves or the objects, and images that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from relink import (
    Image,
    LinkError,
    LinkScript,
    MemoryRegion,
    OutputSection,
    RegionOverflow,
    ScriptError,
    SectionOverlap,
    UnplacedSection,
    read_script,
)
from relink.objects.placed import PlacedSection
from relink.objects.script import Place
from relink.objects.script_file import region_of
from tests.devices.firmware import firmware, linked_for, script
from tests.objects.build import compiled

FLASH = MemoryRegion("flash", 0x0800_0000, 0x10000, "rx", fill=0xFF)
RAM = MemoryRegion("ram", 0x2000_0000, 0x4000, "rw")
USUAL: dict[str, Place] = {".text": FLASH, ".rodata": FLASH, ".data": (RAM, FLASH), ".bss": RAM}


def link(source: str, rules: LinkScript, target: str = "riscv32", language: str = "c", *flags: str) -> Image:
    return linked_for(target, [compiled(target, source, *flags, language=language)], rules)


def placed(image: Image) -> dict[str, PlacedSection]:
    assert image.objects is not None
    assert image.objects.placed is not None
    return {section.name: section for section in image.objects.placed.sections}


# ---------------------------------------------------------------- scripts


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: LinkScript.of({".text": MemoryRegion("a", 0, 0x1000), ".data": MemoryRegion("b", 0xFFF, 16)}),
         r"regions a \(0x0 to 0x1000\) and b \(0xfff to 0x100f\) overlap"),
        (lambda: LinkScript.of({".text": MemoryRegion("a", 0, 0x1000), ".data": MemoryRegion("a", 0x2000, 16)}),
         r"regions a \(0x0 to 0x1000\) and a \(0x2000 to 0x2010\) overlap"),
        (lambda: LinkScript.of({".text": MemoryRegion("a", 0, 0)}), "a region of 0 bytes"),
        (lambda: LinkScript.of({".text": MemoryRegion("a", -4, 16)}), "outside of any address space"),
        (lambda: LinkScript.of({".text": MemoryRegion("a b", 0, 16)}), "a word of letters"),
        (lambda: LinkScript.of({".text": MemoryRegion("a", 0, 16, "xyz")}), 'not of "rwx"'),
        (lambda: LinkScript.of({".text": MemoryRegion("a", 0, 16, fill=256)}), "not one byte"),
        (lambda: LinkScript.of({}), "no output section"),
        (lambda: LinkScript.of(regions=[RAM]), "no region can be executed"),
        (lambda: LinkScript.of({".text": OutputSection(FLASH, align=3)}), "not a power of two"),
        (lambda: LinkScript.of({".text": OutputSection(FLASH, align=16, at=0x0800_0008)}), "not aligned to 0x10"),
        (lambda: LinkScript.of({".text": 5}), "is no MemoryRegion"),  # type: ignore[dict-item]
        (lambda: LinkScript.of({".text": FLASH}, orphans="drop"), 'give "place" or "error"'),
        (lambda: LinkScript.of({".text*": FLASH, ".text": FLASH}), "two output sections are named .text"),
        (lambda: LinkScript((RAM,), (OutputSection(FLASH, name=".text"),)), "region flash is not in the script"),
    ],
)  # fmt: skip
def test_a_script_that_contradicts_itself_is_refused(make: Callable[[], object], problem: str) -> None:
    with pytest.raises(ScriptError, match=problem):
        make()


def test_a_script_may_be_a_file(tmp_path: Path) -> None:
    path = tmp_path / "board.toml"
    path.write_text(
        """
        entry = "reset"
        gc = true
        discard = [".ARM.*", ".eh_frame*"]
        [regions.flash]
        origin = 0x08000000
        length = "64K"
        attributes = "rx"
        [regions.ram]
        origin = 0x20000000
        length = "16 KiB"
        attributes = "rw"
        [[sections]]
        name = ".isr_vector"
        region = "flash"
        [[sections]]
        name = ".text"
        region = "flash"
        inputs = [".text .text.*"]
        [[sections]]
        name = ".ramfunc"
        region = "ram"
        load_in = "flash"
        align = 16
        [[sections]]
        name = ".data"
        region = "ram"
        load_in = "flash"
        [[sections]]
        name = ".bss"
        region = "ram"
        [symbols]
        _estack = "ram.end - 0x10"
        """
    )
    image = linked_for("thumb", firmware("thumb"), read_script(path))
    sections = placed(image)
    assert sections[".ramfunc"].address == 0x2000_0000
    assert sections[".data"].load_address < 0x0801_0000
    assert image.region.content(0x0800_0000, 4).tolist() == [0xF0, 0x3F, 0, 0x20]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("regions = 3", "regions is no table"),
        ("[regions.a]\norigin = 1", "region a has no length"),
        ("[regions.a]\norigin = 1\nlength = 'much'", "a: length 'much' is not a number"),
        ("[regions.a]\norigin = 1\nlength = 4.5", "a: length '4.5' is not a number"),
        ("[regions.a]\norigin = 1\nlength = 4\ncolour = 1", "has 'colour'; known are origin"),
        ("[regions.a]\norigin = 0\nlength = 4\n[[sections]]\nregion='a'", "a section has no name"),
        ("[regions.a]\norigin = 0\nlength = 4\n[[sections]]\nname='.text'\nregion='b'", "region 'b' is none of a"),
        ("[regions.a]\norigin = 0\nlength = 4\n[[sections]]\nname='.t'\nregion='a'\nkeep=1", "not true or false"),
        ("[regions.a]\norigin = 0\nlength = 4\n[sections]\nx=1", r"write \[\[sections\]\]"),
        ("[regions.a]\norigin = 0\nlength = 4\n[symbols]\nx=1.5", "symbol x: 1.5 is not a number or place"),
        ("sections = []", "no output section"),
        ("entry = 3\n[regions.a]\norigin = 0\nlength = 4", "entry and orphans are strings"),
        ("a = ", "is not TOML"),
    ],
)
def test_a_script_file_that_is_wrong_is_refused_by_name(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "board.toml"
    path.write_text(text)
    with pytest.raises(ScriptError, match=problem) as caught:
        read_script(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("flash=0x8000000,128K,rx", MemoryRegion("flash", 0x800_0000, 128 << 10, "rx")),
        ("ram = 536870912, 20k", MemoryRegion("ram", 0x2000_0000, 20 << 10)),
        ("rom=0,1M,rx,0xff", MemoryRegion("rom", 0, 1 << 20, "rx", 0xFF)),
    ],
)
def test_a_region_may_be_a_line(text: str, region: MemoryRegion) -> None:
    assert region_of(text) == region
    with pytest.raises(ScriptError, match="is not NAME=ORIGIN"):
        region_of(text.partition(",")[0])


# ---------------------------------------------------------------- what does not fit


def test_an_image_that_does_not_fit_says_by_how_much_and_what_is_largest() -> None:
    source = "char big[5000] = {1}; char small[16] = {2}; int f(void) { return big[3] + small[1]; }\n"
    rules = LinkScript.of({**USUAL, ".data": (MemoryRegion("ram", 0x2000_0000, 4096), FLASH), ".bss": FLASH})
    with pytest.raises(RegionOverflow, match=r"region ram overflows by 0x398 bytes.*largest: \.data") as caught:
        link(source, rules)
    assert (caught.value.region, caught.value.excess, caught.value.needed) == ("ram", 5016 - 4096, 5016)
    assert caught.value.largest[0][0] == ".data"


def test_bytes_stored_elsewhere_have_to_fit_there() -> None:
    source = "char big[5000] = {1}; int f(void) { return big[3]; }\n"
    small = MemoryRegion("flash", 0x0800_0000, 4096)
    with pytest.raises(RegionOverflow, match="region flash overflows"):
        link(source, LinkScript.of({".text": small, ".data": (RAM, small)}))


def test_a_huge_alignment_is_an_overflow_of_its_region() -> None:
    source = '.section .data.page, "aw"\n.balign 0x100000\n.word 1\n.text\nret\n'
    with pytest.raises(RegionOverflow, match="region flash overflows by 0xf0004 bytes"):
        link(source, LinkScript.of({".text": FLASH, ".data": (MemoryRegion("ram", 0x2000_0004, 4096), FLASH)}),
             "riscv32", "assembler")  # fmt: skip


@pytest.mark.parametrize(
    ("at", "problem"),
    [
        (0x0800_0002, "is not aligned to 0x10"),
        (0x0900_0000, "is not in its region flash"),
        (0x0800_0000, "lies in what is placed in region flash before it, up to 0x8000010"),
    ],
)
def test_a_fixed_address_that_cannot_be_is_refused(at: int, problem: str) -> None:
    source = '.text\n.fill 16, 1, 0\n.section .table, "a"\n.balign 16\n.word 1\n'
    rules = LinkScript.of({".text": FLASH, ".table": OutputSection(FLASH, at=at)})
    with pytest.raises(SectionOverlap, match=problem) as caught:
        link(source, rules, "x86_64", "assembler")
    assert (caught.value.section, caught.value.address) == (".table", at)


def test_sections_without_a_region_are_named() -> None:
    source = "int d = 4; int f(void) { return d; }\n"
    with pytest.raises(UnplacedSection, match=r"section \.data of .*\(0x4 bytes\) has no region") as caught:
        link(source, LinkScript.of({".text": FLASH, ".rodata": FLASH}))
    assert caught.value.section == ".data"
    with pytest.raises(UnplacedSection, match="matched by no pattern"):
        link(source, LinkScript.of({".text": FLASH, ".bss": RAM}, orphans="error"))


def test_two_vector_tables_are_a_mistake() -> None:
    objects = [
        compiled("thumb", f'__attribute__((section(".isr_vector"), used)) const int {name}[2] = {{1, 2}};\n')
        for name in ("one", "other")
    ]
    with pytest.raises(ScriptError, match="only one may be there"):
        linked_for("thumb", objects, script())


def test_an_entry_that_is_not_defined_is_refused() -> None:
    for gc in (False, True):
        with pytest.raises(LinkError, match="the script's entry start is not defined"):
            link("int f(void) { return 1; }\n", LinkScript.of(USUAL, entry="start", gc=gc))
    with pytest.raises(ScriptError, match="no entry, kept section or undefined symbol to start from"):
        link("int f(void) { return 1; }\n", LinkScript.of(USUAL, gc=True))


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ("ram", "is no place such as"),
        ("ram.middle", "is no place such as"),
        ("rom.end", 'names no output section or region that has "end"'),
        ("ram.load", 'names no output section or region that has "load"'),
        (".data.origin", 'names no output section or region that has "origin"'),
    ],
)
def test_a_symbol_of_a_place_that_is_none_is_refused(place: str, problem: str) -> None:
    with pytest.raises(ScriptError, match=f"symbol top: .*{problem}"):
        link("extern char top[]; char *f(void) { return top; }\n", LinkScript.of(USUAL, symbols={"top": place}))

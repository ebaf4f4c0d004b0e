"""Objects placed in a device's memory: the bytes and addresses of other linkers, and what is refused by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from relink import Image, LinkScript
from tests.devices.firmware import NEAR, TARGETS, firmware, gnu_script, linked_for, script
from tests.fixtures import variant_of
from tests.objects.build import zig
from tests.toolcache import OUTPUT, made, text_file

_GNU = {
    "arm": "arm-linux-gnueabihf-ld", "thumb": "arm-linux-gnueabihf-ld", "aarch64": "aarch64-linux-gnu-ld",
    "riscv64": "riscv64-linux-gnu-ld", "riscv32": "riscv64-linux-gnu-ld", "x86_64": "x86_64-linux-gnu-ld",
    "i386": "i686-linux-gnu-ld", "loongarch64": "loongarch64-linux-gnu-ld",
}  # fmt: skip
_PATTERNS = {
    ".init_array": "KEEP(*(SORT_BY_INIT_PRIORITY(.init_array.*))) KEEP(*(.init_array))",
    ".isr_vector": "KEEP(*(.isr_vector))",
    ".bss": "*(.bss .bss.*) *(COMMON)",
}


def other_linker(
    target: str, linker: str, rules: LinkScript, objects: list[Path], stored: dict[str, int], *flags: str
) -> ELFFile:
    text = text_file(gnu_script(rules, _PATTERNS, stored if linker == "gnu" else {}), ".ld")
    emulation = variant_of(target).target.emulation
    command: list[str | Path] = [zig(), "ld.lld"]
    if linker == "gnu":
        if not (found := shutil.which(_GNU[target])):
            pytest.skip(f"no {_GNU[target]} on this host")
        command = [found]
    command += [
        "-m",
        emulation,
        "-T",
        text,
        "--no-relax",
        "-z",
        "max-page-size=4096",
        *flags,
        *objects,
        "-o",
        OUTPUT,
    ]
    return ELFFile(made(command, [text, *objects], "{}").open("rb"))


def our_sections(image: Image) -> dict[str, tuple[int, int, bytes]]:
    """Output sections: address, load address, bytes."""
    assert image.objects is not None
    assert image.objects.placed is not None
    found = {}
    for section in image.objects.placed.sections:
        content = image.region.content(section.address, section.size)
        assert content is not None
        found[section.name] = section.address, section.load_address, content.tobytes()
    return found


def their_sections(elf: ELFFile) -> dict[str, tuple[int, int, bytes]]:
    loads = [segment for segment in elf.iter_segments() if segment["p_type"] == "PT_LOAD"]
    found = {}
    for section in elf.iter_sections():
        if section["sh_flags"] & 2 and section["sh_size"]:
            segment = next(s for s in loads if s["p_vaddr"] <= section["sh_addr"] < s["p_vaddr"] + s["p_memsz"])
            load = section["sh_addr"] - segment["p_vaddr"] + segment["p_paddr"]
            is_zero = section["sh_type"] == "SHT_NOBITS"
            data = bytes(section["sh_size"]) if is_zero else section.data()
            found[section.name] = section["sh_addr"], section["sh_addr"] if is_zero else load, data
    return found


@pytest.mark.parametrize("linker", ["lld", "gnu"])
@pytest.mark.parametrize("gc", [False, True], ids=["all", "gc"])
@pytest.mark.parametrize("target", TARGETS)
def test_sections_have_the_bytes_and_addresses_of_other_linkers(target: str, gc: bool, linker: str) -> None:
    objects = firmware(target, "-ffunction-sections", "-fdata-sections")
    rules = script(NEAR, gc=gc)
    image = linked_for(target, objects, rules)
    ours = our_sections(image)
    stored = {name: load for name, (address, load, _) in ours.items() if load != address}
    flags = ["--gc-sections"] if gc else []
    theirs = their_sections(other_linker(target, linker, rules, objects, stored, *flags))
    assert {name: places[:2] for name, places in ours.items()} == {n: places[:2] for n, places in theirs.items()}
    assert ours == theirs
    names = {symbol.name for symbol in image.link_map().symbols}
    assert ("unused" in names) is not gc

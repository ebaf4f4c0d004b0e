"""Images as files: what readers of ELF, HEX, S-records and UF2 find there, and the way back."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path

import bincopy
import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given, settings
from hypothesis import strategies as st

from emu import Machine
from relink import (
    Chunk,
    ExportError,
    HostMemory,
    Image,
    Linker,
    LinkScript,
    LoadOptions,
    MemoryRegion,
    OutputSection,
    Protection,
    read_firmware,
)
from relink.elf import decode
from relink.export.chunks import joined
from relink.export.formats import Firmware, read_firmware_bytes, to_bytes
from tests.devices.firmware import FAR, TARGETS, firmware, linked_for, script
from tests.fixtures import arch_of
from tests.objects.build import compiled
from tests.sections import symbol_table

FORMATS = ("hex", "srec", "uf2", "bin")


def exported(image: Image, folder: Path, name: str) -> Path:
    image.export(folder / name)
    return folder / name


def loads(elf: ELFFile) -> list[Chunk]:
    """The bytes that a programmer would store, from p_paddr."""
    segments = (s for s in elf.iter_segments() if s["p_type"] == "PT_LOAD" and s["p_filesz"])
    return joined("elf", "elf", [Chunk(s["p_paddr"], s.data()) for s in segments])


@pytest.mark.parametrize("target", TARGETS)
def test_every_format_has_the_same_bytes(target: str, tmp_path: Path) -> None:
    image = linked_for(target, firmware(target, "-g"), script(FAR))
    chunks = image.chunks()
    assert chunks[0].address == FAR[0]
    assert all(chunk.end <= FAR[0] + 0x10000 for chunk in chunks)
    paths = {format: exported(image, tmp_path, f"app.{format}") for format in (*FORMATS, "elf")}
    for format in ("hex", "srec"):
        other = bincopy.BinFile(str(paths[format]))
        assert [Chunk(s.address, bytes(s.data)) for s in other.segments] == chunks
        assert other.execution_start_address == image.symbol("reset").address
    flat = paths["bin"].read_bytes()
    assert len(flat) == chunks[-1].end - FAR[0]
    for chunk in chunks:
        assert flat[chunk.address - FAR[0] : chunk.end - FAR[0]] == chunk.data
    padded = read_firmware_bytes("app", paths["uf2"].read_bytes(), "uf2").chunks
    assert len(padded) == 1
    assert padded[0].data[: len(flat)] == flat
    with paths["elf"].open("rb") as file:
        assert loads(ELFFile(file)) == chunks


@pytest.mark.parametrize("target", TARGETS)
def test_an_elf_has_sections_symbols_and_lines(target: str, tmp_path: Path) -> None:
    image = linked_for(target, firmware(target, "-g"), script(FAR))
    with exported(image, tmp_path, "app.elf").open("rb") as file:
        elf = ELFFile(file)
        assert elf["e_entry"] == image.symbol("reset").address
        for section in elf.iter_sections():
            if section["sh_flags"] & 2 and section["sh_type"] != "SHT_NOBITS":
                assert section.data() == image.region.content(section["sh_addr"], section["sh_size"]).tobytes()  # type: ignore[union-attr]
        for segment in elf.iter_segments():
            assert (segment["p_vaddr"] - segment["p_offset"]) % max(segment["p_align"], 1) == 0
        symbols = {s.name: s for s in symbol_table(elf).iter_symbols()}
        for name in ("quick", "counter", "__data_load", "main_loop"):
            assert symbols[name]["st_value"] == image.link_map().symbol(name).address
        local = [s["st_info"]["bind"] == "STB_LOCAL" for s in symbol_table(elf).iter_symbols()]
        assert local == sorted(local, reverse=True)
        dwarf = elf.get_dwarf_info()
        functions = {
            die.attributes["DW_AT_name"].value: die.attributes["DW_AT_low_pc"].value
            for unit in dwarf.iter_CUs()
            for die in unit.iter_DIEs()
            if die.tag == "DW_TAG_subprogram" and "DW_AT_low_pc" in die.attributes
        }
        thumb = target == "thumb"
        assert functions[b"quick"] == FAR[1] == image.symbol("quick").address - thumb
        assert functions[b"square"] == image.symbol("square").address - thumb


def test_gdb_shows_lines_and_data(tmp_path: Path) -> None:
    if not (gdb := shutil.which("gdb-multiarch")):
        pytest.skip("no gdb-multiarch on this host")
    image = linked_for("thumb", firmware("thumb", "-g"), script(FAR))
    path = exported(image, tmp_path, "app.elf")
    commands = ["info line square", "info symbol 0x20000000", "print counter", "x/2xw 0x8000000", "ptype quick"]
    words = [gdb, "-nx", "-batch", *(word for command in commands for word in ("-ex", command)), str(path)]
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    line = 1 + next(n for n, text in enumerate(_app_lines()) if " square(int n) {" in text)
    assert f"Line {line} of" in shown
    assert "quick in section .ramfunc" in shown
    assert "$1 = 7" in shown
    assert re.search(rf"<vectors>:\s*0x20004000\s*{image.symbol('reset').address:#010x}", shown)
    assert "type = int (int)" in shown


def _app_lines() -> list[str]:
    from tests.devices.firmware import APP

    return APP.split("\n")


@pytest.mark.parametrize("command", [("readelf", "-aW"), ("arm-none-eabi-objdump", "-dt")])
def test_other_readers_find_nothing_wrong(command: tuple[str, ...], tmp_path: Path) -> None:
    if not (tool := shutil.which(command[0])):
        pytest.skip(f"no {command[0]} on this host")
    image = linked_for("thumb", firmware("thumb", "-g"), script(FAR))
    path = exported(image, tmp_path, "app.elf")
    done = subprocess.run([tool, *command[1:], str(path)], capture_output=True, text=True, check=True)
    assert not done.stderr
    assert "quick" in done.stdout


# ---------------------------------------------------------------- the way back


@pytest.mark.parametrize("target", TARGETS)
def test_an_exported_program_loads_and_runs(target: str, tmp_path: Path) -> None:
    """As an ELF with its symbols; as a HEX file the bytes lie where they are stored."""
    image = linked_for(target, firmware(target, "-g"), script(FAR))
    path = exported(image, tmp_path, "app.elf")
    hexed = exported(image, tmp_path, "app.hex")
    assert decode(path).header.entry == image.symbol("reset").address
    with Machine(arch_of(target)) as machine:
        stored = machine.load(hexed)
        assert stored.image.decoded.header.entry == image.symbol("reset").address
        for address, data in image.chunks():
            assert machine.memory.read(address, len(data)) == data


@pytest.mark.parametrize("target", TARGETS)
def test_a_program_in_memory_is_adopted_with_the_symbols_of_its_elf(target: str, tmp_path: Path) -> None:
    image = linked_for(target, firmware(target, "-g"), script(FAR))
    path = exported(image, tmp_path, "app.elf")
    with Machine(arch_of(target)) as machine:
        memory = machine.memory
        for start in FAR:
            memory.map_anonymous(0x4000, Protection.R | Protection.W | Protection.X, at=start)
        assert image.objects is not None
        assert image.objects.placed is not None
        for section in image.objects.placed.sections:
            content = image.region.content(section.address, section.size)
            assert content is not None
            memory.write(section.address, content.tobytes())
        library = machine.adopt(FAR[0], source=path, relocated=True)
        assert library.function("main_loop")(5) == 0 + 4 + 12  # its prototype is that of DWARF
        assert library.symbols["counter"].read("int") == 12


_chunks = st.lists(
    st.tuples(st.integers(0, 0x3000), st.binary(min_size=1, max_size=600)), min_size=1, max_size=6
).map(lambda parts: [Chunk(0x0800_0000 + offset, data) for offset, data in parts])


@settings(max_examples=60, deadline=None)
@given(chunks=_chunks, format=st.sampled_from(FORMATS), base=st.sampled_from([0, 0x2000_0000, 0xF7FF_C000]))
def test_bytes_come_back_from_every_format(chunks: list[Chunk], format: str, base: int) -> None:
    try:
        wanted = joined("x", format, [Chunk(c.address - 0x0800_0000 + base, c.data) for c in chunks])
    except ExportError:
        return  # they overlap
    data = to_bytes("x", Firmware(wanted, None), format, fill=0xFF)
    found = read_firmware_bytes("x", data, format, at=wanted[0].address).chunks
    memory = {c.address + n: byte for c in found for n, byte in enumerate(c.data)}
    for chunk in wanted:
        assert bytes(memory.pop(chunk.address + n) for n in range(len(chunk.data))) == chunk.data
    assert set(memory.values()) <= {0xFF}
    assert format not in ("hex", "srec") or not memory


def test_raw_bytes_are_an_image_where_the_caller_says(tmp_path: Path) -> None:
    path = tmp_path / "app.bin"
    path.write_bytes(b"\x2a\x00\x80\xd2\xc0\x03\x5f\xd6" * 2)  # mov x10, 1; ret
    with Machine("aarch64") as machine:
        library = machine.load(read_firmware(path, "aarch64", at=0x4000_1000, entry=0x4000_1008))
        assert machine.memory.read(0x4000_1000, 4) == b"\x2a\x00\x80\xd2"
        assert library.image.decoded.header.entry == 0x4000_1008
    with pytest.raises(ExportError, match="raw bytes have no address"):
        read_firmware(path, "aarch64")


# ---------------------------------------------------------------- refused by name


def uf2_blocks(*blocks: tuple[int, ...]) -> bytes:
    """Blocks of (number, count, flags, family)."""
    content = b""
    for number, count, *rest in blocks:
        flags, family = (*rest, 0, 0)[:2]
        head = (0x0A32_4655, 0x9E5D_5157, flags, number * 256, 256, number, count, family)
        content += struct.pack("<8I476sI", *head, b"", 0x0AB1_6F30)
    return content


@pytest.mark.parametrize(("flags", "tag"), [(0x2000, 0), (0xA000, 0x9957_E304)])
def test_the_block_for_the_boot_rom_of_rp2350_is_passed_over(flags: int, tag: int) -> None:
    """As picotool 2.0 and later releases write it, before the blocks of a program."""
    head = (0x0A32_4655, 0x9E5D_5157, flags, 0x10FF_FF00, 256, 0, 2, 0xE48B_FF57)
    first = struct.pack("<8I256sI216sI", *head, b"\xef" * 256, tag, b"", 0x0AB1_6F30)
    program = uf2_blocks((0, 2, 0x2000, 0xE48B_FF59), (1, 2, 0x2000, 0xE48B_FF59))
    assert read_firmware(first + program, "arm") == read_firmware(program, "arm")
    with pytest.raises(ExportError, match="several families"):
        read_firmware(first.replace(b"\xef", b"\xee", 1) + program, "arm")


@pytest.mark.parametrize(
    ("data", "format", "problem"),
    [
        (b":0400000001020304F2\n:0400020005060708E0\n:00000001FF\n", "hex", "different bytes"),
        (b":0400000001020304F3\n", "hex", "crc|checksum"),
        (b":04000000010203\n", "hex", ""),
        (b"S1070000010203FF\nnonsense\n", "srec", ""),
        (b"\xff\xfe:00", "hex", "is not text"),
        (b"\x55\x46\x32\x0a\x57\x51\x5d\x9e" + bytes(504), "uf2", "no magic numbers"),
        (b"\x55\x46\x32\x0a" + bytes(100), "uf2", "number of blocks"),
        (b":0400000001020304F2\n", "hex", "cut short"),
        (b":0400000001020304F2\n:00000001FF\n:0400100001020304E2\n", "hex", "cut short"),
        (b":0400000001020304F2\n:03000004080000F1\n:00000001FF\n", "hex", "type 4 has 3 bytes, not 2"),
        (b"S107000000010203F2\n", "srec", "cut short"),
        (b"S107000000010203F2\nS5030002FA\n", "srec", "counts 2 records of data, there are 1"),
        (uf2_blocks((0, 2)), "uf2", "1 of 2 blocks: the file is cut short"),
        (uf2_blocks((1, 1)), "uf2", "block 0 is 1 of 1 blocks"),
        (uf2_blocks((0, 2), (1, 3)), "uf2", "1 of 3 blocks, others are of 2"),
        (uf2_blocks((0, 1, 0x1000)), "uf2", "is of a file"),
        (uf2_blocks((0, 1, 0x2000, 5), (0, 1, 0x2000, 6)), "uf2", "several families of devices: 0x5, 0x6"),
        (b"", "bin", "has no bytes"),
        (b":00000001FF\n", "hex", "has no bytes"),
    ],
)
def test_a_damaged_file_is_refused(data: bytes, format: str, problem: str) -> None:
    with pytest.raises(ExportError, match=f"(?i){problem}") as caught:
        read_firmware(data, "arm", at=0, format=format)
    assert caught.value.format == format


def test_addresses_that_a_format_cannot_have_are_refused(tmp_path: Path) -> None:
    high = MemoryRegion("high", 0x1_0000_0000, 0x10000)
    rules = LinkScript.of({".text": high, ".data": high, ".bss": high})
    source = compiled("aarch64", "int f(int n) { return n + 1; }\nint d = 4;\n")
    image = linked_for("aarch64", [source], rules)
    for format in ("hex", "srec", "uf2"):
        with pytest.raises(ExportError, match="the format has 32 bits"):
            image.export(tmp_path / f"x.{format}")
    image.export(tmp_path / "x.elf")
    image.export(tmp_path / "x.bin")
    with pytest.raises(ExportError, match="pdf: is not an export format: give one of"):
        image.export(tmp_path / "x.pdf")
    with pytest.raises(ExportError, match="beyond the addresses of arm"):
        read_firmware(b"abc", "arm", at=0xFFFF_FFFE)


def test_a_wide_gap_in_raw_bytes_is_refused_by_name(tmp_path: Path) -> None:
    one, other = MemoryRegion("one", 0x1000, 0x1000), MemoryRegion("other", 0x4000_0000, 0x1000)
    source = compiled("arm", "int f(int n) { return n + 1; }\nint d = 4;\n")
    image = linked_for("arm", [source], LinkScript.of({".text": one, ".data": other}, discard=(".ARM*",)))
    with pytest.raises(ExportError, match=r"a gap of 0x3fff.* bytes from 0x10.* to 0x40000000, the limit"):
        image.export(tmp_path / "x.bin")
    image.export(tmp_path / "x.hex")


def test_gaps_have_the_fill_of_the_region(tmp_path: Path) -> None:
    flash = MemoryRegion("flash", 0x1000, 0x1000, fill=0xA5)
    rules = LinkScript.of(
        {".text": OutputSection(flash, at=0x1100), ".data": OutputSection(flash, at=0x1200, fill=0)},
        discard=(".ARM*",),
    )
    source = compiled("arm", "int f(int n) { return n + 1; }\nint d = 4;\n")
    linked_for("arm", [source], rules).export(tmp_path / "x.bin")
    data = (tmp_path / "x.bin").read_bytes()
    assert len(data) == 0x104
    assert set(data[8:0x100]) == {0xA5}
    assert data[0x100:] == b"\4\0\0\0"


def test_an_image_without_a_script_is_exported_where_it_is(tmp_path: Path) -> None:
    linker = Linker(HostMemory("riscv64"))
    image = linker.load(compiled("riscv64", "int f(int n) { return n + 1; }\nint d = 4;\n"), options=LoadOptions())
    image.export(tmp_path / "x.elf")
    with (tmp_path / "x.elf").open("rb") as file:
        symbols = {s.name: s["st_value"] for s in symbol_table(ELFFile(file)).iter_symbols()}
    assert symbols["f"] == image.symbol("f").address
    assert image.chunks()[0].address >= image.base

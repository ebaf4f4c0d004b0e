"""The static-link oracle: sections lie where they were sent, and hold what their relocations ask for."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import Symbol, SymbolTableSection

from emu.fetch.errors import FetchError
from toolchains.build import BUILT
from toolchains.engine import Zig
from toolchains.errors import BuildFailed, CompilerMissing, ToolchainError
from toolchains.static_link import Linker, UnplacedSection, link_at, linker_command
from toolchains.targets import TARGETS

_SOURCE = """
extern int outside(int); extern int far_data[4];
int own[4] = {1, 2, 3, 4};
int *pointer = &own[2];
int *far_pointer = &far_data[1];
int zeroes[8];
int call(int value) { return outside(value) + own[1]; }
"""
_AT = {".text": 0x10000, ".data": 0x20000, ".bss": 0x30000}
_SYMBOLS = {"outside": 0x10400, "far_data": 0x40000}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("objects")
    (folder / "one.c").write_text(_SOURCE)
    (folder / "two.c").write_text("int second = 2; int *to_first; extern int own[4]; int *seen = &own[3];")
    return folder


def _compile(target: str, source: Path) -> Path:
    output = source.with_name(f"{source.stem}.{target}.o")
    try:
        engine = Zig()
        row = TARGETS[target]
        command = ("{zig}", "clang", "-target", row.triple, *row.cflags, "-ffreestanding",
                   "-O1", "-fno-pic", "-fno-common", "-fno-asynchronous-unwind-tables", "-fno-data-sections", "-c",
                   str(source), "-o", str(output))  # fmt: skip
        engine.run(target, command, {}, source.parent)
    except CompilerMissing as error:
        pytest.skip(str(error))
    return output


def _linker(target: str, linker: Linker) -> Linker:
    try:
        linker_command(TARGETS[target], linker)
    except (ToolchainError, FetchError) as error:
        pytest.skip(f"no {linker} linker for {target}: {error}")
    return linker


def _symbols(elf: ELFFile) -> Iterator[Symbol]:
    table = elf.get_section_by_name(".symtab")
    assert isinstance(table, SymbolTableSection)
    return iter(table.iter_symbols())


def _places(path: Path) -> dict[str, dict[str, int]]:
    """Section → symbol defined in it → offset, with pyelftools."""
    with path.open("rb") as stream:
        elf = ELFFile(stream)
        found: dict[str, dict[str, int]] = {}
        for symbol in _symbols(elf):
            if isinstance(symbol["st_shndx"], int):
                section = elf.get_section(symbol["st_shndx"])
                if section["sh_flags"] & 2:
                    found.setdefault(section.name, {})[symbol.name] = int(symbol["st_value"])
    return found


@pytest.mark.parametrize("linker", [Linker.LLD, pytest.param(Linker.GNU, marks=pytest.mark.real)])
@pytest.mark.parametrize("target", TARGETS)
def test_pointers_in_data_hold_the_addresses_asked_for(compiled: Path, target: str, linker: Linker) -> None:
    path = _compile(target, compiled / "one.c")
    places = _places(path)
    others = sorted(set(places) - set(_AT))
    sections = {**_AT, **{name: 0x50000 + 0x1000 * index for index, name in enumerate(others)}}
    made = link_at([path], sections, _SYMBOLS, TARGETS[target], _linker(target, linker))
    word = {32: "<I", 64: "<Q"}[TARGETS[target].bits]

    def at(symbol: str) -> tuple[str, int]:
        return next((name, each[symbol]) for name, each in places.items() if symbol in each)

    def pointer(symbol: str) -> int:
        name, offset = at(symbol)
        return int(struct.unpack_from(word, made[name], offset)[0])

    own_section, own_offset = at("own")
    assert pointer("pointer") == sections[own_section] + own_offset + 8
    assert pointer("far_pointer") == _SYMBOLS["far_data"] + 4
    zeroes, _ = at("zeroes")
    assert made[zeroes] == bytes(32)


@pytest.mark.parametrize("target", ["aarch64", "arm"])
def test_a_branch_spans_from_its_place_to_its_target(compiled: Path, target: str) -> None:
    path = _compile(target, compiled / "one.c")
    made = link_at([path], _AT, _SYMBOLS, TARGETS[target], _linker(target, Linker.LLD))
    with path.open("rb") as stream:
        table = ELFFile(stream).get_section_by_name(".rela.text" if target == "aarch64" else ".rel.text")
        assert isinstance(table, RelocationSection)
        kinds = {283: 26, 28: 24}  # R_AARCH64_CALL26, R_ARM_CALL: bits of the field, in words
        (offset, bits), *_ = [
            (one["r_offset"], kinds[one["r_info_type"]])
            for one in table.iter_relocations()
            if one["r_info_type"] in kinds
        ]
    (word,) = struct.unpack_from("<I", made[".text"], offset)
    ahead = 8 if target == "arm" else 0
    assert _AT[".text"] + offset + ahead + 4 * (word & (1 << bits) - 1) == _SYMBOLS["outside"]


def test_sections_of_two_objects_follow_each_other(compiled: Path) -> None:
    one, two = (_compile("x86_64", compiled / f"{name}.c") for name in ("one", "two"))
    made = link_at([one, two], _AT, _SYMBOLS, TARGETS["x86_64"], Linker.LLD)
    assert made[".data"].startswith(struct.pack("<4i", 1, 2, 3, 4))
    places = _places(two)[".data"]
    with one.open("rb") as stream:
        data = ELFFile(stream).get_section_by_name(".data")
        assert data is not None
        size = int(data["sh_size"])
    (seen,) = struct.unpack_from("<Q", made[".data"], -(-size // 8) * 8 + places["seen"])
    assert seen == _AT[".data"] + _places(one)[".data"]["own"] + 12


@pytest.mark.parametrize("target", TARGETS)
def test_a_fixture_object_links_at_given_addresses(target: str) -> None:
    path = BUILT / f"{target}-clang" / "objects" / "nopic" / "basic.o"
    if not path.is_file():
        pytest.skip(f"no {path.name} for {target}")
    with path.open("rb") as stream:
        elf = ELFFile(stream)
        sizes = {
            section.name: int(section["sh_size"])
            for section in elf.iter_sections()
            if section["sh_flags"] & 2 and section["sh_size"]
        }
        named = (symbol for symbol in _symbols(elf) if symbol.name)
        wanted = [symbol.name for symbol in named if symbol["st_shndx"] == "SHN_UNDEF"]
    sections = {name: 0x10000 + 0x10000 * index for index, name in enumerate(sizes)}
    symbols = {name: 0x8000 + 16 * index for index, name in enumerate(wanted)}
    made = link_at([path], sections, symbols, TARGETS[target], _linker(target, Linker.LLD))
    assert len(made[".data"]) == sizes[".data"]
    # Padding that stands ready for alignment is taken out of code on LoongArch and RISC-V.
    assert 0 < len(made[".text"]) <= sizes[".text"]


def test_an_allocated_section_without_an_address_is_an_error_that_names_it(compiled: Path) -> None:
    path = _compile("x86_64", compiled / "one.c")
    with pytest.raises(UnplacedSection, match=r"no address was given for \.data, \.bss"):
        link_at([path], {".text": 0x1000}, _SYMBOLS, TARGETS["x86_64"], Linker.LLD)


def test_what_the_linker_complains_of_is_told(compiled: Path) -> None:
    path = _compile("x86_64", compiled / "one.c")
    with pytest.raises(BuildFailed, match="undefined symbol: outside"):
        link_at([path], _AT, {"far_data": 0x40000}, TARGETS["x86_64"], Linker.LLD)
    with pytest.raises(BuildFailed, match="out of range"):
        link_at([path], _AT, {**_SYMBOLS, "outside": 1 << 40}, TARGETS["x86_64"], Linker.LLD)

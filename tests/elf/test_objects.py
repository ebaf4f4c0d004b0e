"""Relocatable objects: read as pyelftools and readelf read them; what is broken is refused."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection

from relink.arch import architecture
from relink.elf import MAX_SPAN, decode
from relink.elf.dwarf import prototype
from relink.elf.layout import ELF32, ELF64
from relink.elf.objects import ABSOLUTE, COMMON, UNDEFINED, ObjectFile, decode_object
from relink.errors import DebugInfoError, ElfError, RelinkError, UnsupportedElf
from tests.elf.broken_objects import BROKEN
from tests.elf.build_object import Sec, Sym, group, rela, simple_object, write_object
from tests.elf.compiled import assembled, compiled
from tests.fixtures import TARGETS, fixture
from tests.grouping import each

SHT_RELA, SHT_NOBITS, SHT_REL, SHT_GROUP, SHT_SHNDX, SHT_CREL = 4, 8, 9, 17, 18, 0x40000014
GLOBAL = {"bind": 1}
_SPECIAL = {"SHN_UNDEF": UNDEFINED, "SHN_ABS": ABSOLUTE, "SHN_COMMON": COMMON}


def read_all(one: ObjectFile) -> None:
    """Asks `one` for all it can tell, so that whatever is wrong with it comes out."""
    symbols = one.symbols
    _ = (symbols.value, symbols.size, symbols.bind, symbols.type, symbols.visibility, symbols.section)
    _ = (symbols.mapping, symbols.defined_globals, symbols.undefined, one.first_global)
    symbols.names.texts()
    _ = (one.relocations, one.groups)
    for index in range(len(one.sections)):
        assert len(one.section_bytes(index)) in (one.section_size(index), 0)


def refused(content: bytes, error: type[ElfError], text: str) -> ElfError:
    """The error that reading `content` ends with."""
    with pytest.raises(error, match=text) as caught:
        read_all(decode_object(content, name="lib.a(bad.o)"))
    assert str(caught.value).startswith("lib.a(bad.o): ")
    return caught.value


# ---------------------------------------------------------------- what compilers write


@pytest.mark.parametrize("target", TARGETS)
@each("flags", [(), ("-ffunction-sections", "-fdata-sections", "-fPIC")], ids=["plain", "sections"])
def test_symbols_and_relocations_are_those_pyelftools_reads(target: str, flags: tuple[str, ...]) -> None:
    path = compiled(target, *flags)
    one = decode_object(path)
    with open(path, "rb") as file:
        theirs = ELFFile(file)
        assert [section.name for section in one.sections] == [s.name for s in theirs.iter_sections()]
        [table] = [s for s in theirs.iter_sections() if isinstance(s, SymbolTableSection)]
        expected = [
            (s.name, s["st_value"], s["st_size"], _SPECIAL.get(s["st_shndx"], s["st_shndx"]))
            for s in table.iter_symbols()
        ]
        symbols = one.symbols
        found = zip(
            symbols.names.texts(),
            symbols.value.tolist(),
            symbols.size.tolist(),
            symbols.section.tolist(),
            strict=True,
        )
        assert list(found) == expected
        ours = {table.name: table for table in one.relocations}
        for section in theirs.iter_sections():
            if not isinstance(section, RelocationSection):
                continue
            rows = [
                (r["r_offset"], r["r_info_type"], r["r_info_sym"], r.entry.get("r_addend"))
                for r in section.iter_relocations()
            ]
            mine = ours[section.name]
            addends = [None] * len(mine) if mine.addend is None else mine.addend.tolist()
            assert (
                list(zip(mine.offset.tolist(), mine.type.tolist(), mine.symbol.tolist(), addends, strict=True))
                == rows
            )
            assert mine.section == section["sh_info"]
        assert sum(len(table) for table in one.relocations) > 10


@pytest.mark.parametrize("target", TARGETS)
def test_groups_are_those_readelf_shows(target: str) -> None:
    if shutil.which("readelf") is None:
        pytest.skip("readelf (binutils) is not installed")
    path = compiled(target, cpp=True)
    shown = subprocess.run(["readelf", "-gW", str(path)], capture_output=True, text=True, check=True).stdout
    expected: list[tuple[str, list[int]]] = []
    for line in shown.splitlines():
        if line.startswith("COMDAT group section"):
            expected.append((line.split("[")[2].split("]")[0], []))
        elif line.strip().startswith("[") and "Index" not in line:
            expected[-1][1].append(int(line.split("[")[1].split("]")[0]))
    one = decode_object(path)
    assert [(g.signature, list(g.members)) for g in one.groups] == expected
    assert len(one.groups) >= 3
    assert all(g.comdat for g in one.groups)


def test_defined_and_undefined_symbols_are_those_nm_prints() -> None:
    if shutil.which("nm") is None:
        pytest.skip("nm (binutils) is not installed")
    path = compiled("x86_64")
    shown = subprocess.run(["nm", "-g", "-P", str(path)], capture_output=True, text=True, check=True).stdout
    symbols = decode_object(path).symbols
    kinds = {line.split()[0]: line.split()[1] for line in shown.splitlines()}
    assert set(symbols.names.take(symbols.undefined).texts()) == {n for n, kind in kinds.items() if kind in "Uw"}
    assert set(symbols.names.take(symbols.defined_globals).texts()) == {
        n for n, k in kinds.items() if k not in "Uw"
    }
    assert int(symbols.section[symbols.names.texts().index("common")]) == COMMON


@pytest.mark.parametrize("target", TARGETS)
def test_compact_relocations_say_what_the_long_ones_say(target: str) -> None:
    crel = decode_object(compiled(target, "-Wa,--crel,--allow-experimental-crel"))
    long = {
        table.name.partition(".re")[2].partition(".")[2]: table
        for table in decode_object(compiled(target)).relocations
    }
    assert {crel.sections[table.index].type for table in crel.relocations} == {SHT_CREL}
    for mine in crel.relocations:
        theirs = long[mine.name.removeprefix(".crel.")]
        assert mine.offset.tolist() == theirs.offset.tolist()
        assert mine.type.tolist() == theirs.type.tolist()
        assert mine.symbol.tolist() == theirs.symbol.tolist()
        if theirs.addend is not None:
            assert mine.addend is not None
            assert mine.addend.tolist() == theirs.addend.tolist()


@pytest.mark.parametrize("target", TARGETS)
def test_compressed_debug_sections_read_as_they_were(target: str) -> None:
    plain = decode_object(compiled(target))
    packed = decode_object(compiled(target, "-gz=zlib"))
    compressed = [index for index, section in enumerate(packed.sections) if section.flags & 0x800]
    assert compressed
    for index in compressed:
        twin = plain.section(packed.sections[index].name)
        assert twin is not None
        if packed.sections[index].name == ".debug_str":  # it tells the compiler's options
            continue
        assert bytes(packed.section_bytes(index)) == bytes(plain.section_bytes(twin))
        assert packed.section_size(index) == plain.section_size(twin)
    assert [len(table) for table in packed.relocations] == [len(table) for table in plain.relocations]


@pytest.mark.parametrize("target", TARGETS)
def test_mapping_symbols_are_told_from_others(target: str) -> None:
    symbols = decode_object(compiled(target)).symbols
    names = np.array(symbols.names.texts())
    expected = [name[:1] == "$" for name in names]
    assert (symbols.mapping != 0).tolist() == expected
    letters = {
        "arm": set("ad"),
        "thumb": set("td"),
        "aarch64": set("xd"),
        "riscv64": set("x"),
        "riscv32": set("x"),
    }
    assert {chr(letter) for letter in symbols.mapping if letter} >= letters.get(target, set()) - {"d"}


def test_a_decoded_object_is_taken_as_it_is() -> None:
    path = compiled("riscv64")
    one = decode_object(decode(path))
    assert one.path == path
    assert one.symbols.names.texts() == decode_object(path.read_bytes()).symbols.names.texts()


def test_arrays_cannot_be_written() -> None:
    one = decode_object(compiled("arm"))
    table = one.relocations[0]
    symbols = one.symbols
    for array in (
        table.offset,
        table.type,
        table.symbol,
        symbols.value,
        symbols.section,
        symbols.bind,
        symbols.mapping,
    ):
        assert not array.flags.writeable
    assert not one.section_bytes(1).flags.writeable


def test_debug_sections_that_are_not_linked_are_no_answer() -> None:
    path = compiled("riscv64", "-gdwarf-4")
    with pytest.raises(DebugInfoError, match="not relocated"):
        prototype(path, "add")


@pytest.mark.parametrize("layout", [ELF32, ELF64], ids=["32", "64"])
def test_absolute_common_and_undefined_are_kept_apart(layout: object) -> None:
    listed = [
        Sym("abs", 5, section=0xFFF1),
        Sym("u", **GLOBAL),
        Sym("c", 8, section=0xFFF2, **GLOBAL),
        Sym("t", section=1, **GLOBAL),
    ]
    symbols = decode_object(simple_object(listed, layout=layout)).symbols  # type: ignore[arg-type]
    assert symbols.section.tolist() == [UNDEFINED, ABSOLUTE, UNDEFINED, COMMON, 1]
    assert symbols.first_global == 2
    assert symbols.undefined.tolist() == [2]
    assert symbols.defined_globals.tolist() == [3, 4]


def test_large_common_of_x86_64_is_common_and_unknown_elsewhere() -> None:
    listed = [Sym("big", 32, 1 << 20, section=0xFF02, **GLOBAL)]
    assert decode_object(simple_object(listed)).symbols.section.tolist() == [0, COMMON]
    refused(
        simple_object(listed, machine=architecture("aarch64").machine),
        UnsupportedElf,
        "symbol 1 has the reserved st_shndx 0xff02",
    )


@pytest.mark.parametrize("target", ["x86_64", "riscv32"])
def test_each_of_66000_functions_an_assembler_gave_a_section_is_in_its_own(target: str) -> None:
    lines = (f'.section .text.f{n},"ax"\n.globl f{n}\nf{n}: .word 0' for n in range(66_000))
    one = decode_object(assembled(target, "\n".join(lines) + "\n"))
    assert one.header.shnum == 0
    symbols = one.symbols
    names = symbols.names.take(symbols.defined_globals).texts()
    assert len(names) == 66_000
    owners = symbols.section[symbols.defined_globals].tolist()
    assert [one.sections[owner].name for owner in owners] == [f".text.{name}" for name in names]


def test_an_object_of_seventy_thousand_sections_is_read() -> None:
    count = 70_000
    many = [Sec("s", data=b"", flags=6) for _ in range(count)]
    symbols = struct.pack("<IBBHQQ", 0, 0, 0, 0, 0, 0) + struct.pack("<IBBHQQ", 1, 0x10, 0, 0xFFFF, 0, 0)
    extended = struct.pack("<2I", 0, count - 1)
    content = write_object(
        [
            *many,
            Sec(".symtab", 2, symbols, link=count + 2, info=1, entsize=24),
            Sec(".strtab", 3, b"\0last\0"),
            Sec(".symtab_shndx", SHT_SHNDX, extended, link=count + 1, entsize=4),
        ],
        extended=True,
    )
    one = decode_object(content)
    assert len(one.sections) == count + 5
    assert one.sections[-1].name == ".shstrtab"
    assert one.symbols.section.tolist() == [0, count - 1]


def test_an_extended_index_may_look_like_a_reserved_one() -> None:
    count = 0xFFF1 + 10
    many = [Sec("s") for _ in range(count)]
    symbols = bytes(24) + struct.pack("<IBBHQQ", 0, 0, 0, 0xFFFF, 0, 0)
    content = write_object(
        [
            *many,
            Sec(".symtab", 2, symbols, link=count + 2, info=2, entsize=24),
            Sec(".strtab", 3, b"\0"),
            Sec(".symtab_shndx", SHT_SHNDX, struct.pack("<2I", 0, 0xFFF1), link=count + 1, entsize=4),
        ],
        extended=True,
    )
    assert decode_object(content).symbols.section.tolist() == [0, 0xFFF1]


def test_one_section_may_have_several_relocation_sections() -> None:
    one = decode_object(simple_object(extra=[rela((0, 1, 0, 5)), rela((4, 2, 0, -1), name=".rela.more")]))
    assert [(table.name, table.section, table.index) for table in one.relocations] == [
        (".rela.text", 1, 4),
        (".rela.more", 1, 5),
    ]
    assert one.relocations[1].addend is not None
    assert one.relocations[1].addend.tolist() == [-1]


def test_android_packed_relocations_are_read() -> None:
    # Two entries from offset 0, one group: info 1 for both, then (offset delta, addend delta) of each.
    packed = b"APS2" + bytes([2, 0, 2, 1 | 8, 1, 4, 5, 8, 0x7F])
    section = Sec(".rela.text", 0x60000002, packed, link=2, info=1)
    [table] = decode_object(simple_object(extra=[section])).relocations
    assert (table.offset.tolist(), table.type.tolist(), table.symbol.tolist()) == ([4, 12], [1, 1], [0, 0])
    assert table.addend is not None
    assert table.addend.tolist() == [5, 4]


def test_a_relocation_of_type_none_may_lie_at_the_end_of_its_section() -> None:
    assert len(decode_object(simple_object(extra=[rela((16, 0, 0, 0))])).relocations[0]) == 1


def test_a_group_named_by_a_section_symbol_has_that_sections_name() -> None:
    content = simple_object([Sym(section=1, type=3)], [group(1, 1, 1)])
    [found] = decode_object(content).groups
    assert (found.signature, found.comdat, found.members) == (".text", True, (1,))


def test_a_group_without_the_comdat_flag_is_none() -> None:
    [found] = decode_object(simple_object([Sym("g", **GLOBAL)], [group(1, 0, 1)])).groups
    assert not found.comdat


def object_for(arch: str, *symbols: Sym) -> bytes:
    page = architecture(arch)
    return simple_object(symbols, layout=ELF32 if page.bits == 32 else ELF64, machine=page.machine)


@pytest.mark.parametrize(
    ("arch", "names", "mapping"),
    [
        ("arm", ["$a", "$t.1", "$d", "$x", "$ab", "$"], "atd"),
        ("aarch64", ["$x", "$d.realdata", "$a", "$xy"], "xd"),
        ("riscv64", ["$x", "$xrv64i2p1_c2p0", "$d", "$x.7", "$dr", "$t"], "xxdx"),
        ("x86_64", ["$a", "$x", "$d"], ""),
    ],
)
def test_mapping_symbols_of_each_machine(arch: str, names: list[str], mapping: str) -> None:
    symbols = decode_object(object_for(arch, *(Sym(name, section=1) for name in names))).symbols
    assert "".join(chr(letter) for letter in symbols.mapping if letter) == mapping


def test_a_global_or_a_function_is_no_mapping_symbol() -> None:
    listed = [Sym("$a", section=1, type=2), Sym("$a", section=1, **GLOBAL)]
    assert not decode_object(object_for("arm", *listed)).symbols.mapping.any()


def test_an_object_without_symbols_is_read() -> None:
    one = decode_object(write_object([Sec(".text", data=bytes(4))]))
    assert (len(one.symbols), one.relocations, one.groups, one.first_global) == (0, (), (), 0)


def test_a_section_name_may_be_as_long_as_a_mangled_function() -> None:
    name = ".text." + "f" * 50_000
    assert decode_object(write_object([Sec(name)])).sections[1].name == name


def test_sections_without_bytes_read_as_empty() -> None:
    one = decode_object(write_object([Sec(".bss", SHT_NOBITS, size=MAX_SPAN, offset=1 << 40)]))
    assert (len(one.section_bytes(1)), one.section_size(1)) == (0, MAX_SPAN)


# ---------------------------------------------------------------- what is refused


@each("case", BROKEN)
def test_a_broken_object_is_refused_in_words_that_name_the_place(case: str) -> None:
    content, error, text = BROKEN[case]
    refused(content, error, text)


def test_a_shared_object_is_no_relocatable_one() -> None:
    with pytest.raises(UnsupportedElf, match="DYN, not a relocatable object"):
        decode_object(fixture("x86_64", "basic"))


def test_a_missing_file_is_an_elf_error(tmp_path: Path) -> None:
    with pytest.raises(RelinkError, match="cannot be read"):
        decode_object(tmp_path / "none.o")

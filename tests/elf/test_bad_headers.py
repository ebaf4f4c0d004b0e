"""Headers, segments and tables that lie: each has its own error, and none costs memory."""

from __future__ import annotations

import re
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from relink.elf import MAX_SPAN, decode
from relink.elf.constants import DynamicTag as Tag
from relink.elf.constants import SegmentType
from relink.elf.layout import ELF32, ELF64, Layout
from relink.errors import ElfError, MalformedElf, NotElf, RelinkError, Truncated, UnsupportedElf
from relink.linker import Linker, LoadOptions
from relink.memory.address_space import HostMemory
from tests.elf.build import PT_DYNAMIC, Segment, Symbols, Table, header, image, symbol, with_segments, words
from tests.elf.helpers import linked_fixtures, read_everything
from tests.grouping import each

TEXT = Segment(offset=0, vaddr=0, filesz=0x1000, memsz=0x1000)
DATA = Segment(offset=0x1000, vaddr=0x2000, filesz=0x800, memsz=0x1800)


def patched(content: bytes, offset: int, new: bytes) -> bytes:
    return content[:offset] + new + content[offset + len(new) :]


GOOD = with_segments([TEXT, DATA])


@each(
    ("content", "kind", "problem"),
    [
        (b"", Truncated, "the file is empty"),
        (b"#!/bin/sh\n", NotElf, "does not begin with the bytes 7f 45 4c 46"),
        (b"\x7fEL", NotElf, "not an ELF file"),
        (b"\x7fELF\x02\x01", Truncated, "cut short: 6 bytes"),
        (GOOD[:63], Truncated, "cut short: 63 bytes"),
        (GOOD[:100], Truncated, "2 program headers at 0x40 reach past the end of the file"),
        (patched(GOOD, 4, b"\x03"), MalformedElf, "EI_CLASS is 3"),
        (patched(GOOD, 5, b"\x02"), UnsupportedElf, "big-endian"),
        (patched(GOOD, 5, b"\x00"), MalformedElf, "EI_DATA is 0"),
        (with_segments([TEXT], type_=4), UnsupportedElf, "a core file"),
        (with_segments([TEXT], type_=0), UnsupportedElf, "of e_type 0x0"),
        (with_segments([TEXT], phentsize=32), MalformedElf, "e_phentsize is 32, not 56 as ELF64 requires"),
        (with_segments([TEXT], phoff=1 << 63), Truncated, "reach past the end"),
        (header(phnum=0xFFFF), UnsupportedElf, "PN_XNUM"),
        (header(), MalformedElf, "no loadable segment"),
    ],
)
def test_a_bad_header_has_its_own_error(content: bytes, kind: type[RelinkError], problem: str) -> None:
    with pytest.raises(kind, match=problem):
        decode(content)


@each(
    ("segments", "kind", "problem"),
    [
        (
            [replace(TEXT, filesz=0x3001, memsz=0x3001)],
            Truncated,
            "has file bytes 0x0.0x3001, the file has 0x3000",
        ),
        ([replace(TEXT, offset=1 << 62)], Truncated, "has file bytes"),
        ([replace(TEXT, memsz=1 << 60)], UnsupportedElf, "p_memsz 0x10{15} exceeds the limit 0x80000000"),
        ([TEXT, replace(DATA, vaddr=(1 << 64) - 0x1000)], MalformedElf, "wraps past 64 bits"),
        ([TEXT, Segment(SegmentType.TLS, 0, 0, 8, 4)], MalformedElf, "TLS segment at 0x0: p_filesz"),
        (
            [TEXT, Segment(SegmentType.TLS, 0, 0x5000, 8, 8)],
            MalformedElf,
            "TLS segment 0x5000.0x8 lies in no",
        ),
        ([TEXT, Segment(SegmentType.TLS, 0, 0, 8, 1 << 60)], UnsupportedElf, "TLS segment at 0x0: p_memsz"),
        ([TEXT, Segment(PT_DYNAMIC, 0, 0x9000, 16, 16)], MalformedElf, "DYNAMIC segment 0x9000"),
        ([TEXT, Segment(SegmentType.GNU_RELRO, 0, 0x9000, 8, 0x1000)], MalformedElf, "GNU_RELRO segment 0x9000"),
    ],
)
def test_a_bad_segment_has_its_own_error(segments: list[Segment], kind: type[RelinkError], problem: str) -> None:
    with pytest.raises(kind, match=problem):
        decode(with_segments(segments))


@pytest.mark.parametrize(
    ("content", "warning"),
    [
        (patched(GOOD, 6, b"\x02"), "EI_VERSION is 2"),
        (with_segments([TEXT], version=3), "e_version is 3"),
        (patched(GOOD, 8, b"\x01"), "EI_ABIVERSION is 1"),
        (with_segments([replace(TEXT, filesz=0x1001)]), "p_filesz 0x1001 exceeds p_memsz 0x1000"),
        (with_segments([TEXT, replace(DATA, vaddr=0x0, offset=0x1000)]), "segments overlap"),
        (with_segments([replace(TEXT, memsz=0x2001), DATA]), "segments overlap: 0x0.0x2001 and 0x2000"),
        (with_segments([replace(TEXT, align=3)]), "p_align 0x3 is not a power of two"),
        (with_segments([replace(TEXT, align=1 << 40)]), "p_align 0x10000000000 exceeds the limit"),
        (with_segments([TEXT, replace(DATA, offset=0x1010)]), "differ modulo 0x1000; it is copied"),
        (with_segments([TEXT, replace(DATA, align=0x10000)]), "differ modulo 0x10000; loaders ask for a page's"),
        (
            with_segments([replace(TEXT, filesz=0x2F00, memsz=0x2F00)], size=0x2E80),
            "the rest of the page reads as",
        ),
        (with_segments([TEXT, Segment(SegmentType.GNU_RELRO, 0, 0x9000, 8, 8)]), "GNU_RELRO segment 0x9000"),
        (with_segments([TEXT, Segment(SegmentType.GNU_RELRO, 0, 0, 8, 0x1001)]), "GNU_RELRO segment 0x0.0x1001"),
        (
            with_segments([TEXT, *[Segment(SegmentType.GNU_RELRO, 0, 0, 8, 8)] * 2]),
            "2 .*_RELRO; all are made read-only",
        ),
        (with_segments([TEXT, *[Segment(PT_DYNAMIC, 0, 0x800, 16, 16)] * 2]), "2 program headers .* PT_DYNAMIC"),
        (
            with_segments([TEXT, Segment(SegmentType.TLS, 0, 0, 8, 8, align=24)]),
            "TLS segment .* not a power of two",
        ),
    ],
)
def test_what_loaders_take_is_a_warning_and_an_error_for_the_strict(content: bytes, warning: str) -> None:
    decoded = decode(content)
    assert any(re.search(warning, str(found)) for found in decoded.warnings), decoded.warnings
    read_everything(decoded)
    linker = Linker(HostMemory("x86_64"))
    with pytest.raises(MalformedElf):
        linker.load(content, options=LoadOptions(strict=True))
    linker.load(content)


def test_a_good_file_has_no_warnings() -> None:
    for target in ("x86_64-gcc", "arm-clang", "riscv32-clang"):
        for path in linked_fixtures(target):
            assert decode(path).warnings == ()


def test_a_32_bit_segment_that_wraps_is_refused() -> None:
    with pytest.raises(MalformedElf, match="wraps past 32 bits"):
        decode(with_segments([TEXT, replace(DATA, vaddr=0xFFFFF000)], ELF32))


def test_segments_out_of_order_are_put_in_order() -> None:
    decoded = decode(with_segments([DATA, TEXT]))
    assert [segment.vaddr for segment in decoded.segments] == [0, 0x2000]
    assert (decoded.min_vaddr, decoded.span) == (0, 0x3800)


def test_a_segment_without_file_bytes_may_have_its_offset_past_the_end() -> None:
    bss = Segment(offset=0x9000, vaddr=0x4000, filesz=0, memsz=0x10)
    assert decode(with_segments([TEXT, bss])).span == 0x4010


def test_an_image_without_a_dynamic_section_has_no_symbols() -> None:
    decoded = decode(GOOD)
    read_everything(decoded)
    assert (len(decoded.dynamic), len(decoded.symbols), decoded.relocations, decoded.needed) == (0, 0, (), ())


def test_an_address_width_of_address_space_is_the_span_limit() -> None:
    fits = replace(DATA, vaddr=MAX_SPAN - 0x2000, offset=0x1000)
    assert decode(with_segments([TEXT, fits])).span == MAX_SPAN - 0x2000 + 0x1800


# ---------------------------------------------------------------- what the dynamic section says


def lying(values: dict[int, int], layout: Layout = ELF64, **symbols: object) -> bytes:
    return Symbols([b"foo", b"bar"], layout, values=values, **symbols).image()  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", [ELF32, ELF64])
@each(
    ("values", "problem"),
    [
        ({Tag.STRTAB: 0x10000000}, "the dynamic string table at 0x10000000 lies in no segment"),
        ({Tag.SYMTAB: 0x10000000}, "the dynamic symbol table at 0x10000000"),
        ({Tag.NEEDED: 0x1000}, "DT_NEEDED: string offset 0x1000"),
        ({Tag.RELA: 0x40}, "DT_RELA without DT_RELASZ"),
        ({Tag.RELA: 0x40, Tag.RELASZ: 25}, "are not a multiple of the entry size (24|12)"),
        ({Tag.RELA: 0x40, Tag.RELASZ: 24 << 20}, "claims 0x1800000 bytes"),
        ({Tag.REL: 0x10000000, Tag.RELSZ: 16}, "lies in no segment"),
        ({Tag.JMPREL: 0x40, Tag.PLTRELSZ: 24}, "DT_PLTREL None"),
        ({Tag.JMPREL: 0x40, Tag.PLTRELSZ: 24, Tag.PLTREL: 9}, "DT_PLTREL 9"),
        ({Tag.JMPREL: 0x40, Tag.PLTREL: Tag.RELA}, "DT_JMPREL without DT_PLTRELSZ"),
        ({Tag.RELR: 0x40, Tag.RELRSZ: 7}, "not a multiple of the entry size"),
        ({Tag.ANDROID_RELA: 0x40, Tag.ANDROID_RELASZ: 8}, "not APS2"),
        ({Tag.FINI_ARRAY: 0x40, Tag.FINI_ARRAYSZ: 1 << 31}, "DT_FINI_ARRAY at 0x40 claims"),
        ({Tag.VERSYM: 0x10000000}, "DT_VERSYM at 0x10000000"),
        ({Tag.VERNEED: 0x10000000, Tag.VERNEEDNUM: 1}, "DT_VERNEED at 0x10000000"),
    ],
)
def test_a_dynamic_section_that_lies_is_found_out(layout: Layout, values: dict[int, int], problem: str) -> None:
    with pytest.raises(MalformedElf, match=problem):
        read_everything(decode(lying(values, layout)))


@pytest.mark.parametrize("layout", [ELF32, ELF64])
@pytest.mark.parametrize(
    ("values", "warning"),
    [
        ({Tag.STRSZ: 0xFFFFFFF0}, "the dynamic string table at .* claims 0xfffffff0 bytes"),
        ({Tag.STRSZ: 4}, "a symbol's name is at 0x5, beyond DT_STRSZ 0x4"),
        ({Tag.STRSZ: 0}, "beyond DT_STRSZ 0x0"),
        ({Tag.SYMENT: 23}, "DT_SYMENT is 23"),
        ({Tag.RELAENT: 16}, "DT_RELAENT is 16"),
        ({Tag.RELENT: 12}, "DT_RELENT is 12"),
        ({Tag.RELRENT: 3}, "DT_RELRENT is 3"),
        ({Tag.HASH: 0x10000000}, "the DT_HASH header at 0x10000000.*; the other hash table is used"),
        ({Tag.GNU_HASH: 0x10000000}, "the DT_GNU_HASH header at 0x10000000.*; the other hash table is used"),
        ({Tag.FINI_ARRAY: 0x40, Tag.FINI_ARRAYSZ: 17}, "DT_FINI_ARRAYSZ 0x11 is not a multiple of the word size"),
        ({Tag.VERNEED: 0x40, Tag.VERNEEDNUM: 3}, "DT_VERNEED has 1 records, the count given is 3"),
        ({Tag.VERNEED: 0x40}, "DT_VERNEED has 1 records, the count given is None"),
    ],
)
def test_what_no_loader_looks_at_is_a_warning(layout: Layout, values: dict[int, int], warning: str) -> None:
    need = Table(Tag.VERNEED, struct.pack("<HHIII", 1, 0, 1, 16, 0) + struct.pack("<IHHII", 0, 0, 2, 5, 0))
    if Tag.VERNEED in values:
        values = {tag: value for tag, value in values.items() if tag != Tag.VERNEED}
        decoded = decode(lying(values, layout, extra=[need]))
    else:
        decoded = decode(lying(values, layout))
    read_everything(decoded)
    assert any(re.search(warning, str(found)) for found in decoded.warnings), decoded.warnings
    assert [len(decoded.symbols.find(name)) for name in ("foo", "bar", "baz")] == [1, 1, 0]


def test_the_gnu_table_hides_the_other_one_even_where_it_has_no_buckets() -> None:
    """As in glibc, musl and bionic, which do not look at DT_HASH then."""
    tables = [table for table in Symbols([b"foo"]).tables() if table.tag != Tag.GNU_HASH]
    decoded = decode(image([*tables, Table(Tag.GNU_HASH, words(0, 1, 0, 0))]))
    assert len(decoded.symbols.find("foo")) == 0
    assert "no buckets" in str(decoded.warnings[0])


@pytest.mark.parametrize("size", [8, 16 * 3])
def test_the_dynamic_section_ends_with_its_null_wherever_p_filesz_does(size: int) -> None:
    content = bytearray(Symbols([b"foo"]).image())
    struct.pack_into("<QQ", content, 64 + 56 + 32, size, size)
    decoded = decode(bytes(content))
    assert len(decoded.symbols.find("foo")) == 1
    assert "no DT_NULL within p_filesz" in str(decoded.warnings[0])


def test_a_string_table_without_an_end_is_refused() -> None:
    tables = [
        Table(Tag.STRTAB, b"\0abc", Tag.STRSZ),
        Table(Tag.SYMTAB, symbol(ELF64, 0) + symbol(ELF64, 1)),
        Table(Tag.HASH, words(1, 2, 1, 0, 0)),
    ]
    with pytest.raises(MalformedElf, match="the string at offset 0x1 has no terminator"):
        read_everything(decode(image(tables)))


def test_a_thousand_names_that_share_one_long_string_are_refused() -> None:
    text = b"\0" + b"a" * 100_000 + b"\0"
    rows = symbol(ELF64, 0) + b"".join(symbol(ELF64, 1 + i) for i in range(1000))
    tables = [
        Table(Tag.STRTAB, text, Tag.STRSZ),
        Table(Tag.SYMTAB, rows),
        Table(Tag.HASH, words(1, 1001, *[0] * 1002)),
    ]
    with pytest.raises(MalformedElf, match="overlap"):
        read_everything(decode(image(tables)))


def test_a_relocation_past_the_symbols_of_dt_hash_is_a_warning() -> None:
    rela = struct.pack("<QQq", 0x40, 9 << 32 | 1, 0)
    content = Symbols([b"foo"], extra=[Table(Tag.RELA, rela, Tag.RELASZ)]).image()
    decoded = decode(content)
    assert len(decoded.symbols) == 10
    assert "a relocation refers to symbol 9, the table has 2 symbols" in str(decoded.warnings[0])


def rela_rows(count: int) -> bytes:
    return b"".join(struct.pack("<QQq", 0x40 + 8 * i, 8, i) for i in range(count))


def plt_overlap(first: int, count: int, total: int = 6) -> list[tuple[str, list[int]]]:
    """Tables read when DT_JMPREL is rows `first`… of DT_RELA."""
    content = image([Table(Tag.RELA, rela_rows(total), Tag.RELASZ)])
    at = decode(content).dynamic.value(Tag.RELA, 0)
    content = image(
        [Table(Tag.RELA, rela_rows(total), Tag.RELASZ)],
        {Tag.JMPREL: 0, Tag.PLTRELSZ: count * 24, Tag.PLTREL: Tag.RELA},
    )
    moved = struct.pack("<QQ", Tag.JMPREL, 0)
    assert content.count(moved) == 1
    content = content.replace(moved, struct.pack("<QQ", Tag.JMPREL, at + first * 24))
    found = []
    for table in decode(content).relocations:
        assert table.addend is not None
        found.append((table.section, table.addend.tolist()))
    return found


@pytest.mark.parametrize(
    ("first", "count", "expected"),
    [
        (4, 2, [(".rela.dyn", [0, 1, 2, 3]), (".rela.plt", [4, 5])]),
        (0, 2, [(".rela.dyn", [2, 3, 4, 5]), (".rela.plt", [0, 1])]),
        (2, 2, [(".rela.dyn", [0, 1]), (".rela.dyn", [4, 5]), (".rela.plt", [2, 3])]),
        (0, 6, [(".rela.plt", [0, 1, 2, 3, 4, 5])]),
    ],
)
def test_plt_relocations_inside_dt_rela_count_once(
    first: int, count: int, expected: list[tuple[str, list[int]]]
) -> None:
    assert plt_overlap(first, count) == expected


# ---------------------------------------------------------------- sections are never needed


@pytest.mark.parametrize("shoff", [1 << 40, 1, 0x2FF0])
def test_a_garbled_section_table_reads_as_none(shoff: int) -> None:
    decoded = decode(with_segments([TEXT], shoff=shoff, shnum=40, shstrndx=3))
    assert decoded.sections == ()


def test_a_garbled_section_table_condemns_a_relocatable_object() -> None:
    decoded = decode(header(type_=1, shoff=0x1000, shnum=4))
    with pytest.raises(Truncated, match="section header table lies past the end"):
        _ = decoded.sections


# ---------------------------------------------------------------- files that cannot be read


def test_a_missing_file_is_an_elf_error_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ElfError, match=r"absent\.so: cannot be read: No such file"):
        decode(tmp_path / "absent.so")


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ElfError, match="cannot be read: Is a directory"):
        decode(tmp_path)


def test_an_empty_file_is_truncated(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(Truncated, match="the file is empty"):
        decode(str(tmp_path / "empty"))


def test_a_device_is_not_waited_for() -> None:
    with pytest.raises(ElfError, match="not a regular file"):
        decode("/dev/zero")


def test_a_path_with_a_nul_is_refused() -> None:
    with pytest.raises(ElfError, match="cannot be read"):
        decode("a\0b")

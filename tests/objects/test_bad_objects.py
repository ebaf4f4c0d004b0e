"""Damaged and hostile objects: a typed error that says where, and nothing left behind.

Quick by default; RELINK_FUZZ_SECONDS=600 mutates for as long as that, from a seed of its own.
"""

from __future__ import annotations

import os
import random
import struct
import time
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relink.elf.constants import SectionType
from relink.elf.objects import decode_object
from relink.errors import (
    ElfError,
    LinkErrors,
    MalformedElf,
    RelinkError,
    RelocationError,
    RelocationOutOfImage,
    UnknownRelocation,
    UnsupportedElf,
)
from relink.linker import Linker, LoadOptions
from relink.load.plan import constructors, destructors
from relink.memory.address_space import HostMemory
from tests.elf.build_object import Sec, write_object
from tests.fixtures import arch_of, fixture, targets_of
from tests.objects.build import TARGETS, archived, compiled
from tests.sampling import examples
from toolchains.recipe import Kind
from toolchains.recipes import RECIPES

A = "x86_64"
#: What a load may cost, in processor seconds.
TIME = 5.0
INTERESTING = (
    0, 1, 2, 3, 5, 7, 8, 16, 0x20, 0x7F, 0x80, 0xFF, 0xFFF, 0x1000, 0x7FFF, 0x8000, 0xFF00, 0xFFF1, 0xFFF2, 0xFFFF,
    0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF, 1 << 60, 1 << 63, (1 << 64) - 8, (1 << 64) - 1,
)  # fmt: skip


def link(source: object, arch: str = A, **options: object) -> None:
    """Load into plain memory, and see that a failure leaves none of it taken."""
    memory = HostMemory(arch)
    linker = Linker(memory)
    try:
        linker.load(source, options=LoadOptions(unresolved=lambda image, symbol: 0x10000, **options))  # type: ignore[arg-type]
    except RelinkError:
        assert not linker.images
        assert not linker.tls.modules
        assert not memory.regions
        raise


def assembled(text: str, target: str = A) -> bytearray:
    return bytearray(compiled(target, text, language="assembler").read_bytes())


def entry_of(data: bytearray, section: str, number: int = 0) -> int:
    """File offset of an entry of a relocation section."""
    found = decode_object(bytes(data))
    index = found.section(section)
    assert index is not None
    return found.sections[index].offset + number * found.sections[index].entsize


def one_entry() -> bytearray:
    """An object whose .rela.data has one R_X86_64_64 at offset 8 of .data, of 16 bytes."""
    return assembled(".data\n.quad 1\n.quad there\n.globl there\nthere:\n")


# ---------------------------------------------------------------- one entry


@pytest.mark.parametrize("kind", [43 + 300, 0xFFFF, 0xFFFFFFFF])
def test_a_type_no_psabi_has(kind: int) -> None:
    data = one_entry()
    struct.pack_into("<I", data, entry_of(data, ".rela.data") + 8, kind)
    with pytest.raises(UnknownRelocation) as raised:
        link(bytes(data))
    assert raised.value.section.endswith("(.rela.data)")
    assert raised.value.offset == 8


@pytest.mark.parametrize("offset", [9, 15, 16, 1 << 20, (1 << 64) - 4])
def test_a_place_outside_its_section_or_across_its_end(offset: int) -> None:
    data = one_entry()
    struct.pack_into("<Q", data, entry_of(data, ".rela.data"), offset)
    with pytest.raises((RelocationOutOfImage, MalformedElf)) as raised:
        link(bytes(data))
    assert ".rela.data" in str(raised.value)


def test_a_place_across_its_sections_end_does_not_touch_the_next_section() -> None:
    """Both lie in one segment."""
    first = assembled(".data\n.quad there\n.globl there\nthere:\n")
    struct.pack_into("<Q", first, entry_of(first, ".rela.data"), 4)
    second = assembled(".data\n.quad 0x1122334455667788\n")
    with pytest.raises((RelocationOutOfImage, MalformedElf)):
        link([bytes(first), bytes(second)])


def test_a_symbol_the_table_does_not_have() -> None:
    data = one_entry()
    struct.pack_into("<I", data, entry_of(data, ".rela.data") + 12, 999)
    with pytest.raises(MalformedElf, match="999"):
        link(bytes(data))


def test_a_stripped_objects_entries_name_no_symbol() -> None:
    """`llvm-strip --strip-all` leaves the relocations of an object, without types and symbols."""
    entries = Sec(".rela.text", SectionType.RELA, bytes(48), info=1, entsize=24)
    stripped = write_object([Sec(".text", data=bytes(8), flags=6), entries])
    for several in ([stripped], [bytes(one_entry()), stripped], [stripped] * 7):
        link(several)


def test_the_member_of_an_archive_is_named(tmp_path: Path) -> None:
    data = one_entry()
    struct.pack_into("<I", data, entry_of(data, ".rela.data") + 8, 400)
    member = tmp_path / "broken.o"
    member.write_bytes(data)
    with pytest.raises(UnknownRelocation, match=r"lib\.a\(broken\.o\)\(\.rela\.data\)\+0x8"):
        link(archived(tmp_path / "lib.a", [member]))


def test_all_that_is_wrong_is_reported_together() -> None:
    lines = "".join(f".reloc {8 * i}, R_X86_64_32, far\n.quad 0\n" for i in range(3))
    data = assembled(f".data\n{lines}.set far, 0x123456789000\n")
    with pytest.raises(LinkErrors) as raised:
        link(bytes(data))
    assert [error.offset for error in raised.value.exceptions if isinstance(error, RelocationError)] == [0, 8, 16]


# ---------------------------------------------------------------- groups and sections


GROUP = '.section .text.{0},"axG",@progbits,{1},comdat\n.globl {0}\n{0}: ret\n'


def test_groups_that_share_a_section_contradict_each_other() -> None:
    data = assembled(GROUP.format("a", "ga") + GROUP.format("b", "gb"))
    found = decode_object(bytes(data))
    first, second = (s for s in found.sections if s.type == SectionType.GROUP)
    data[second.offset + 4 : second.offset + 8] = data[first.offset + 4 : first.offset + 8]
    with pytest.raises(MalformedElf, match="is already a member of group"):
        link(bytes(data))


def test_flags_of_a_group_that_have_no_meaning_are_refused() -> None:
    data = assembled(GROUP.format("a", "ga"))
    (section,) = (s for s in decode_object(bytes(data)).sections if s.type == SectionType.GROUP)
    struct.pack_into("<I", data, section.offset, 0xFF)
    with pytest.raises(UnsupportedElf, match="has the flags 0xff"):
        link(bytes(data))


def test_a_binding_that_has_no_meaning_is_refused() -> None:
    data = one_entry()
    found = decode_object(bytes(data))
    (table,) = (s for s in found.sections if s.type == SectionType.SYMTAB)
    row = found.symbols.names.texts().index("there")
    data[table.offset + 24 * row + 4] = 9 << 4
    with pytest.raises(RelinkError, match="there has the symbol binding 9"):
        link(bytes(data))


def test_what_refers_to_a_section_dropped_with_its_group_is_refused() -> None:
    """Code outside the group that names a local symbol within it."""
    inside = GROUP.format("f", "g") + "local: ret\n"
    first = assembled(inside)
    second = assembled(inside + ".text\n.globl user\nuser: jmp local\n")
    link([bytes(first)])
    link([bytes(second)])
    with pytest.raises(RelocationError, match="refers to a section that was discarded") as raised:
        link([bytes(first), bytes(second)])
    assert raised.value.section.endswith("(.rela.text)")


def test_tables_may_describe_what_was_dropped() -> None:
    """Unwind entries of the losing copy stay, about nothing."""
    inside = GROUP.format("f", "g") + ".cfi_startproc\nlocal: ret\n.cfi_endproc\n"
    data = bytes(assembled(inside))
    link([data, data])


def test_sizes_and_alignments_beyond_reason() -> None:
    for text in (".comm big, 0x7000000000000000, 8\n", ".comm a, 0x7fffffff, 8\n.comm b, 0x7fffffff, 8\n"):
        with pytest.raises(UnsupportedElf, match="the limit is"):
            link(bytes(assembled(text)))
    data = assembled(".comm odd, 8, 8\n")
    found = decode_object(bytes(data))
    table = next(s for s in found.sections if s.type == SectionType.SYMTAB)
    row = next(i for i in range(len(found.symbols)) if found.symbols.names.text(i) == "odd")
    for align in (24, 1 << 40):
        struct.pack_into("<Q", data, table.offset + row * table.entsize + 8, align)
        with pytest.raises(MalformedElf, match="has the alignment"):
            link(bytes(data))


@pytest.mark.parametrize("addend", [-1, -4, 3, 1 << 40, (1 << 63) - 1, -(1 << 63)])
@pytest.mark.parametrize("target", ["riscv64", "loongarch64"])
def test_padding_that_cannot_align(target: str, addend: int) -> None:
    type_ = "R_RISCV_ALIGN" if target == "riscv64" else "R_LARCH_ALIGN"
    data = assembled(f".text\nnop\n.reloc ., {type_}, 4\nnop\nnop\nnop\n", target)
    at = entry_of(data, ".rela.text")
    struct.pack_into("<q", data, at + 16, addend)
    with pytest.raises(MalformedElf, match="too few for an alignment"):
        link(bytes(data), target)


def test_two_paddings_at_one_place_are_refused() -> None:
    text = ".text\nnop\n.reloc ., R_RISCV_ALIGN, 6\n.reloc ., R_RISCV_ALIGN, 6\nnop\nnop\nnop\n"
    with pytest.raises(MalformedElf, match="too few for an alignment"):
        link(bytes(assembled(text, "riscv64")), "riscv64")


@pytest.mark.parametrize("target", TARGETS)
def test_an_object_cut_short_anywhere(target: str) -> None:
    data = compiled(target, "other.c").read_bytes()
    for length in range(0, len(data), 97):
        with pytest.raises(RelinkError):
            link(data[:length], arch_of(target))


# ---------------------------------------------------------------- anything


@cache
def originals() -> list[tuple[str, Path]]:
    names = [name for name, recipe in RECIPES.items() if recipe.kind is Kind.OBJECT]
    return [(target, fixture(target, name)) for name in names for target in targets_of(name)]


@cache
def spots(path: Path) -> list[tuple[int, int]]:
    """(offset, size) of what a linker reads: headers, symbols, relocations, groups, code."""
    found = decode_object(path)
    header = found.header
    places = [(0, 64), *[(header.shoff, header.shnum * (64 if header.bits == 64 else 40))] * 4]
    tables = (SectionType.SYMTAB, SectionType.RELA, SectionType.REL)
    for section in found.sections:
        weight = 4 if section.type in tables else int(section.type != SectionType.NOBITS)
        places += [(section.offset, section.size)] * weight
    return [(offset, size) for offset, size in places if size]


def mutated(path: Path, dice: random.Random) -> bytes:
    data = bytearray(path.read_bytes())
    for _ in range(dice.randint(1, 4)):
        start, size = dice.choice(spots(path))
        width = dice.choice((1, 2, 4, 8))
        at = start + dice.randrange(max(1, size // width)) * width
        value = dice.choice(INTERESTING) if dice.random() < 0.7 else dice.getrandbits(64)
        if at + width <= len(data):
            data[at : at + width] = (value & ((1 << 8 * width) - 1)).to_bytes(width, "little")
    return bytes(data)


def survives(seed: int) -> None:
    dice = random.Random(seed)
    target, path = dice.choice(originals())
    data, start = mutated(path, dice), time.process_time()
    memory = HostMemory(arch_of(target))
    linker = Linker(memory)
    try:
        image = linker.load(data, options=LoadOptions(unresolved=lambda image, symbol: 0x10000))
        list(constructors(image))
        list(destructors(image))
        linker.unload(image)
    except RelinkError:
        pass
    linker.close()
    assert not memory.regions
    assert time.process_time() - start < TIME, f"seed {seed}"


@settings(
    max_examples=examples(250), deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(st.integers(0, 1 << 32))
def test_any_change_of_any_object_links_or_is_refused(seed: int) -> None:
    survives(seed)


@pytest.mark.skipif("RELINK_FUZZ_SECONDS" not in os.environ, reason="RELINK_FUZZ_SECONDS is not set")
def test_changed_objects_for_a_while() -> None:
    end, seed = time.monotonic() + float(os.environ["RELINK_FUZZ_SECONDS"]), random.randrange(1 << 32)
    while time.monotonic() < end:
        seed += 1
        survives(seed)


def test_an_error_of_bytes_is_an_elf_error() -> None:
    for data in (b"", b"\x7fELF", b"\x7fELF" + bytes(60), b"!<arch>\n" + b"x" * 59):
        with pytest.raises(ElfError):
            link(data)

"""The architecture pages against tables other people wrote: glibc's elf.h, pyelftools, and assemblers."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import capstone
import pytest
from elftools.elf import enums

from relink import ARCHITECTURES, Architecture, Role, UnknownArchitecture, architecture, architecture_of
from tests.assembler import assembled

ELF_H = Path("/usr/include/elf.h")

#: Our name → theirs, where glibc's header spells a type differently than its psABI.
SPELT_BY_GLIBC = {
    "R_386_JUMP_SLOT": "R_386_JMP_SLOT",
    "R_AARCH64_TLS_DTPMOD64": "R_AARCH64_TLS_DTPMOD",
    "R_AARCH64_TLS_DTPREL64": "R_AARCH64_TLS_DTPREL",
    "R_AARCH64_TLS_TPREL64": "R_AARCH64_TLS_TPREL",
}
#: Types newer than the header of a glibc 2.36, so their absence says nothing.
NEWER_THAN_GLIBC = {
    "R_AARCH64_AUTH_ABS64", "R_AARCH64_AUTH_RELATIVE", "R_RISCV_TLSDESC", "R_LARCH_TLS_DESC64",
    "R_LARCH_32_PCREL", "R_LARCH_64_PCREL", "R_AARCH64_AUTH_GLOB_DAT", "R_AARCH64_AUTH_TLSDESC",
    "R_AARCH64_AUTH_IRELATIVE", "R_LARCH_TLS_DESC32",
}  # fmt: skip
#: Where pyelftools 0.31 is wrong (and glibc, binutils and the documents agree with each other).
WRONG_IN_PYELFTOOLS = {
    "R_AARCH64_NONE": "takes the withdrawn 256",
    "R_AARCH64_TLS_DTPMOD64": "swapped with DTPREL64",
    "R_AARCH64_TLS_DTPREL64": "swapped with DTPMOD64",
    "R_ARM_IRELATIVE": "140 instead of 160",
}

PAGES = list(ARCHITECTURES.values())
by_name = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def rows(page: Architecture) -> dict[str, int]:
    """Full names and numbers; AArch64's withdrawn second NONE left out."""
    return {page.prefix + row.name: n for n, row in page.relocations.items() if (page.name, n) != ("aarch64", 256)}


@cache
def elf_h() -> dict[str, int]:
    if not ELF_H.is_file():
        pytest.skip(f"{ELF_H} is not installed (libc6-dev)")
    found = re.findall(r"#define\s+((?:R|EM|EF)_\w+)\s+(0x[0-9a-fA-F]+|\d+)", ELF_H.read_text())
    return {name: int(value, 0) for name, value in found}


@by_name
def test_numbers_are_those_of_glibc(page: Architecture) -> None:
    theirs = elf_h()
    static = {page.prefix + row.name for row in page.relocations.values() if row.static}
    for name, number in rows(page).items():
        spelt = SPELT_BY_GLIBC.get(name, name)
        if spelt in theirs:
            assert (name, theirs[spelt]) == (name, number)
        elif name not in static:  # it lacks many that only objects have; tests/objects sees to those
            assert name in NEWER_THAN_GLIBC, f"{name} is not in {ELF_H}"


@by_name
def test_the_machine_number_is_that_of_glibc(page: Architecture) -> None:
    macro = {"x86_64": "X86_64", "i386": "386", "aarch64": "AARCH64", "arm": "ARM", "loongarch64": "LOONGARCH"}
    assert page.machine == elf_h()[f"EM_{macro.get(page.name, 'RISCV')}"]


@by_name
def test_numbers_are_those_of_pyelftools_where_it_has_them(page: Architecture) -> None:
    table = {62: "x64", 3: "i386", 183: "AARCH64", 40: "ARM", 258: "LOONGARCH"}.get(page.machine)
    if table is None:
        pytest.skip("pyelftools has no table of RISC-V relocations")
    theirs = getattr(enums, f"ENUM_RELOC_TYPE_{table}")
    for name, number in rows(page).items():
        if name in theirs and name not in WRONG_IN_PYELFTOOLS:
            assert (name, theirs[name]) == (name, number)


def test_static_riscv_names_are_those_of_glibc() -> None:
    page = ARCHITECTURES["riscv64"]
    theirs = {name: number for name, number in elf_h().items() if name.startswith("R_RISCV_")}
    # RVC_LUI, GPREL_* and TPREL_I/S were withdrawn from the psABI.
    withdrawn = re.compile(r"R_RISCV_(RVC_LUI|GPREL_[IS]|TPREL_[IS]|NUM)$")
    for name, number in theirs.items():
        if not withdrawn.match(name) and number not in page.relocations:
            # 41 was GNU_VTINHERIT before the psABI gave it to GOT32_PCREL.
            assert page.relocation_name(number) == name or number in (41, 42)


@by_name
def test_every_alias_means_its_page(page: Architecture) -> None:
    for alias in (page.name, *page.aliases, page.name.upper(), f" {page.name} "):
        assert architecture(alias) is page
        assert architecture(alias.replace("_", "-")) is page


def test_no_alias_means_two_pages() -> None:
    names = [alias for page in PAGES for alias in {page.name, *page.aliases}]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("alias", ["x86", "i686", "arm64", "armhf", "thumb", "rv64", "loong64", "amd64", "rv32"])
def test_what_people_type_is_understood(alias: str) -> None:
    assert architecture(alias).name


@pytest.mark.parametrize("name", ["", "mips", "x86_65", "riscv128"])
def test_an_unknown_name_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(UnknownArchitecture, match="loongarch64"):
        architecture(name)


@by_name
def test_the_header_names_the_page(page: Architecture) -> None:
    assert architecture_of(page.machine, page.bits) is page


def test_x32_and_ilp32_are_nobody() -> None:
    assert architecture_of(62, 32) is None
    assert architecture_of(183, 32) is None


@by_name
def test_a_row_fits_its_page(page: Architecture) -> None:
    for row in page.relocations.values():
        # A step of the stack machine has either: it pushes a formula or pops into a field.
        assert row.role is Role.STACK or (row.word is None) == (row.formula is None)
        if row.word is not None and row.formula is not None:
            assert row.word.size <= 8
            assert row.formula.code is row.formula.code


# ---------------------------------------------------------------- TLS descriptor stubs

DISASSEMBLERS = {
    "x86_64": (capstone.CS_ARCH_X86, capstone.CS_MODE_64),
    "i386": (capstone.CS_ARCH_X86, capstone.CS_MODE_32),
    "aarch64": (capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM),
    "arm": (capstone.CS_ARCH_ARM, capstone.CS_MODE_ARM),
    "riscv64": (capstone.CS_ARCH_RISCV, capstone.CS_MODE_RISCV64),
    "riscv32": (capstone.CS_ARCH_RISCV, capstone.CS_MODE_RISCV32),
}
STUBS = {
    "x86_64": (
        "mov rax, qword ptr [rax + 8]; ret",
        "mov rax, qword ptr [rax + 8]; sub rax, qword ptr fs:[0]; ret",
    ),
    "i386": ("mov eax, dword ptr [eax + 4]; ret", "mov eax, dword ptr [eax + 4]; sub eax, dword ptr gs:[0]; ret"),
    "aarch64": (
        "ldr x0, [x0, #8]; ret",
        "str x1, [sp, #-0x10]!; ldr x0, [x0, #8]; mrs x1, tpidr_el0; sub x0, x0, x1; ldr x1, [sp], #0x10; ret",
    ),
    "arm": (
        "ldr r0, [r0]; bx lr",
        "str r1, [sp, #-4]!; ldr r0, [r0]; mrc p15, #0, r1, c13, c0, #3; sub r0, r0, r1; ldr r1, [sp], #4; bx lr",
    ),
    "riscv64": ("ld a0, 8(a0); jr t0", "ld a0, 8(a0); sub a0, a0, tp; jr t0"),
    "riscv32": ("lw a0, 4(a0); jr t0", "lw a0, 4(a0); sub a0, a0, tp; jr t0"),
}


@pytest.mark.parametrize("name", STUBS)
def test_descriptor_stubs_disassemble_to_what_they_should(name: str) -> None:
    disassembler = capstone.Cs(*DISASSEMBLERS[name])
    tls = ARCHITECTURES[name].tls
    for code, text in zip((tls.descriptor_stub, tls.undefined_descriptor_stub), STUBS[name], strict=True):
        lines = [f"{i.mnemonic} {i.op_str}".strip() for i in disassembler.disasm(code, 0)]
        assert (
            "; ".join(lines).replace("push {r1}", "str r1, [sp, #-4]!").replace("pop {r1}", "ldr r1, [sp], #4")
            == text
        )


@pytest.mark.parametrize("name", [name for name in STUBS if not name.startswith("riscv")])
def test_descriptor_stubs_assemble_from_their_text(name: str) -> None:
    tls = ARCHITECTURES[name].tls
    for code, text in zip((tls.descriptor_stub, tls.undefined_descriptor_stub), STUBS[name], strict=True):
        for instruction in text.split("; "):
            if "fs:[0]" in instruction:
                continue  # keystone reads it as relative to rip; the disassembler above has judged it
            assert assembled(name, instruction) in code


def test_loongarch_descriptor_stubs_are_the_manual_s_encodings() -> None:
    """No assembler library knows LoongArch: the words are put together from the manual's fields."""
    ra, tp, a0 = 1, 2, 4
    load = 0b0010100011 << 22 | 8 << 10 | a0 << 5 | a0  # ld.d a0, a0, 8
    sub = 0b00000000000100011 << 15 | tp << 10 | a0 << 5 | a0  # sub.d a0, a0, tp
    back = 0b010011 << 26 | ra << 5  # jirl zero, ra, 0
    tls = ARCHITECTURES["loongarch64"].tls
    assert tls.descriptor_stub == b"".join(w.to_bytes(4, "little") for w in (load, back))
    assert tls.undefined_descriptor_stub == b"".join(w.to_bytes(4, "little") for w in (load, sub, back))

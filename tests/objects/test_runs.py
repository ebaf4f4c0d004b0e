"""Static types at work: a page of assembly for each ISA that uses every one, linked by the machine and called."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection

from emu import Library, Machine
from relink.arch import ARCHITECTURES
from relink.arch.spec import Role
from tests.grouping import each
from tests.objects.build import SOURCES as FOLDER
from tests.objects.build import compiled
from tests.objects.rows import implemented
from tests.sections import symbol_table
from tests.toolcache import text_file

#: ISA → its assembly, of which a function stands for a type, or for a sequence of types that compilers emit.
SOURCES = {
    "x86_64": "x86_64_runs.s",
    "i386": "i386_runs.s",
    "aarch64": "aarch64_runs.s",
    "arm": "arm_runs.s",
    "riscv64": "riscv_runs.s",
    "riscv32": "riscv_runs.s",
    "loongarch64": "loongarch_runs.s",
}

#: What all of them are written with: an entry at an instruction, and the beginning of a function (of which Arm's
#: has a state, and a macro of its own).
AT = """
    .macro at type, symbol, instruction:vararg
    .reloc ., {prefix}\\type, \\symbol
    \\instruction
    .endm
"""
FUNCTION = """
    .macro function name
    .globl \\name
    .type \\name, %function
\\name:
    .endm
"""

#: What is not executed.
NOT_RUN = {
    # No emulated core has Armv8.1-M's branch future; the assembler has no name for THM_GOT_BREL12.
    "arm": {"THM_BF16", "THM_BF12", "THM_BF18", "THM_GOT_BREL12"},
    # In the code that compilers emit with relaxation on (test_execution), where the linker has to obey it.
    "riscv64": {"ALIGN"},
    "riscv32": {"ALIGN"},
    "loongarch64": {"ALIGN"},
}


R_X86_64_PC32 = 2
RELA64 = [("offset", "<u8"), ("type", "<u4"), ("symbol", "<u4"), ("addend", "<i8")]
#: What the assembler must not know, so that it leaves it to the linker; AArch64's `add x0, x0, x0` among it.
SYMBOLS = {"doubling": 0x8B000000, "eight": 8, "value8": 100, "value16": 60000}


@cache
def functions(isa: str) -> list[tuple[str, int, int]]:
    """(name, argument, result), as comments in the assembly have them."""
    text = (FOLDER / SOURCES[isa]).read_text()
    found = re.findall(r"^ *\w+ (\w+).* (?:#|//|@) (-?\d+) -> (-?\d+)$", text, re.M)
    return [(name, int(argument), int(result)) for name, argument, result in found]


@cache
def assembled(isa: str) -> Path:
    width = f"-Wa,--defsym,XLEN={ARCHITECTURES[isa].bits}"
    macros = AT.format(prefix=ARCHITECTURES[isa].prefix) + (FUNCTION if isa != "arm" else "")
    path = compiled(isa, macros + (FOLDER / SOURCES[isa]).read_text(), width, language="assembler")
    return renumbered(path) if isa == "x86_64" else path


def renumbered(path: Path) -> Path:
    """With the types the assembler has no name for: PC32 stands for them, with their number above the addend."""
    content = np.fromfile(path, np.uint8)
    for start, size in tables_of(path):
        rela = content[start : start + size].view(RELA64)
        number = np.where(rela["type"] == R_X86_64_PC32, (rela["addend"] + (1 << 31)) >> 32, 0)
        rela["type"] = np.where(number, number, rela["type"])
        rela["addend"] -= number << 32
    return text_file(content.tobytes(), ".o")


def tables_of(path: Path) -> list[tuple[int, int]]:
    """Where the relocation sections lie in the file, and their sizes."""
    with path.open("rb") as file:
        sections = ELFFile(file).iter_sections()
        return [(s["sh_offset"], s["sh_size"]) for s in sections if isinstance(s, RelocationSection)]


def types_in(path: Path) -> set[int]:
    """The numbers of all relocation types in the file."""
    with path.open("rb") as file:
        tables = [s for s in ELFFile(file).iter_sections() if isinstance(s, RelocationSection)]
        return {int(entry["r_info_type"]) for table in tables for entry in table.iter_relocations()}


@cache
def loaded(isa: str) -> Library:
    """All functions of an ISA, in one object."""
    return Machine(isa).load(assembled(isa), symbols=SYMBOLS)


@pytest.mark.parametrize("isa", SOURCES)
@each(("name", "argument", "expected"), functions)
def test_the_code_does_what_its_relocations_say(isa: str, name: str, argument: int, expected: int) -> None:
    assert loaded(isa).function(name, "long(long)")(argument) == expected


@pytest.mark.parametrize("isa", SOURCES)
def test_every_function_is_called(isa: str) -> None:
    """No comment is misspelt: what is there and not called are the functions that others call."""
    with assembled(isa).open("rb") as file:
        symbols = symbol_table(ELFFile(file)).iter_symbols()
        there = {symbol.name for symbol in symbols if symbol["st_info"]["type"] == "STT_FUNC"}
    assert there - {name for name, _, _ in functions(isa)} <= {"a_double", "t_double"}


@pytest.mark.parametrize("isa", SOURCES)
def test_every_type_is_executed_or_named(isa: str) -> None:
    page = ARCHITECTURES[isa]
    run = {page.relocations[number].name for number in types_in(assembled(isa))}
    steps = {row.name for row in page.relocations.values() if row.role is Role.STACK}
    assert (implemented(page) | steps) - run == NOT_RUN.get(isa, set())

"""The data page of one ISA, and the stub that loads its registers from there and stores them back.

0x0000  where to jump afterwards
0x0040  general registers, then flags and control registers
0x0400  floating-point or vector registers
0x1000  memory the instructions work on; MEMORY, its middle, is what base registers hold
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

CODE, DATA, REGION, SLOT, KEPT = 0x1000_0000, 0x2000_0000, 0x1_0000, 16, 0x2000
MEMORY, STACK = DATA + 0x1800, DATA + 0xF000
GENERAL, VECTORS = 0x40, 0x400

#: Fills the registers of a data page for an instruction.
Fill = Callable[[Random, bytearray, bytes], None]


@dataclass(frozen=True)
class Field:
    """A register's place in the data page; `ignored` bits are not compared."""

    name: str
    offset: int
    size: int
    ignored: int = 0


@dataclass(frozen=True)
class Layout:
    """One ISA (or state of it)."""

    name: str
    arch: str
    triple: str  #: for the compiler
    emulator: tuple[str, ...]  #: what runs the reference; none: this machine
    fields: tuple[Field, ...]
    stub: str  #: assembly text with a line "slot:" where the instruction goes
    fill: Fill  #: with random registers and memory
    capstone: tuple[str, tuple[str, ...]]
    nop: bytes
    flags: tuple[str, ...] = ()  #: for the compiler
    thumb: bool = False


def built(layout: Layout, folder: Path) -> tuple[bytes, int, Path]:
    """The stub's code, where its slot is, and the program that runs tests."""
    zig = [sys.executable, "-m", "ziglang", "cc", "-target", layout.triple, *layout.flags]
    source, made = folder / "stub.s", folder / "stub.o"
    source.write_text(layout.stub)
    subprocess.run([*zig, "-c", str(source), "-o", str(made)], check=True)
    with made.open("rb") as file:
        elf = ELFFile(file)
        text, table = elf.get_section_by_name(".text"), elf.get_section_by_name(".symtab")
        assert text is not None
        assert isinstance(table, SymbolTableSection)
        code = text.data()
        symbols = {each.name: each["st_value"] for each in table.iter_symbols()}
    program = folder / "runner"
    harness = Path(__file__).with_name("runner.c")
    subprocess.run([*zig, "-static", "-O1", "-w", str(harness), "-o", str(program)], check=True)
    return code, symbols["slot"], program


# ---------------------------------------------------------------- random values

_SPECIAL_64 = (
    0,
    1 << 63,
    0x7FF0 << 48,
    0xFFF0 << 48,
    0x7FF8 << 48,
    0x7FF4 << 48,
    1,
    0xFFFFFFFFFFFFF,
    0x3FF0 << 48,
    0xBFF0 << 48,
    0x7FEF_FFFF_FFFF_FFFF,
    0x0010 << 48,
    0x41E0 << 48,
    0x43E0 << 48,
    0xC1E0 << 48,
    0x3FE0 << 48,
    0x4004 << 48,
    0x47EF_FFFF_E000_0000,
    0x3810 << 48,
    0x36A0 << 48,
)
_SPECIAL_32 = (
    0,
    1 << 31,
    0x7F800000,
    0xFF800000,
    0x7FC00000,
    0x7FA00000,
    1,
    0x7FFFFF,
    0x3F800000,
    0xBF800000,
    0x7F7FFFFF,
    0x00800000,
    0x4F000000,
    0x5F000000,
    0xCF000000,
    0x3F000000,
    0x40200000,
    0x477FE000,
    0x38800000,
    0x33800000,
)
_SPECIAL_16 = (0, 0x8000, 0x7C00, 0xFC00, 0x7E00, 0x7D00, 1, 0x3FF, 0x3C00, 0xBC00, 0x7BFF, 0x0400, 0x3800)
_EDGES = (0, 1, 2, -1, -2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0x7FFF_FFFF, 0x8000_0000, 1 << 63, (1 << 63) - 1)


def integer(rng: Random, bits: int) -> int:
    """A number of any size, often at an edge."""
    if rng.random() < 0.35:
        return rng.choice(_EDGES) & (1 << bits) - 1
    return rng.getrandbits(bits) >> (rng.randrange(bits) if rng.random() < 0.3 else 0)


def number(rng: Random, bits: int) -> int:
    """The pattern of a floating-point number of 16, 32 or 64 bits: special, near 1 or any."""
    special = {16: _SPECIAL_16, 32: _SPECIAL_32, 64: _SPECIAL_64}[bits]
    if rng.random() < 0.4:
        return rng.choice(special)
    if rng.random() < 0.2:
        return rng.getrandbits(bits)
    fraction = {16: 10, 32: 23, 64: 52}[bits]
    bias = (1 << bits - fraction - 2) - 1
    exponent = bias + rng.randrange(-min(40, bias - 1), min(70, bias))
    mantissa = rng.getrandbits(fraction)
    if rng.random() < 0.3:  # few digits: halves, ties
        mantissa &= ~((1 << rng.randrange(fraction)) - 1)
    return rng.getrandbits(1) << bits - 1 | exponent << fraction | mantissa


def vector(rng: Random, size: int, halves: bool = False) -> bytes:
    """`size` bytes of lanes of one kind."""
    kind = rng.choice(("f64", "f32", "f64", "f32", "bytes", "lanes", *(("f16", "f16") if halves else ())))
    if kind == "bytes":
        return rng.randbytes(size)
    bits = rng.choice((8, 16, 32, 64)) if kind == "lanes" else int(kind[1:])
    make = integer if kind == "lanes" else number
    return b"".join(make(rng, bits).to_bytes(bits // 8, "little") for _ in range(8 * size // bits))


def put(data: bytearray, offset: int, size: int, value: int) -> None:
    data[offset : offset + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")


def fill_memory(rng: Random, data: bytearray, halves: bool = False) -> None:
    """The memory around MEMORY."""
    start, end = 0x1600, 0x1A00
    for at in range(start, end, 16):
        data[at : at + 16] = vector(rng, 16, halves)


def general(names: Mapping[str, int], size: int) -> tuple[Field, ...]:
    """Registers by name and number, in the order of their numbers."""
    return tuple(Field(name, GENERAL + size * index, size) for name, index in names.items())

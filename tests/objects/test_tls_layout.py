"""Offsets from the thread pointer of .tdata and .tbss of several objects, the same as lld's and GNU ld's."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from relink import HostMemory, Linker
from tests import sections as read
from tests.fixtures import arch_of
from tests.objects.build import compiled, zig
from tests.toolcache import OUTPUT, made
from toolchains.targets import TARGETS

#: An access of the local-exec model, for each architecture.
ACCESS = {
    "x86_64": "movl %fs:{0}@tpoff, %eax",
    "i386": "movl %gs:{0}@ntpoff, %eax",
    "aarch64": "add x0, x0, :tprel_hi12:{0}\nadd x0, x0, :tprel_lo12_nc:{0}",
    "arm": ".word {0}(tpoff)",
    "riscv64": "lui a0, %tprel_hi({0})\nadd a0, a0, tp, %tprel_add({0})\naddi a0, a0, %tprel_lo({0})",
    "loongarch64": "lu12i.w $a0, %le_hi20({0})\nori $a0, $a0, %le_lo12({0})",
}
ACCESS["riscv32"] = ACCESS["riscv64"]
GNU = {
    "x86_64": "x86_64-linux-gnu-ld",
    "i386": "i686-linux-gnu-ld",
    "aarch64": "aarch64-linux-gnu-ld",
    "arm": "arm-linux-gnueabihf-ld",
    "riscv64": "riscv64-linux-gnu-ld",
    "riscv32": "riscv64-linux-gnu-ld",
    "loongarch64": "loongarch64-linux-gnu-ld",
}
#: Objects of sections (name, alignment, bytes).
SHAPES: dict[str, list[list[tuple[str, int, int]]]] = {
    "a small .tdata before an aligned .tbss": [[(".tdata", 4, 4)], [(".tbss", 16, 8)]],
    "an odd .tdata, a .tbss without alignment": [[(".tdata", 1, 3)], [(".tbss", 1, 5), (".tbss.b", 1, 1)]],
    ".tbss alone, odd sizes between alignments": [[(".tbss", 4, 10)], [(".tbss", 4, 326)], [(".tbss", 1, 4)]],
    "the later object has the alignment": [
        [(".tdata", 2, 6), (".tbss", 1, 1)],
        [(".tdata.x", 64, 4), (".tbss", 8, 8)],
    ],
    ".tbss before .tdata": [[(".tbss", 32, 4)], [(".tdata", 8, 12)], [(".tbss", 1, 3)], [(".tdata", 4, 4)]],
    "an empty .tbss": [[(".tdata", 4, 4), (".tbss", 8, 0)], [(".tbss.y", 4, 12)]],
}


def _sources(target: str, shape: list[list[tuple[str, int, int]]]) -> list[Path]:
    texts, names = [], []
    for number, sections in enumerate(shape):
        text = ""
        for row, (section, align, size) in enumerate(sections):
            names.append(f"v{number}_{row}")
            kind = "%nobits" if ".tbss" in section else "%progbits"
            text += f'.section {section},"awT",{kind}\n.balign {align}\n.globl {names[-1]}\n'
            text += f".type {names[-1]},%tls_object\n{names[-1]}: .zero {size}\n"
        texts.append(text)
    norelax = ".option norelax\n" if target.startswith("riscv") else ""
    code = "".join(ACCESS[target].format(name) + "\n" for name in names)
    texts.insert(1, f".text\n{norelax}.balign 16\n.globl _start\n_start:\n{code}")
    return [compiled(target, text, language="assembler") for text in texts]


def _their_code(command: list[str], target: str, objects: list[Path]) -> bytes:
    linked = made(
        [*command, "-m", TARGETS[target].emulation, "-static", "--no-relax", *objects, "-o", OUTPUT], objects, "{}"
    )
    with linked.open("rb") as stream:
        content = read.section(ELFFile(stream), ".text").data()
    assert isinstance(content, bytes)
    return content


@pytest.mark.parametrize("target", ACCESS)
def test_thread_local_offsets_are_the_other_linkers(target: str) -> None:
    for shape, sections in SHAPES.items():
        objects = _sources(target, sections)
        linker = Linker(HostMemory(arch_of(target)))
        image = linker.load(objects)
        size = next(s.size for s in image.link_map().sections if s.name == ".text" and s.size)
        ours = linker.memory.read(image.symbol("_start").address, size)
        assert ours == _their_code([zig(), "ld.lld"], target, objects)[:size], (shape, "lld")
        if (gnu := shutil.which(GNU[target])) is not None:
            assert ours == _their_code([gnu], target, objects)[:size], (shape, "GNU ld")


def test_symbols_of_empty_thread_local_sections_have_an_offset() -> None:
    """lld makes a PT_TLS of no size."""
    empty = '.section .tbss,"awT",%nobits\n.globl v\n.type v,%tls_object\nv:\n.data\n.globl q\nq: .quad v@tpoff\n'
    linker = Linker(HostMemory("x86_64"))
    image = linker.load([compiled("x86_64", empty, language="assembler")])
    assert -16 <= int.from_bytes(linker.memory.read(image.symbol("q").address, 8), "little", signed=True) <= 0

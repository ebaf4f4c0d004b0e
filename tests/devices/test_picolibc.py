"""Programs with Debian's picolibc (printf, qsort, malloc): the bytes of GNU ld, and what they do on a board."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from emu.boards import Board, CortexM, Ram, Rom
from relink import HostMemory, Image, Linker, LinkScript, LoadOptions, MemoryRegion
from relink.objects.script import Place
from tests.devices.firmware import gnu_script
from tests.devices.test_placement import our_sections, their_sections

START = """
extern char __data_load[], __data_start[], __data_end[], __bss_start[], __bss_end[], _estack[];
int main(void);
int result;
void _start(void) {
    for (char *to = __data_start, *from = __data_load; to < __data_end;) *to++ = *from++;
    for (char *to = __bss_start; to < __bss_end;) *to++ = 0;
    result = main();
    for (;;) ;
}
__attribute__((section(".isr_vector"), used)) void *const vectors[4] = { _estack, _start };
"""
MAIN = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int cmp(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
int values[8] = {5, 3, 9, 1, 7, 2, 8, 6};
char buffer[128];
int main(void) {
    qsort(values, 8, sizeof(int), cmp);
    snprintf(buffer, sizeof buffer, "%d %s %.3f", values[0], "text", 1.5 + values[1]);
    char *p = malloc(20);
    if (p) strcpy(p, buffer);
    return strlen(buffer);
}
"""
#: Architecture, prefix of the tools, flags, folder of the C library.
CASES = {
    "v6-m": ("arm", "arm-none-eabi", "-mthumb -mcpu=cortex-m0", "lib/thumb/v6-m/nofp"),
    "v7-m": ("arm", "arm-none-eabi", "-mthumb -mcpu=cortex-m3", "lib/thumb/v7-m/nofp"),
    "rv32imac": ("riscv32", "riscv64-unknown-elf", "-march=rv32imac -mabi=ilp32", "lib/rv32imac/ilp32"),
    "rv64imac": (
        "riscv64", "riscv64-unknown-elf", "-march=rv64imac -mabi=lp64 -mcmodel=medany", "lib/rv64imac/lp64"
    ),
}  # fmt: skip
_UNWINDING = (".ARM.*", ".eh_frame*", ".note*")


def program(case: str, folder: Path) -> tuple[str, list[Path]]:
    """The architecture, and objects and archives of the program. Skips without the tools."""
    arch, prefix, flags, place = CASES[case]
    root = Path("/usr/lib/picolibc") / prefix
    gcc = shutil.which(f"{prefix}-gcc")
    if gcc is None or not (root / place / "libc.a").exists():
        pytest.skip(f"no {prefix}-gcc or picolibc on this host")
    for name, text in (("start", START), ("main", MAIN)):
        (folder / f"{name}.c").write_text(text)
    command = [gcc, *flags.split(), "-isystem", str(root / "include"), "-Os", "-ffunction-sections"]
    done = subprocess.run(
        [*command, "-fdata-sections", "-c", "start.c", "main.c"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    support = subprocess.run(
        [gcc, *flags.split(), "-print-libgcc-file-name"], capture_output=True, text=True, check=True
    )
    return arch, [
        folder / "start.o", folder / "main.o", root / place / "libc.a", Path(support.stdout.strip())
    ]  # fmt: skip


def linked(arch: str, objects: list[Path], ram: int) -> tuple[Image, LinkScript]:
    flash = MemoryRegion("flash", 0x0800_0000, 0x40000, "rx")
    data = MemoryRegion("ram", ram, 0x8000, "rw")
    place: dict[str, Place] = dict.fromkeys((".isr_vector", ".text", ".rodata"), flash)
    place |= {".data": (data, flash), ".tbss": data, ".bss": data}
    rules = LinkScript.of(place, entry="_start", gc=True, discard=_UNWINDING)
    return Linker(HostMemory(arch)).load(objects, options=LoadOptions(script=rules)), rules


@pytest.mark.parametrize("case", CASES)
def test_a_program_has_the_bytes_of_gnu_ld(case: str, tmp_path: Path) -> None:
    """The members that we have added to the link, in their order."""
    arch, objects = program(case, tmp_path)
    image, rules = linked(arch, objects, 0x0810_0000)
    ours = our_sections(image)
    assert image.objects is not None
    members = []
    for number, file in enumerate(image.objects.files):
        members.append(tmp_path / f"{number:04}.o")
        members[-1].write_bytes(file.data.tobytes())
    patterns = {
        name: f"*({' '.join(rule)})" for out in rules.outputs for name, rule in ((out.name, out.patterns[0]),)
    } | {".isr_vector": "KEEP(*(.isr_vector))"}
    text = gnu_script(rules, patterns, {name: load for name, (at, load, _) in ours.items() if load != at})
    text = text.replace("PROVIDE(__tbss_load", ".space : { . = . + SIZEOF(.tbss); } > ram\nPROVIDE(__tbss_load")
    heap = "PROVIDE(__heap_start = __bss_end); PROVIDE(__heap_end = _estack); PROVIDE(__tls_base = __tbss_start);"
    (tmp_path / "board.ld").write_text(text.replace("/DISCARD/", f"{heap}\n/DISCARD/"))
    machine = {"arm": "armelf", "riscv32": "elf32lriscv", "riscv64": "elf64lriscv"}[arch]
    command = [
        f"{CASES[case][1]}-ld",
        "-m",
        machine,
        "-T",
        "board.ld",
        "--gc-sections",
        "--no-relax",
    ]
    command += ["-o", "a.elf", *map(str, members)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "a.elf").open("rb") as stream:
        theirs = their_sections(ELFFile(stream))
    theirs.pop(".space", None)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []


@pytest.mark.parametrize("case", ["v6-m", "v7-m"])
def test_a_program_with_a_c_library_runs_on_a_board(case: str, tmp_path: Path) -> None:
    arch, objects = program(case, tmp_path)
    image, _ = linked(arch, objects, 0x2000_0000)
    cpu = CortexM({"v6-m": "cortex-m0", "v7-m": "cortex-m3"}[case], vectors=0x0800_0000)
    board = Board(cpu, memory=[Rom(0x0800_0000, 0x40000), Ram(0x2000_0000, 0x8000)])
    board.load(image.exported("elf"))
    board.power_cycle(fill=0x55)
    result = board.address_of("result")
    board.run(until=lambda: board.machine.memory.read_uint(result, 4) == 12, max_instructions=200_000)
    assert board.machine.memory.read(board.address_of("buffer"), 13) == b"1 text 3.500\0"

"""Firmware of our own for all ISAs, scripts that place it, and the same scripts for other linkers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from relink import HostMemory, Image, Linker, LinkScript, LoadOptions, MemoryRegion
from relink.memory.address_space import AddressSpace
from tests.fixtures import arch_of
from tests.objects.build import TARGETS, compiled

__all__ = ["APP", "FAR", "NEAR", "START", "TARGETS", "firmware", "gnu_script", "linked_for", "script"]

START = """
extern unsigned char __data_load[], __data_start[], __data_end[], __bss_start[], __bss_end[], _estack[];
extern void (*__init_array_start[])(void), (*__init_array_end[])(void);
int main_loop(int);
int answer;
void reset(void) {
    unsigned char *from = __data_load;
    for (unsigned char *to = __data_start; to < __data_end; to++) *to = *from++;
    for (unsigned char *to = __bss_start; to < __bss_end; to++) *to = 0;
    for (void (**f)(void) = __init_array_start; f < __init_array_end; f++) (*f)();
    answer = main_loop(5);
}
__attribute__((section(".isr_vector"), used)) void *const vectors[4] = { _estack, reset };
"""
APP = """
int counter = 7, *where = &counter;
char odd[3] = "ab";
static int history[8];
int shared[4];
const int squares[5] = {0, 1, 4, 9, 16};
static const char text[] = "some text";
int square(int n);
const char *name(void) { return text; }
__attribute__((section(".my.table"))) const int mine[2] = {3, 4};
__attribute__((constructor)) static void begin(void) { shared[1] = 11; }
__attribute__((constructor(200))) static void first(void) { shared[1] = 5; }
__attribute__((section(".ramfunc"), noinline)) int quick(int n) { *where += n; return square(n) + counter; }
__attribute__((noinline)) int square(int n) { history[n & 7] = n; return squares[n % 5] + mine[n & 1]; }
__attribute__((noinline)) int unused(int n) { return n * 12345 + history[n & 7]; }
int main_loop(int n) { return quick(n) + shared[1]; }
"""
#: Flash and RAM so near that no branch needs a stub, and as far apart as in an STM32.
NEAR, FAR = (0x0800_0000, 0x0804_0000), (0x0800_0000, 0x2000_0000)


def firmware(target: str, *flags: str) -> list[Path]:
    """The objects of a small program with vectors, data, code in RAM and constructors."""
    flags = ("-fcommon", "-fno-asynchronous-unwind-tables", *_RELAX.get(target, ()), *flags)
    return [compiled(target, START, *flags), compiled(target, APP, *flags)]


_UNWINDING = (".ARM.*", ".eh_frame*", ".note*")
_RELAX = {
    "riscv64": ("-mno-relax",),
    "riscv32": ("-mno-relax",),
    "loongarch64": ("-mno-relax", "-fdirect-access-external-data"),
}


def script(places: tuple[int, int] = NEAR, **options: object) -> LinkScript:
    """Code in flash, data and some code in RAM and stored in flash."""
    flash = MemoryRegion("flash", places[0], 64 << 10, "rx")
    ram = MemoryRegion("ram", places[1], 16 << 10, "rw")
    place = {
        ".isr_vector": flash, ".text": flash, ".rodata": flash, ".my.table": flash, ".init_array": flash,
        ".ramfunc": (ram, flash), ".data": (ram, flash), ".bss": ram,
    }  # fmt: skip
    return LinkScript.of(place, **{"entry": "reset", "discard": _UNWINDING, **options})  # type: ignore[arg-type]


def linked_for(
    target: str, objects: Sequence[Path], rules: LinkScript, memory: AddressSpace | None = None
) -> Image:
    """The image of objects placed by a script."""
    return Linker(memory or HostMemory(arch_of(target))).load(objects, options=LoadOptions(script=rules))


def gnu_script(rules: LinkScript, patterns: dict[str, str], loaded_at: dict[str, int]) -> str:
    """The same script for GNU ld and lld; `patterns` are input sections by output section, as they write them, and
    `loaded_at` the addresses where sections are stored: GNU ld does not align these, lld does.
    """
    lines = ["MEMORY {"]
    for region in rules.regions:
        lines.append(
            f"{region.name} ({region.attributes}) : ORIGIN = {region.origin:#x}, LENGTH = {region.length:#x}"
        )
    lines += ["}", f"ENTRY({rules.entry})", "SECTIONS {"]
    for output in rules.outputs:
        stored = f" AT> {output.load_in.name}" if output.load_in and output.name not in loaded_at else ""
        at = f" : AT({loaded_at[output.name]:#x})" if output.name in loaded_at else " :"
        fill = output.region.fill if output.fill is None else output.fill
        name = output.name.removeprefix(".").replace(".", "_")
        edges = f"PROVIDE(__{name}_start = .); {{}} PROVIDE(__{name}_end = .);"
        keep = patterns.get(output.name, " ".join(f"*({p} {p}.*)" for p in [output.name]))
        lines.append(f"{output.name}{at} {{ {edges.format(keep)} }} > {output.region.name}{stored} ={fill:#04x}")
        lines.append(f"PROVIDE(__{name}_load = LOADADDR({output.name}));")
    ram = rules.regions[-1]
    lines.append(f"PROVIDE(_estack = {ram.end:#x});")
    lines.append("/DISCARD/ : { *(.note*) *(.comment) *(.ARM.*) *(.eh_frame*) *(.llvm*) *(.riscv.attributes) } }")
    return "\n".join(lines)

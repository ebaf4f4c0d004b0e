"""A fault says where it happened and how the guest got there, on every ISA, with and without unwind tables.

The guest is compiled by the clang of the `ziglang` wheel, so frames look as compilers really make them.
"""

from __future__ import annotations

import functools
import io
import os
import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from emu.cpu.create import create_cpu
from emu.cpu.protocol import Cpu, Protection, Stop, StopReason
from emu.debug.faults import MAX_FRAMES, CallFrameTable, backtrace, guest_fault
from emu.debug.unwind import Registers, UnwindError, _evaluate, table_by_index
from emu.errors import Frame, GuestFault
from emu.isa.registry import ISAS
from emu.isa.spec import DwarfRegisters
from relink.errors import AddressSpaceError, MalformedElf
from tests.sections import symbol_table

from .cpu.guests import page_buffer

TRAPS, STACK = 0x7000_0000, 0x6000_0000
PAGE = 4096

SOURCE = """
typedef int (*function)(int);
volatile int sink;
function where;
__attribute__((noinline)) int crash(volatile int *p, int n) { char room[64]; sink = n; room[n & 63] = n;
    __asm__ volatile("" :: "r"(room) : "memory"); return *p + n; }
__attribute__((noinline)) int middle(int n) { int a[40]; for (int i = 0; i < 40; i++) a[i] = n + sink;
    __asm__ volatile("" :: "r"(a) : "memory"); return crash((volatile int *)16, n) + a[n & 31]; }
__attribute__((noinline)) int outer(int n) { return middle(n + 1) * 3 + sink; }
__attribute__((noinline)) int astray(int n) { return where(n) * 5 + sink; }
__attribute__((noinline)) int deep(int n) { if (!n) return crash((volatile int *)16, n); return deep(n - 1) * 7 + sink; }
int entry(int n) { return outer(n) + sink; }
int entry_astray(int n) { return astray(n) + sink; }
int entry_deep(int n) { return deep(n) + sink; }
"""  # noqa: E501


@dataclass(frozen=True)
class Target:
    """How to compile for an ISA, and which register takes the first argument (None: the stack)."""

    triple: str
    flags: tuple[str, ...]
    emulation: str
    argument: str | None


TARGETS = {
    "x86_64": Target("x86_64-linux-gnu", (), "elf_x86_64", "rdi"),
    "i386": Target("i386-linux-gnu", (), "elf_i386", None),
    "aarch64": Target("aarch64-linux-gnu", (), "aarch64linux", "x0"),
    "arm": Target("arm-linux-gnueabihf", ("-march=armv7-a", "-marm"), "armelf_linux_eabi", "r0"),
    "thumb": Target("arm-linux-gnueabihf", ("-march=armv7-a", "-mthumb"), "armelf_linux_eabi", "r0"),
    "riscv64": Target("riscv64-linux-gnu", ("-march=rv64gc", "-mabi=lp64d"), "elf64lriscv", "a0"),
    "riscv32": Target("riscv32-linux-gnu", ("-march=rv32gc", "-mabi=ilp32d"), "elf32lriscv", "a0"),
    "loongarch64": Target("loongarch64-linux-gnu", ("-mno-lsx", "-mno-lasx"), "elf64loongarch", "a0"),
}
OMIT = ("-fomit-frame-pointer", "-fasynchronous-unwind-tables", "-g")
KEEP = ("-fno-omit-frame-pointer", "-mno-omit-leaf-frame-pointer")


@pytest.fixture(scope="session")
def compiler() -> str:
    ziglang = pytest.importorskip("ziglang", reason="the guest is compiled with the ziglang wheel")
    return str(Path(ziglang.__file__).parent / "zig")


class Program:
    """The linked program in a CPU, with names for its code."""

    def __init__(self, arch: str, data: bytes) -> None:
        from elftools.elf.elffile import ELFFile

        self.name = arch
        self.cpu: Cpu = create_cpu("arm" if arch == "thumb" else arch)
        self.cpu.set_trap_range(TRAPS, PAGE)
        elf = ELFFile(io.BytesIO(data))
        self.index = next((segment["p_vaddr"] for segment in elf.iter_segments("PT_GNU_EH_FRAME")), None)
        self.segments = [(s["p_vaddr"], s["p_memsz"]) for s in elf.iter_segments("PT_LOAD")]
        for segment in elf.iter_segments("PT_LOAD"):
            start = segment["p_vaddr"] & -PAGE
            memory = page_buffer(-(-(segment["p_vaddr"] + segment["p_memsz"] - start) // PAGE) * PAGE)
            offset = segment["p_vaddr"] - start
            memory[offset : offset + segment["p_filesz"]] = np.frombuffer(segment.data(), np.uint8)
            self.cpu.map(start, memory.nbytes, Protection(segment["p_flags"]), memory)
        self.cpu.map(STACK, 16 * PAGE, Protection.R | Protection.W, page_buffer(16 * PAGE))
        self.functions = {
            symbol.name: (symbol["st_value"] & ~int(arch == "thumb"), symbol["st_size"])
            for symbol in symbol_table(elf).iter_symbols()
            if symbol["st_info"]["type"] == "STT_FUNC"
        }
        self.tables = [
            CallFrameTable(section.data(), section["sh_addr"], eh_frame=name == ".eh_frame")
            for name in (".eh_frame", ".debug_frame")
            if (section := elf.get_section_by_name(name)) is not None and section["sh_size"] > 4
        ]

    def symbolize(self, address: int) -> Frame:
        for name, (start, size) in self.functions.items():
            if start <= address < start + size:
                return Frame(address, "guest", name, address - start)
        return Frame(address)

    def table(self, address: int) -> CallFrameTable | None:
        return self.tables[-1] if self.tables and self.symbolize(address).symbol else None

    @property
    def dwarf(self) -> DwarfRegisters:
        thumb = self.name == "thumb"
        return ISAS["arm" if thumb else self.name].instruction_set(thumb).dwarf

    def call(self, function: str, argument: int, where: int = 0) -> GuestFault:
        """Call it, expect a fault, and describe it with the tables if there are any."""
        cpu, isa = self.cpu, self.dwarf
        sp = STACK + 12 * PAGE
        target = TARGETS[self.name]
        if target.argument:
            cpu.write_register(target.argument, argument)
        if isa.link is not None:
            cpu.write_register(isa.names[isa.link], TRAPS)
        else:
            sp -= isa.word
            stack = TRAPS.to_bytes(isa.word, "little") + argument.to_bytes(isa.word, "little")
            cpu.write(sp, stack)
        cpu.write_register("sp", sp)
        cpu.write_register(isa.names[isa.fp], 0)
        stop = cpu.run(self.functions[function][0] | (self.name == "thumb"))
        assert stop.reason.is_fault, stop
        return guest_fault(cpu, stop, symbolize=self.symbolize, unwind_tables=self.table)


@functools.cache
def built(compiler: str, arch: str, flags: tuple[str, ...], directory: Path) -> bytes:
    target = TARGETS[arch]
    caches = dict.fromkeys(("ZIG_LOCAL_CACHE_DIR", "ZIG_GLOBAL_CACHE_DIR"), str(directory))
    name = directory / f"{arch}{len(flags)}"
    name.with_suffix(".c").write_text(SOURCE)
    for command in (
        [
            compiler,
            "clang",
            "-target",
            target.triple,
            *target.flags,
            *flags,
            "-O1",
            "-fno-pic",
            "-ffreestanding",
            "-fno-optimize-sibling-calls",
            "-fno-stack-protector",
            "-c",
            f"{name}.c",
            "-o",
            f"{name}.o",
        ],
        [
            compiler,
            "ld.lld",
            "-m",
            target.emulation,
            "-e",
            "entry",
            "--eh-frame-hdr",
            f"{name}.o",
            "-o",
            f"{name}.elf",
        ],
    ):
        subprocess.run(command, check=True, env={**os.environ, **caches}, capture_output=True)
    return name.with_suffix(".elf").read_bytes()


@pytest.fixture(params=list(TARGETS))
def arch(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def program(arch: str, compiler: str, tmp_path_factory: pytest.TempPathFactory) -> Program:
    return Program(arch, built(compiler, arch, OMIT, tmp_path_factory.getbasetemp()))


def symbols(frames: tuple[Frame, ...]) -> list[str | None]:
    return [frame.symbol for frame in frames]


def test_a_fault_unwinds_through_call_frame_information(program: Program) -> None:
    assert program.tables, "the compiler made no unwind tables"
    fault = program.call("entry", 3)
    assert (fault.reason, fault.address, fault.frame.symbol) == (StopReason.READ_UNMAPPED, 16, "crash")
    assert symbols(fault.backtrace) == ["crash", "middle", "outer", "entry"]
    assert all(frame.image == "guest" and frame.offset > 0 for frame in fault.backtrace)


def test_the_index_of_an_image_leads_to_its_eh_frame(program: Program) -> None:
    if program.index is None:
        assert program.name in ("arm", "thumb"), "no PT_GNU_EH_FRAME"  # the Arm EHABI has tables of its own
        return
    word = program.dwarf.word
    table = table_by_index(program.index, program.segments, word, program.cpu.read)
    assert table is not None
    eh_frame = next(table for table in program.tables if table.eh_frame)
    assert table.address == eh_frame.address
    program.tables[:] = [table]
    assert symbols(program.call("entry", 3).backtrace) == ["crash", "middle", "outer", "entry"]


def test_without_tables_frame_pointers_lead_to_the_callers(
    arch: str, compiler: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    program = Program(arch, built(compiler, arch, KEEP, tmp_path_factory.getbasetemp()))
    program.tables.clear()
    fault = program.call("entry", 3)
    assert symbols(fault.backtrace)[-3:] == ["middle", "outer", "entry"]
    assert fault.backtrace[0].symbol == "crash"


def test_a_call_to_nowhere_names_its_caller(program: Program) -> None:
    fault = program.call("entry_astray", 3)
    assert fault.reason is StopReason.FETCH_UNMAPPED
    assert fault.pc == 0
    assert fault.disassembly == ()
    assert symbols(fault.backtrace) == [None, "astray", "entry_astray"]


def test_a_deep_recursion_is_cut_off(program: Program) -> None:
    fault = program.call("entry_deep", 200)
    assert symbols(fault.backtrace) == ["crash"] + ["deep"] * (MAX_FRAMES - 1)


def test_the_window_marks_the_instruction_at_fault(program: Program) -> None:
    fault = program.call("entry", 3)
    marked = [line for line in fault.disassembly if line.startswith("=>")]
    assert len(marked) == 1
    assert f"{fault.pc:#x}" in marked[0]
    assert 3 <= len(fault.disassembly) <= 9
    assert not any(".byte" in line or ".word" in line for line in fault.disassembly)
    assert set(fault.registers) == set(program.cpu.registers)
    assert "#0 " in fault.report()


def test_a_lost_stack_still_gives_the_innermost_frame(program: Program) -> None:
    for sp in (0, 0xFFFF_FFF0, STACK + 16 * PAGE):
        program.call("entry", 3)
        pc = program.cpu.read_register("pc") & ~1
        program.cpu.write_register("sp", sp)
        frames = backtrace(program.cpu, pc, symbolize=program.symbolize, unwind_tables=program.table)
        assert frames[0].symbol == "crash"
        assert len(frames) <= 3


def _only(table: CallFrameTable, address: int) -> CallFrameTable:
    return table


def test_damaged_tables_never_raise(program: Program) -> None:
    program.call("entry", 3)
    pc = program.cpu.read_register("pc") & ~1
    good = program.tables[-1]
    random = np.random.default_rng(7)
    for turn in range(60):
        data = bytearray(good.data)
        for position in random.integers(0, len(data), 1 + turn % 8):
            data[position] = int(random.integers(0, 256))
        data = data[: len(data) if turn % 3 else int(random.integers(0, len(data)))]
        damaged = CallFrameTable(bytes(data), good.address, good.eh_frame)
        tables = partial(_only, damaged)
        frames = backtrace(program.cpu, pc, symbolize=program.symbolize, unwind_tables=tables)
        assert frames[0].symbol == "crash"
        assert len(frames) <= MAX_FRAMES


def test_a_symbol_table_that_is_damaged_costs_only_the_names(program: Program) -> None:
    def broken(address: int) -> Frame:
        raise MalformedElf("guest", f"no symbols at {address:#x}")

    program.call("entry", 3)
    pc = program.cpu.read_register("pc") & ~1
    assert backtrace(program.cpu, pc, symbolize=broken) == (Frame(pc),)


@pytest.mark.parametrize("part", ["symbolize", "unwind_tables", "with_source"])
def test_a_mistake_is_not_taken_for_a_fault_of_the_guest(program: Program, part: str) -> None:
    def mistaken(*_: object, **__: object) -> Frame:
        raise TypeError("a programming error")

    stop = Stop(StopReason.READ_UNMAPPED, program.functions["crash"][0], 0)
    with pytest.raises(TypeError, match="a programming error"):
        guest_fault(program.cpu, stop, **{"symbolize": program.symbolize, part: mistaken})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "expression",
    [
        b"\x24",  # operands missing
        b"\x10",  # a constant that ends early
        b"\x0e\0",
        b"\x92\0\0",  # bregx, which is not supported
        b"\x30\x06",  # a dereference of 0
        b"\x8f\0",  # register 31
        b"\x31\x0e" + bytes(7) + b"\x40\x24\x06",  # 1 << 2**62
    ],
)
def test_a_damaged_expression_is_an_unwind_error(expression: bytes) -> None:
    def read(address: int, size: int) -> bytes:
        raise AddressSpaceError("not mapped", address=address, size=size)

    frame = Registers(ISAS["x86_64"].dwarf, 0x1000, {7: 0x2000})
    with pytest.raises((UnwindError, AddressSpaceError)):
        _evaluate(expression, frame, read, None)

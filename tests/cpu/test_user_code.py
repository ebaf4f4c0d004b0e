"""What user code may not execute is refused where it stands, and corners of other instructions are the hardware's.

The expected values are those of an x86-64 processor under Linux, and of QEMU's user mode.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pytest

from emu.cpu.create import create_cpu
from emu.cpu.protocol import Cpu, Protection, StopReason

Made = dict[str, tuple[Cpu, "np.ndarray[tuple[int], np.dtype[np.uint8]]"]]

CODE, DATA, SIZE = 0x1_0000, 0x2_0000, 0x1000
#: What ends each test: an invalid instruction.
END = {
    "x86_64": "0f0b",
    "i386": "0f0b",
    "aarch64": "00000000",
    "arm": "f000f0e7",
    "riscv64": "0000",
    "riscv32": "0000",
}
#: Privileged, or of sets that CPUID does not report; then LOCK where it is invalid, and prefixes that contradict.
X86_REFUSED = """
fa fb e400 ec e600 ee 6c 6f f36f 0f06 0f08 0f09 0f30 0f32 0f20c0 0f22c0 0f21c0 0f23f8 0f0006 0f00c8 0f00d0
0f02c1 0f03c1 0f0106 0f010e 0f0116 0f011e 0f01e0 0f01f0 0f013e c6f800 c7f800000000 660faef1 f30faef1 f20faef1
f30faee8 660faee8 cd00 cd04 cd10 cd21 8ed0 8ed8
f08906 f08506 f0ff36 f0f726 f00fba2601 f087c1 f00fc1c1 f08d06 f00f2806 f0f3a4 f0d126 f00f1f00 f091 f00f31 f001c8
f2f3a6 f3f2a6 66f30f10c1 f2f30f10c1 f3660f6fc1 f366480f6fc1
"""
REFUSED = {
    "x86_64": X86_REFUSED + "0f01f8 440f20c0 cd80 8ee0 f20fbcc1 f20fbdc1",
    "i386": X86_REFUSED.replace("f366480f6fc1", "") + "07 17 1f",
    # msr uao, pan, spsel, daifset, daifclr, daif; registers of EL1 and AArch32's; tlbi, dc isw, at
    "aarch64": """7f4000d5 9f4000d5 bf4000d5 df4f03d5 ff4f03d5 20421bd5 20423bd5 001018d5 001038d5 404238d5
        00c018d5 1f8708d5 407608d5 007808d5 000238d5 000138d5""",
    # mrs and msr of spsr, srs, mrs of a banked register, vmrs of fpsid and fpexc; mrc and mcr of MIDR, SCTLR
    # csrr of mstatus, sstatus, mhartid, csrw of satp, mtvec; mret, sret, sfence.vma
    **dict.fromkeys(
        ("riscv64", "riscv32"), "73250030 73250010 732540f1 73100018 73105030 73002030 73002010 73000012"
    ),
    "arm": "00004fe1 00f069e1 13056df9 000300e1 100af0ee 100af8ee 100f10ee 100f11ee 100f01ee 100f08ee 300f1dee",
}
#: x86 code that runs -> registers before and afterwards, and memory at DATA the same way.
X86_64: Mapping[str, tuple[str, Mapping[str, int], Mapping[str, int], str, str]] = {
    "bsf of zero": ("0fbcc1", {"rax": 0x1_0000_0002, "rcx": 5 << 32}, {"rax": 0x1_0000_0002}, "", ""),
    "bsr of zero": ("0fbdc8", {"rcx": 0x1_0000_0002, "rax": 5 << 32}, {"rcx": 0x1_0000_0002}, "", ""),
    "bsf": ("0fbcc1", {"rax": 0x1_0000_0002, "rcx": 8}, {"rax": 3}, "", ""),
    "bsf of memory": ("0fbc06", {"rax": 0x1_0000_0002}, {"rax": 0x1_0000_0002}, "00000000", "00000000"),
    "cmpxchg, equal": (
        "0fb10e", {"rax": 0x1_0000_0005, "rcx": 9}, {"rax": 0x1_0000_0005}, "05000000", "09000000",
    ),
    "lock cmpxchg, unequal": (
        "f00fb10e", {"rax": 0x1_0000_0005, "rcx": 9}, {"rax": 6}, "06000000", "06000000",
    ),
    "cmpxchg of a register, equal": (
        "0fb1ca", {"rax": 0x1_0000_0005, "rcx": 9, "rdx": 5}, {"rax": 0x1_0000_0005, "rdx": 9}, "", "",
    ),
    "cmpxchg of a register, unequal": (
        "0fb1ca", {"rax": 5, "rcx": 9, "rdx": 0x1_0000_0006}, {"rax": 6, "rdx": 0x1_0000_0006}, "", "",
    ),
    "lock neg": ("f0f71e", {"rflags": 2}, {"rflags": 0x97}, "01000000", "ffffffff"),
    "lock neg of the least": ("f0f61e", {"rflags": 2}, {"rflags": 0x883}, "80", "80"),
    "mov from cs": ("8cc8", {"rax": -1 & (1 << 64) - 1}, {"rax": 0x33}, "", ""),
    "mov from ss": ("668cd0", {"rax": 0x1_2345_6789}, {"rax": 0x1_2345_002B}, "", ""),
    "mov cs to memory": ("8c0e", {}, {}, "ffffffff", "3300ffff"),
    "mov to ss": ("8ed0", {"rax": 0x2B}, {"rax": 0x2B}, "", ""),
    "mov to ds": ("8ed8", {"rax": 0}, {"rax": 0}, "", ""),
}  # fmt: skip
I386 = {
    "push cs": ("0e58", {}, {"eax": 0x73}, "", ""),
    "push ss, pop es": ("160716", {}, {}, "", ""),
    "mov from ds": ("8cd8", {}, {"eax": 0x7B}, "", ""),
    "mov to fs": ("8ee08ce3", {"eax": 0x7B}, {"ebx": 0x7B}, "", ""),
}
NAN = 0x7FC0_0000
FIRST, SECOND = (sum((NAN | first + 2 * lane) << 32 * lane for lane in range(4)) for first in (1, 2))
#: Code, xmm0 and xmm1 -> xmm0, with MXCSR as it is after a reset.
SSE: Mapping[str, tuple[str, int, int, int]] = {
    "addps": ("0f58c1", FIRST, SECOND, FIRST),
    "subss": ("f30f5cc1", FIRST, SECOND, FIRST),
    "mulsd": ("f20f59c1", 0x7FF0 << 48 | 1, 0x7FF8 << 48 | 2, 0x7FF8 << 48 | 1),
    "divss, negative": ("f30f5ec1", 1 << 31 | NAN, NAN, 1 << 31 | NAN),
    "addps of one": ("0f58c1", 0, NAN | 7, NAN | 7),
    "haddps": ("f20f7cc1", FIRST, SECOND,
               sum((NAN | value) << 32 * lane for lane, value in enumerate((1, 5, 2, 6)))),
    "dpps, negative zeros": ("660f3a40c1ff", 0x8000_0000_8000_0000_8000_0000_8000_0000,
                             0x3F80_0000_3F80_0000_3F80_0000_3F80_0000, 0x8000_0000_8000_0000_8000_0000_8000_0000),
    # 2^24 + 1 is lost, 1 + 1 is not
    "dpps in pairs": ("660f3a40c1f1", 0x3F80_0000_3F80_0000_0000_0000_4B80_0000,
                      0x3F80_0000_3F80_0000_3F80_0000_3F80_0000, 0x4B80_0001),
    "dppd": ("660f3a41c133", 0x7FF8_0000_0000_0002_7FF8_0000_0000_0001, 0x7FF8_0000_0000_0004_7FF8_0000_0000_0003,
             0x7FF8_0000_0000_0001_7FF8_0000_0000_0001),
}  # fmt: skip


@pytest.fixture(scope="module")
def memory() -> Iterator[Made]:
    """A CPU of each ISA, and the page at DATA."""
    made = {}
    for arch in END:
        cpu, space = create_cpu(arch), np.zeros(3 * SIZE, np.uint8)
        pages = space[-space.ctypes.data % SIZE :][: 2 * SIZE]
        cpu.map(CODE, SIZE, Protection.R | Protection.W | Protection.X, pages[:SIZE])
        cpu.map(DATA, SIZE, Protection.R | Protection.W, pages[SIZE:])
        made[arch] = cpu, pages[SIZE:]
    yield made
    for cpu, _ in made.values():
        cpu.close()


def ran(cpu: Cpu, code: str) -> int:
    """How many bytes of the code ran before an invalid instruction."""
    cpu.write(CODE, bytes.fromhex(code + END[cpu.arch]))
    for name in ("rsi", "rdi") if cpu.arch == "x86_64" else ("esi", "edi") if cpu.arch == "i386" else ():
        cpu.write_register(name, DATA)
    cpu.write_register("sp", DATA + 0x800)
    stop = cpu.run(CODE)
    assert stop.reason is StopReason.INVALID_INSTRUCTION
    return stop.pc - CODE


@pytest.mark.parametrize("arch", list(REFUSED))
def test_what_user_code_may_not_execute_is_refused(memory: Made, arch: str) -> None:
    cpu = memory[arch][0]
    registers = ("rax", "rcx") if arch == "x86_64" else ("eax", "ecx") if arch == "i386" else ()
    for name in registers:
        cpu.write_register(name, 0x1234)
    assert [code for code in REFUSED[arch].split() if ran(cpu, code)] == []


@pytest.mark.parametrize("arch", ["x86_64", "i386"])
def test_integer_instructions_and_selectors(memory: Made, arch: str) -> None:
    cpu, data = memory[arch]
    for name, (code, before, after, content, expected) in (X86_64 if arch == "x86_64" else I386).items():
        data[: len(content) // 2] = np.frombuffer(bytes.fromhex(content), np.uint8)
        for register, value in before.items():
            cpu.write_register(register, value)
        assert ran(cpu, code) == len(code) // 2, name
        assert {register: cpu.read_register(register) for register in after} == after, name
        assert data[: len(content) // 2].tobytes().hex() == expected, name


@pytest.mark.parametrize("arch", ["x86_64", "i386"])
def test_of_two_nans_sse_takes_the_first_and_dot_products_add_pairs(memory: Made, arch: str) -> None:
    cpu = memory[arch][0]
    for name, (code, first, second, expected) in SSE.items():
        cpu.write_register("xmm0", first)
        cpu.write_register("xmm1", second)
        assert ran(cpu, code) == len(code) // 2, name
        assert f"{cpu.read_register('xmm0'):032x}" == f"{expected:032x}", name


def test_registers_that_linux_reads_for_user_code_are_read(memory: Made) -> None:
    """midr_el1, id_aa64isar0_el1, ctr_el0, dczid_el0, nzcv; cfinv, axflag; dc zva is elsewhere."""
    cpu = memory["aarch64"][0]
    codes = "000038d5 000638d5 20003bd5 e0003bd5 00423bd5 1f4000d5 5f4000d5".split()
    assert [code for code in codes if ran(cpu, code) != 4] == []

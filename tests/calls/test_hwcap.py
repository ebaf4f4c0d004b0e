"""AT_HWCAP promises nothing the emulated CPU does not have: each bit's instructions run."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from emu import Machine
from emu.cpu.create import create_cpu
from emu.cpu.protocol import Cpu, Protection, StopReason
from emu.isa.registry import ISAS
from relink import architecture
from tests.assembler import assembled
from tests.grouping import by

_CODE, _DATA, _TRAP = 0x10000, 0x20000, 0x40000

#: Name and number of the bit (Linux, arch/*/include/uapi/asm/hwcap.h), and an instruction that needs it.
BITS = [
    ("aarch64", "FP", 0, "fadd d0, d1, d2"),
    ("aarch64", "ASIMD", 1, "add v0.4s, v1.4s, v2.4s"),
    ("aarch64", "AES", 3, bytes.fromhex("20 48 28 4e")),  # aese v0.16b, v1.16b
    ("aarch64", "PMULL", 4, bytes.fromhex("20 e0 e2 0e")),  # pmull v0.1q, v1.1d, v2.1d
    ("aarch64", "SHA1", 5, bytes.fromhex("20 08 28 5e")),  # sha1h s0, s1
    ("aarch64", "SHA2", 6, bytes.fromhex("20 40 02 5e")),  # sha256h q0, q1, v2.4s
    ("aarch64", "CRC32", 7, "crc32x w0, w1, x2"),
    ("aarch64", "ATOMICS", 8, bytes.fromhex("62 00 61 b8")),  # ldadd w1, w2, [x3]
    ("arm", "HALF", 1, "ldrh r0, [r3]"),
    ("arm", "THUMB", 2, "blx r4"),
    ("arm", "FAST_MULT", 4, "umull r0, r1, r2, r5"),
    ("arm", "VFP", 6, "vadd.f32 s0, s1, s2"),
    ("arm", "EDSP", 7, "qadd r0, r1, r2"),
    ("arm", "NEON", 12, "vadd.i32 q0, q1, q2"),
    ("arm", "VFPv3", 13, "vmov.f64 d0, #1.0"),
    ("arm", "TLS", 15, "mrc p15, 0, r0, c13, c0, 3"),
    ("arm", "VFPv4", 16, bytes.fromhex("02 0b a1 ee")),  # vfma.f64 d0, d1, d2
    ("arm", "IDIVA", 17, bytes.fromhex("11 f2 10 e7")),  # sdiv r0, r1, r2
    ("arm", "IDIVT", 18, b"thumb" + bytes.fromhex("91 fb f2 f0")),  # sdiv r0, r1, r2
    ("arm", "VFPD32", 19, "vadd.f64 d31, d30, d16"),
    ("riscv64", "I", 8, bytes.fromhex("13 00 00 00")),  # nop
    ("riscv64", "M", 12, bytes.fromhex("33 85 c5 02")),  # mul a0, a1, a2
    ("riscv64", "A", 0, bytes.fromhex("2f 25 b6 00")),  # amoadd.w a0, a1, (a2)
    ("riscv64", "F", 5, bytes.fromhex("53 85 c5 00")),  # fadd.s fa0, fa1, fa2, rne
    ("riscv64", "D", 3, bytes.fromhex("53 85 c5 02")),  # fadd.d fa0, fa1, fa2, rne
    ("riscv64", "C", 2, bytes.fromhex("01 00")),  # c.nop
    ("riscv32", "I", 8, bytes.fromhex("13 00 00 00")),
    ("riscv32", "M", 12, bytes.fromhex("33 85 c5 02")),
    ("riscv32", "A", 0, bytes.fromhex("2f 25 b6 00")),
    ("riscv32", "F", 5, bytes.fromhex("53 85 c5 00")),
    ("riscv32", "D", 3, bytes.fromhex("53 85 c5 02")),
    ("riscv32", "C", 2, bytes.fromhex("01 00")),
    ("loongarch64", "CPUCFG", 0, bytes.fromhex("a4 6c 00 00")),  # cpucfg a0, a1
    ("loongarch64", "LAM", 1, bytes.fromhex("c4 14 61 38")),  # amadd.w a0, a1, a2
    ("loongarch64", "UAL", 2, bytes.fromhex("c4 04 80 28")),  # ld.w a0, a2, 1
    ("loongarch64", "FPU", 3, bytes.fromhex("20 04 01 01")),  # fadd.d fa0, fa1, fa1
    ("loongarch64", "LSX", 4, bytes.fromhex("20 04 64 70")),  # vavg.b vr0, vr1, vr1
]


def _machine_code(arch: str, text: str | bytes) -> tuple[bytes, bool]:
    """The instruction's bytes, and whether they are Thumb. keystone does not know them all."""
    if isinstance(text, bytes):
        return text.removeprefix(b"thumb"), text.startswith(b"thumb")
    return assembled(arch, text), False


@pytest.fixture(scope="module")
def cpus() -> Iterator[dict[str, Cpu]]:
    made: dict[str, Cpu] = {}
    rooms = []
    for arch in dict.fromkeys(row[0] for row in BITS):
        cpu = made[arch] = create_cpu(arch)
        cpu.set_trap_range(_TRAP, 4096)
        for address in (_CODE, _DATA):
            room = np.zeros(3 * 4096, np.uint8)
            rooms.append(room)
            aligned = room[-room.ctypes.data % 4096 :][:8192]
            cpu.map(address, 8192, Protection.R | Protection.W | Protection.X, aligned)
    yield made
    for cpu in made.values():
        cpu.close()


@by(("arch", "name", "bit", "text"), BITS, ids=[f"{row[0]}-{row[1]}" for row in BITS])
def test_a_promised_instruction_runs(
    cpus: dict[str, Cpu], arch: str, name: str, bit: int, text: str | bytes
) -> None:
    assert ISAS[arch].start.hwcap >> bit & 1
    code, thumb = _machine_code(arch, text)
    cpu = cpus[arch]
    at = _CODE + 64 * BITS.index((arch, name, bit, text))  # fresh code: some engines keep translations
    # Zeros behind it would be an invalid instruction on RISC-V.
    cpu.write(at, code + b"".join(architecture(arch).nops[:1]))
    pointers = {"aarch64": ("x3",), "arm": ("r3", "r4"), "loongarch64": ("a2",)}.get(arch, ("a2",))
    for register in pointers:
        cpu.write_register(register, _DATA)
    stop = cpu.run(at | thumb, max_instructions=1)
    assert stop.reason is StopReason.INSTRUCTION_LIMIT, (name, stop)


@pytest.mark.parametrize("arch", ["x86_64", "i386"])
def test_on_x86_it_is_what_the_cpu_says_of_itself(arch: str) -> None:
    """CPUID.1:EDX (Linux, arch/x86/include/asm/elf.h, ELF_HWCAP)."""
    with Machine(arch) as machine:
        at = machine.memory.map_anonymous(4096, Protection.R | Protection.X)
        # push ebx; mov eax, 1; xor ecx, ecx; cpuid; mov eax, edx; pop ebx; ret
        machine.memory.write(at, bytes.fromhex("53 b801000000 31c9 0fa2 89d0 5b c3"))
        assert machine.call(at, "unsigned(void)") == ISAS[arch].start.hwcap


@pytest.mark.parametrize("arch", [arch for arch in ISAS if arch not in ("x86_64", "i386")])
def test_every_bit_of_hwcap_is_proven(arch: str) -> None:
    assert ISAS[arch].start.hwcap == sum(1 << row[2] for row in BITS if row[0] == arch)

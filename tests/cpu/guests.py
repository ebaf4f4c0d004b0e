"""The same little programs for every ISA, and where each keeps its values.

x86, Arm and AArch64 are assembled by keystone when first wanted; RISC-V and LoongArch, unknown to it, are
given as words. `value` and `address` are the two registers the programs work on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from emu.cpu.create import create_cpu
from emu.cpu.protocol import Cpu, Protection
from tests.assembler import assembled

CODE, DATA, CLOSED, STACK = 0x1_0000, 0x2_0000, 0x4_0000, 0x5_0000
HOLE = 0x3_0000  #: nothing is mapped here
TRAPS, TRAPS_SIZE = 0x7000_0000, 0x1_0000
PAGE = 4096
RX, RW = Protection.R | Protection.X, Protection.R | Protection.W


@dataclass(frozen=True)
class Guest:
    """One ISA (or state of it) as the conformance tests drive it."""

    name: str
    arch: str
    word: int  #: bytes in a register
    value: str
    address: str
    link: str | None  #: return-address register; None: the return address is pushed
    floats: tuple[str, str]  #: two double-precision registers
    nop: int  #: bytes in a nop
    programs: Mapping[str, str | bytes]
    flags: tuple[str, int] = ("", 0)  #: the register and mask of the zero flag
    extra: Mapping[str, str | bytes] = field(default_factory=dict)
    entry_bit: int = 0

    def code(self, name: str) -> bytes:
        program = {**self.programs, **self.extra}[name]
        return program if isinstance(program, bytes) else assembled(self.name, program, CODE)

    def has(self, name: str) -> bool:
        return name in self.programs or name in self.extra

    def __str__(self) -> str:
        return self.name


def words(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "little") for value in values)


def _x86(name: str, a: str, b: str, seg: str, extra: Mapping[str, str | bytes]) -> Guest:
    return Guest(
        name, name, 8 if name == "x86_64" else 4, a, b, None, ("xmm0", "xmm1"), 1,
        {
            "return": "ret",
            "call": f"nop; call {b}; add {a}, 100; ret",
            "call forever": f"again: call {b}; jmp again",
            "jump": f"nop; jmp {b}",
            "add 1": f"add {a}, 1; ret",
            "add 2": f"add {a}, 2; ret",
            "spin": "here: jmp here",
            "nops": "nop; nop; nop; nop; nop; nop; nop; nop; ret",
            "load": f"nop; mov {a}, [{b}]; ret",
            "store": f"nop; mov [{b}], {a}; ret",
            "syscall": f"nop; {'syscall' if name == 'x86_64' else 'int 0x80'}; nop",
            "breakpoint": "nop; int3; nop",
            "invalid": "nop; ud2; nop",
            "divide": "nop; xor ecx, ecx; xor edx, edx; div ecx",
            "thread": f"mov {a}, {seg}:[0]; ret",
            "float": "addsd xmm0, xmm1; ret",
            "flags": f"cmp {a}, {a}; call {b}; mov {a}, 0; sete al; ret",
            "halt": "nop; hlt",
            "x87": f"fld qword ptr [{b}]; ret",
            "x87 third": "fld1; fld1; fld1; faddp st(1); fld1; faddp st(1); fdivp st(1); ret",
            "sse division by zero": "xorps xmm1, xmm1; divsd xmm0, xmm1; ret",
            **extra,
        },
        flags=("rflags" if name == "x86_64" else "eflags", 0x40),
    )  # fmt: skip


_X86_64 = _x86("x86_64", "rax", "rbx", "fs", {"syscall instruction": "nop; syscall; nop"})
_I386 = _x86(
    "i386",
    "eax",
    "ebx",
    "gs",
    {
        "sysenter": "nop; sysenter; nop",
    },
)
_AARCH64 = Guest(
    "aarch64", "aarch64", 8, "x0", "x1", "x30", ("d0", "d1"), 4,
    {
        "return": "ret",
        "call": "mov x19, x30; blr x1; add x0, x0, #100; ret x19",
        "call forever": "again: blr x1; b again",
        "jump": "nop; br x1",
        "add 1": "add x0, x0, #1; ret",
        "add 2": "add x0, x0, #2; ret",
        "spin": "here: b here",
        "nops": "nop; nop; nop; nop; nop; nop; nop; nop; ret",
        "load": "nop; ldr x0, [x1]; ret",
        "store": "nop; str x0, [x1]; ret",
        "syscall": "nop; svc #0; nop",
        "breakpoint": "nop; brk #1; nop",
        "invalid": words(0xD503201F, 0x00000000),
        "thread": "mrs x0, tpidr_el0; ldr x0, [x0]; ret",
        "float": "fadd d0, d0, d1; ret",
        "flags": "mov x19, x30; cmp x0, x0; blr x1; cset x0, eq; ret x19",
        "halt": "nop; wfi",
        "unaligned": "nop; ldxr x0, [x1]",
        "atomic": words(0xB8210020, 0xD65F03C0),  # ldadd w1, w0, [x1]
    },
    flags=("nzcv", 1 << 30),
)  # fmt: skip
_ARM_PROGRAMS = {
    "return": "bx lr",
    "call": "mov r4, lr; blx r1; add r0, r0, #100; bx r4",
    "call forever": "again: blx r1; b again",
    "jump": "nop; bx r1",
    "add 1": "add r0, r0, #1; bx lr",
    "add 2": "add r0, r0, #2; bx lr",
    "spin": "here: b here",
    "nops": "nop; nop; nop; nop; nop; nop; nop; nop; bx lr",
    "load": "nop; ldr r0, [r1]; bx lr",
    "store": "nop; str r0, [r1]; bx lr",
    "syscall": "nop; svc #0; nop",
    "breakpoint": "nop; bkpt #1; nop",
    "thread": "mrc p15, 0, r0, c13, c0, 3; ldr r0, [r0]; bx lr",
    "float": "vadd.f64 d0, d0, d1; bx lr",
    "halt": "nop; wfi",
    "unaligned": "nop; ldrex r0, [r1]",
    "hints": "yield; wfe; add r0, r0, #1; bx lr",
    "hints in a loop": "again: yield; lsrs r0, r0, #1; bne again; wfe; udf #0",
}
_ARM = Guest(
    "arm", "arm", 4, "r0", "r1", "lr", ("d0", "d1"), 4, _ARM_PROGRAMS,
    flags=("cpsr", 1 << 30),
    extra={
        "invalid": words(0xE320F000, 0xE7F000F0),
        "flags": "mov r4, lr; cmp r0, r0; blx r1; movne r0, #0; moveq r0, #1; bx r4",
    },
)  # fmt: skip
_THUMB = Guest(
    "thumb", "arm", 4, "r0", "r1", "lr", ("d0", "d1"), 2, _ARM_PROGRAMS,
    flags=("cpsr", 1 << 30),
    extra={
        "invalid": bytes.fromhex("00bf 00de"),
        "flags": "mov r4, lr; cmp r0, r0; blx r1; ite eq; moveq r0, #1; movne r0, #0; bx r4",
        "conditional load": "cmp r0, r0; ite eq; ldreq r0, [r1]; movne r0, #0",
    },
    entry_bit=1,
)  # fmt: skip


def _i(opcode: int, funct3: int, rd: int, rs1: int, immediate: int) -> int:
    return immediate << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | opcode


def _riscv(word: int) -> Guest:
    a0, a1, ra, s1, tp = 10, 11, 1, 9, 4
    width = 3 if word == 8 else 2  # ld, sd or lw, sw
    nop, ret = 0x13, _i(0x67, 0, 0, ra, 0)

    def add(immediate: int) -> int:
        return _i(0x13, 0, a0, a0, immediate)

    return Guest(
        f"riscv{8 * word}", f"riscv{8 * word}", word, "a0", "a1", "ra", ("fa0", "fa1"), 4,
        {
            "return": words(ret),
            "call": words(
                _i(0x13, 0, s1, ra, 0), _i(0x67, 0, ra, a1, 0), add(100), _i(0x67, 0, 0, s1, 0)
            ),
            "call forever": words(_i(0x67, 0, ra, a1, 0), 0xFFDFF06F),
            "jump": words(nop, _i(0x67, 0, 0, a1, 0)),
            "add 1": words(add(1), ret),
            "add 2": words(add(2), ret),
            "spin": words(0x0000006F),
            "nops": words(*[nop] * 8, ret),
            "load": words(nop, _i(0x03, width, a0, a1, 0), ret),
            "store": words(nop, a0 << 20 | a1 << 15 | width << 12 | 0x23, ret),
            "syscall": words(nop, 0x00000073, nop),
            "breakpoint": words(nop, 0x00100073, nop),
            "short breakpoint": bytes.fromhex("0100 0290 0100"),
            "invalid": words(nop, 0xFFFFFFFF),
            "short invalid": bytes.fromhex("0100 0000"),
            "unaligned": words(nop, 0x1005A52F),  # lr.w a0, (a1)
            "thread": words(_i(0x03, width, a0, tp, 0), ret),
            "float": words(0x02B57553, ret),  # fadd.d fa0, fa0, fa1
            "halt": words(nop, 0x10500073),
        },
    )  # fmt: skip


def _loongarch64() -> Guest:
    ra, tp, a0, a1, s0 = 1, 2, 4, 5, 23
    nop, ret = 0x03400000, 0x4C000000 | ra << 5

    def add(immediate: int) -> int:
        return 0x02C00000 | immediate << 10 | a0 << 5 | a0

    return Guest(
        "loongarch64", "loongarch64", 8, "a0", "a1", "ra", ("fa0", "fa1"), 4,
        {
            "return": words(ret),
            "call": words(
                0x00150000 | ra << 5 | s0, 0x4C000000 | a1 << 5 | ra, add(100), 0x4C000000 | s0 << 5
            ),
            "call forever": words(0x4C000000 | a1 << 5 | ra, 0x53FFFFFF),
            "jump": words(nop, 0x4C000000 | a1 << 5),
            "add 1": words(add(1), ret),
            "add 2": words(add(2), ret),
            "spin": words(0x50000000),
            "nops": words(*[nop] * 8, ret),
            "load": words(nop, 0x28C00000 | a1 << 5 | a0, ret),
            "store": words(nop, 0x29C00000 | a1 << 5 | a0, ret),
            "syscall": words(nop, 0x002B0000, nop),
            "breakpoint": words(nop, 0x002A0000, nop),
            "invalid": words(nop, 0xFFFFFFFF),
            "thread": words(0x28C00000 | tp << 5 | a0, ret),
            "float": words(0x01010000 | 1 << 10, ret),  # fadd.d fa0, fa0, fa1
        },
    )  # fmt: skip


GUESTS = {
    guest.name: guest for guest in (_X86_64, _I386, _AARCH64, _ARM, _THUMB, _riscv(8), _riscv(4), _loongarch64())
}


def page_buffer(size: int = PAGE, content: bytes = b"") -> NDArray[np.uint8]:
    """Page-aligned host memory of `size` bytes that starts with `content`."""
    room = np.zeros(size + PAGE, np.uint8)
    buffer = room[-room.ctypes.data % PAGE :][:size]
    buffer[: len(content)] = np.frombuffer(content, np.uint8)
    return buffer


class Bench:
    """A CPU with code, data, a stack, a closed page and a trap range, and one program in it."""

    def __init__(self, guest: Guest, cpu: Cpu | None = None) -> None:
        self.guest = guest
        self.cpu = cpu or create_cpu(guest.arch)
        self.cpu.set_trap_range(TRAPS, TRAPS_SIZE)
        self.cpu.map(CODE, PAGE, RX, page_buffer())
        self.cpu.map(DATA, 2 * PAGE, RW, page_buffer(2 * PAGE))
        self.cpu.map(CLOSED, PAGE, Protection.NONE, page_buffer())
        self.cpu.map(STACK, PAGE, RW, page_buffer())

    def load(self, program: str, at: int = CODE) -> int:
        """Write a program; its entry, with the Thumb bit where that is the state."""
        self.cpu.write(at, self.guest.code(program))
        return at | self.guest.entry_bit

    def prepare(self, *, value: int = 0, address: int = 0, returns_to: int = TRAPS) -> None:
        """Registers as at a call: the two operands, a fresh stack and the return address."""
        cpu, guest = self.cpu, self.guest
        cpu.write_registers({guest.value: value, guest.address: address, "sp": STACK + PAGE // 2})
        if guest.link is not None:
            cpu.write_register(guest.link, returns_to)
        else:
            cpu.write(STACK + PAGE // 2, returns_to.to_bytes(guest.word, "little"))

    @property
    def value(self) -> int:
        return self.cpu.read_register(self.guest.value)


def benches(guest: Guest) -> Iterator[Bench]:
    bench = Bench(guest)
    yield bench
    bench.cpu.close()

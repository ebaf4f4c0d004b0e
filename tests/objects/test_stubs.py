"""Stubs, run: each arrives at the address it carries, wherever it lies, and changes no register it may not."""

from __future__ import annotations

import pytest
import unicorn
from unicorn import arm64_const as a64
from unicorn import x86_const as x86

from emu import Machine
from emu.cpu.unicorn.library import uc_class
from relink.arch import ARCHITECTURES
from relink.arch.arm import ARM
from relink.arch.spec import Stub
from tests.objects.build import compiled
from tests.objects.rows import row_of

STUB, TARGET, STACK = 0x20_0000, 0x10_3004, 0x30_0000
FAR = 0x7F12_3456_7000

#: ISA → (unicorn's machine, stack pointer, program counter, registers a stub must keep, where a stub may lie).
MACHINES = {
    "x86_64": (
        (unicorn.UC_ARCH_X86, unicorn.UC_MODE_64),
        x86.UC_X86_REG_RSP,
        x86.UC_X86_REG_RIP,
        (x86.UC_X86_REG_RAX, x86.UC_X86_REG_RDI, x86.UC_X86_REG_R10, x86.UC_X86_REG_R11),
        (STUB, FAR),
    ),
    "i386": (
        (unicorn.UC_ARCH_X86, unicorn.UC_MODE_32),
        x86.UC_X86_REG_ESP,
        x86.UC_X86_REG_EIP,
        (x86.UC_X86_REG_EAX, x86.UC_X86_REG_ECX, x86.UC_X86_REG_EDX, x86.UC_X86_REG_EBX),
        (STUB, 0xF7F0_0000),
    ),
    "aarch64": (
        (unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM),
        a64.UC_ARM64_REG_SP,
        a64.UC_ARM64_REG_PC,
        (*range(a64.UC_ARM64_REG_X0, a64.UC_ARM64_REG_X0 + 16), a64.UC_ARM64_REG_X18, a64.UC_ARM64_REG_X30),
        (STUB, FAR),
    ),
}


@pytest.mark.parametrize("isa", MACHINES)
def test_a_stub_arrives_and_keeps_the_registers(isa: str) -> None:
    machine, stack, counter, kept, places = MACHINES[isa]
    page = ARCHITECTURES[isa]
    stub = page.stub
    assert stub is not None
    code = bytearray(stub.code)
    code[stub.address_at : stub.address_at + page.word_size] = TARGET.to_bytes(page.word_size, "little")
    for place in places:
        engine = uc_class()(*machine)
        for address in (place, STACK, TARGET & ~0xFFF):
            engine.mem_map(address, 0x1000)
        engine.mem_write(place + stub.align, bytes(code))
        engine.reg_write(stack, STACK + 0x800)
        for number, register in enumerate(kept):
            engine.reg_write(register, 0x1111 * (number + 1))
        engine.emu_start(place + stub.align, TARGET, count=8)
        assert engine.reg_read(counter) == TARGET
        assert engine.reg_read(stack) == STACK + 0x800
        assert [engine.reg_read(r) for r in kept] == [0x1111 * (n + 1) for n in range(len(kept))]


# ---------------------------------------------------------------- where only a machine runs them


_THUMB_JUMP = 0xF000B800 + (row_of(ARM, "THM_CALL").entry - 5) // 2

#: ISA → functions that double a number, one for each instruction set.
DOUBLES = {
    "arm": (".arm\ndouble: add r0, r0, r0\nbx lr", ".thumb\ndouble: adds r0, r0, r0\nbx lr"),
    "riscv64": ("double: add a0, a0, a0\nret",),
    "riscv32": ("double: add a0, a0, a0\nret",),
    "loongarch64": ("double: add.d $a0, $a0, $a0\nret",),
}

#: ISA → jumps to "stub", one for each instruction set.
JUMPS = {
    "arm": (".arm\nenter: b stub", f".thumb\nenter: .reloc ., R_ARM_THM_JUMP24, stub\n.inst.w {_THUMB_JUMP:#x}"),
    "riscv64": ("enter: j stub",),
    "riscv32": ("enter: j stub",),
    "loongarch64": ("enter: b stub",),
}

CODES = [
    (isa, stub, double, jump)
    for isa in DOUBLES
    for stub in (ARCHITECTURES[isa].stub, ARCHITECTURES[isa].baseline_stub)
    if stub is not None
    for double in DOUBLES[isa]
    for jump in JUMPS[isa]
]


@pytest.mark.parametrize(("isa", "stub", "double", "jump"), CODES)
def test_a_stub_goes_from_either_state_to_either(isa: str, stub: Stub, double: str, jump: str) -> None:
    code, word = ", ".join(map(str, stub.code[: stub.address_at])), f".{ARCHITECTURES[isa].word_size}byte"
    text = f"""
    .text
    .balign 8
stub: .byte {code}
    {word} double
    .balign 8
    .globl double, enter
    .type double, %function
    .type enter, %function
    {double}
    .balign 4
    {jump}
"""
    with Machine(isa) as machine:
        enter = machine.load(compiled(isa, text, language="assembler")).function("enter", "int(int)")
        assert enter(21) == 42

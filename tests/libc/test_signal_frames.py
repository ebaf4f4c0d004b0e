"""The frames of signal handlers: laid out as Linux's own headers say, and restored as a handler leaves them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from emu import Library, Machine
from emu.isa.registry import ISAS
from emu.isa.signal_abi import SignalFrame
from emu.linux.syscalls.table import names
from tests.fixtures import ARCHES, arch_of, variant_of
from tests.machine.test_syscalls import kernel_headers
from tests.objects.build import zig
from tests.toolcache import OUTPUT, made
from toolchains.targets import TARGETS

_SOURCE = Path(__file__).with_name("frames.c")
#: Our names -> expressions in Linux's struct sigcontext, by ISA.
_X86_64 = "r8 r9 r10 r11 r12 r13 r14 r15 rdi rsi rbp rbx rdx rax rcx"
_FIELDS = {
    "x86_64": {**{name: name for name in _X86_64.split()}, "sp": "rsp", "pc": "rip", "rflags": "eflags"},
    "i386": {
        **{name: name for name in "edi esi ebp ebx edx ecx eax eflags".split()},
        "sp": "esp",
        "pc": "eip",
    },
    "aarch64": {**{f"x{n}": f"regs[{n}]" for n in range(31)}, "sp": "sp", "pc": "pc", "pstate": "pstate"},
    "arm": {
        **{f"r{n}": f"arm_r{n}" for n in range(11)}, "r11": "arm_fp",
        "r12": "arm_ip", "sp": "arm_sp", "lr": "arm_lr", "pc": "arm_pc", "cpsr": "arm_cpsr",
    },
    "riscv64": {
        **{name: f"sc_regs.{name}" for name in "pc ra sp gp tp t0 t6 s0 s11 a0 a7".split()},
        **{f"f{n}": f"sc_fpregs.d.f[{n}]" for n in range(32)},
        "fcsr": "sc_fpregs.d.fcsr",
    },
    "loongarch64": {"pc": "sc_pc", **{f"r{n}": f"sc_regs[{n}]" for n in range(32)}},
}  # fmt: skip
_FIELDS["riscv32"] = _FIELDS["riscv64"]
_HEADERS = """
#include <linux/types.h>
#include <asm/signal.h>
#include <asm/sigcontext.h>
#include <asm/ucontext.h>
#include <asm/siginfo.h>
#define offsetof __builtin_offsetof
"""


def _claims(arch: str, frame: SignalFrame) -> list[str]:
    assert frame.context is not None
    assert frame.stack is not None
    fields = _FIELDS[arch]
    rows = {row.register: row for row in frame.registers}
    claims = [f"offsetof(struct ucontext, uc_stack) == {frame.stack - frame.context}"]
    claims.append(f"offsetof(struct ucontext, uc_sigmask) == {frame.mask[0][0] - frame.context}")
    for ours, theirs in fields.items():
        offset = rows[ours].offset - frame.context
        claims.append(f"offsetof(struct ucontext, uc_mcontext.{theirs}) == {offset}")
        claims.append(f"sizeof(((struct ucontext *)0)->uc_mcontext.{theirs}) == {rows[ours].size}")
    if frame.floats is not None:
        pointer = frame.floats.pointer - frame.context
        claims.append(f"offsetof(struct ucontext, uc_mcontext.fpstate) == {pointer}")
    return claims


@pytest.mark.parametrize("arch", ARCHES)
def test_saved_registers_are_where_linux_headers_have_them(arch: str) -> None:
    folders = kernel_headers(arch)
    claims = _claims(arch, ISAS[arch].kernel.signals.frame)
    source = _HEADERS + "\n".join(f'_Static_assert({claim}, "");' for claim in claims)
    command = [zig(), "clang", "-target", variant_of(arch).target.triple, "-fsyntax-only", "-nostdlibinc"]
    command += [part for folder in folders for part in ("-isystem", str(folder))]
    done = subprocess.run([*command, "-x", "c", "-"], input=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(params=TARGETS)
def library(request: pytest.FixtureRequest) -> Library:
    row, arch = TARGETS[request.param], arch_of(request.param)
    kernel = ISAS[arch].kernel
    frame, numbers = kernel.signals.frame, {name: number for number, name in names(arch).items()}
    assert frame.context is not None
    pc = next(each for each in frame.registers if each.register == "pc")
    defines = {
        "SIGACTION": f"{numbers['rt_sigaction']}L",
        "TGKILL": f"{numbers['tgkill']}L",
        "PC_AT": pc.offset - frame.context,
        "MASK_AT": frame.mask[0][0] - frame.context,
        "THUMB_BIT": int(kernel.signals.thumb is not None),
        **({"HAS_RESTORER": 1} if kernel.sigaction_restorer else {}),
    }
    flags = ("-target", row.triple, *row.cflags, "-O1", "-fPIC", "-ffreestanding", "-fno-builtin", "-w")
    options = (*flags, *(f"-D{name}={value}" for name, value in defines.items()), "-c", str(_SOURCE))
    return Machine(arch).load(made((zig(), "clang", *options, "-o", OUTPUT), (_SOURCE,)))


def test_a_handler_changes_where_and_with_which_mask_the_program_goes_on(library: Library) -> None:
    assert library.function("moved", "int(void)")() == 1
    assert library.function("masked", "int(void)")() == 1
    assert library.function("kept", "double(double)")(1.25) == 12.5


def test_a_bad_pointer_given_to_a_hosted_function_is_the_programs_fault(library: Library) -> None:
    assert library.function("within", "int(void)")() == 1

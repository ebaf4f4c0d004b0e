"""Frames of signal handlers on RISC-V (Linux, arch/riscv/kernel/signal.c, include/uapi/asm/sigcontext.h)."""

from __future__ import annotations

from emu.isa.signal_abi import (
    INFO_SIZE,
    Saved,
    SignalAbi,
    SignalFrame,
    generic_context,
    saved,
    words,
)


def signals(word: int) -> SignalAbi:
    """For registers of `word` bytes. In struct sigcontext pc has the place of x0; the state of D is behind."""
    stack, mask, machine = generic_context(word, INFO_SIZE)
    floats = machine + 32 * word
    general = "ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6"
    return SignalAbi(
        frame=SignalFrame(
            size=floats + 528,
            stack=stack,
            mask=mask,
            registers=(
                *saved(("pc", *general.split()), machine, word),
                *saved((f"f{n}" for n in range(32)), floats, 8),
                Saved("fcsr", floats + 256, 4, 0xFF),
            ),
            return_code=words((0x08B0_0893, 0x0000_0073), 4),  # li a7, 139; ecall
        ),
        arguments=("a0", "a1", "a2"),
    )

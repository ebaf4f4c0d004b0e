"""Frames of signal handlers on Arm and AArch64 (Linux, arch/arm/kernel/signal.c, arch/arm64/kernel/signal.c and
their include/uapi/asm/sigcontext.h and ucontext.h).
"""

from __future__ import annotations

from emu.isa.convention import numbered
from emu.isa.signal_abi import (
    INFO_SIZE,
    FaultWords,
    PageFault,
    Saved,
    SignalAbi,
    SignalFrame,
    generic_context,
    saved,
    words,
)

_THUMB, _IT = 0x20, 0x0600_FC00
_CPSR = 0xF80F_0000 | _THUMB | _IT  #: flags, Q, GE and the state; the rest is the kernel's


def _arm_frame(context: int, call: str, number: int) -> SignalFrame:
    """The frame with ucontext_t at `context`, behind siginfo_t if there is one."""
    machine = context + 20
    mask = machine + 84
    floats = mask + 128 + 7 & -8  # uc_regspace
    return SignalFrame(
        size=floats + 512 + 16,
        alignment=8,
        info=0 if context else None,
        context=context,
        stack=context + 8,
        mask=((mask, 8),),
        registers=(
            *saved((*numbered("r", 13), "sp", "lr", "pc"), machine + 12, 4),
            Saved("cpsr", machine + 76, 4, _CPSR),
            *saved(numbered("d", 32), floats + 8, 8),
            Saved("fpscr", floats + 8 + 256, 4),
        ),
        constants={
            floats: words((0x5646_5001, 288), 4),
            **({} if context else {0: words((0x5AC3_C35A,), 4)}),
        },
        fault=FaultWords(
            (machine + 80, 4), (machine, 4), (machine + 4, 4), PageFault(0x7, 0xF, 0x800, 0x8000_0000), {}
        ),
        call=call,
        return_code=words((0xE3A0_7000 | number, 0xEF00_0000), 4),  # mov r7, #number; svc #0
    )


ARM_SIGNALS = SignalAbi(
    frame=_arm_frame(INFO_SIZE, "rt_sigreturn", 173),
    plain=_arm_frame(0, "sigreturn", 119),
    arguments=numbered("r", 3),
    cleared=("cpsr", _IT),
    thumb=("cpsr", _THUMB),
)

_STACK, _MASK, _MACHINE = generic_context(8, INFO_SIZE)
_EXTRA = _MACHINE + 8 * 35 + 15 & -16  #: sigcontext's __reserved
_ESR = _EXTRA + 528
_RECORD = _EXTRA + 4096
AARCH64_SIGNALS = SignalAbi(
    frame=SignalFrame(
        size=_RECORD + 16,
        stack=_STACK,
        mask=_MASK,
        registers=(
            *saved((*numbered("x", 31), "sp", "pc"), _MACHINE + 8, 8),
            Saved("pstate", _MACHINE + 8 * 34, 8, 0xF000_0000),
            Saved("fpsr", _EXTRA + 8, 4),
            Saved("fpcr", _EXTRA + 12, 4),
            *saved(numbered("v", 32), _EXTRA + 16, 16),
        ),
        constants={_EXTRA: words((0x4650_8001, 528), 4)},
        fault=FaultWords(
            (_MACHINE, 8),
            None,
            (_ESR + 8, 8),
            PageFault(0x9200_0007, 0x9200_000F, 0x40, -0x1000_0000),
            {_ESR: words((0x4553_5201, 16), 4)},
        ),
        return_code=words((0xD280_1168, 0xD400_0001), 4),  # mov x8, #139; svc #0
    ),
    arguments=numbered("x", 3),
    frame_record=("x29", _RECORD),
    least_stack=5120,
)

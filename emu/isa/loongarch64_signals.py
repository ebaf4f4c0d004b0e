"""Frames of signal handlers on LoongArch64 (Linux, arch/loongarch/kernel/signal.c, include/uapi/asm/sigcontext.h).

Behind the general registers is one extended context, with the 128-bit vector registers (LSX_CTX_MAGIC), as of
programs that have used them.
"""

from __future__ import annotations

from emu.isa.convention import numbered
from emu.isa.signal_abi import (
    INFO_SIZE,
    Saved,
    SignalAbi,
    SignalFrame,
    generic_context,
    saved,
    words,
)

_STACK, _MASK, _MACHINE = generic_context(8, INFO_SIZE)
_EXTENDED = _MACHINE + 33 * 8 + 4 + 15 & -16
_VECTORS = _EXTENDED + 16  #: behind struct sctx_info: magic, size, padding
_END = _VECTORS + 32 * 16 + 16
SIGNALS = SignalAbi(
    frame=SignalFrame(
        size=_END + 16,
        stack=_STACK,
        mask=_MASK,
        registers=(
            *saved(("pc", *numbered("r", 32)), _MACHINE, 8),
            *saved(numbered("vr", 32), _VECTORS, 16),
            *saved(numbered("fcc", 8), _VECTORS + 512, 1),
            Saved("fcsr", _VECTORS + 520, 4),
        ),
        constants={_MACHINE + 33 * 8: words((1,), 4), _EXTENDED: words((0x5358_0001, _END - _EXTENDED), 4)},
        return_code=words((0x0382_2C0B, 0x002B_0000), 4),  # ori a7, zero, 139; syscall 0
    ),
    arguments=("a0", "a1", "a2"),
    least_stack=4096,
    illegal=0x80,
)

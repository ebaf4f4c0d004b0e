"""Having Unicorn notice denormal operands on x86, by `hooks/native/denormal_operands.c`."""

from __future__ import annotations

import functools

from emu.cpu.unicorn.replaced import replace_functions


@functools.cache
def notice_denormals() -> bool:
    """False, with a warning in the log, where that cannot be done."""
    loss = "x86: the flag for denormal operands will not be set"
    return replace_functions("denormal_operands", "_x86_64", loss) is not None

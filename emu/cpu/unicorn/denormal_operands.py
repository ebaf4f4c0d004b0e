"""Having Unicorn notice denormal operands on x86, by `emu.cpu.hooks.denormal_operands`."""

from __future__ import annotations

import functools

from emu.cpu.hooks.denormal_operands import CODE, NAMES
from emu.cpu.unicorn.replaced import replace_functions


@functools.cache
def notice_denormals() -> bool:
    """False, with a warning in the log, where that cannot be done."""
    loss = "x86: the flag for denormal operands will not be set"
    return replace_functions([f"{name}_x86_64" for name in NAMES], lambda _: (), CODE, loss)

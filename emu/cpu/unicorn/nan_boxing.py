"""Having Unicorn's translators for RISC-V box single-precision numbers, by `hooks/native/nan_boxing.c`."""

from __future__ import annotations

import functools

from emu.cpu.unicorn.replaced import replace_functions


@functools.cache
def box_singles(suffix: str) -> bool:
    """Add boxing to the translator "_riscv64" or "_riscv32". False, with a warning in the log, if that fails."""
    return replace_functions("nan_boxing", suffix, "RISC-V: singles will not be NaN-boxed") is not None

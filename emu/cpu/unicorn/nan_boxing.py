"""Having Unicorn's translators for RISC-V box single-precision numbers, by `emu.cpu.hooks.nan_boxing`."""

from __future__ import annotations

import ctypes
import functools

from emu.cpu.hooks.nan_boxing import CODE, REPLACED, USED, USED_OF_C
from emu.cpu.unicorn.library import uclib
from emu.cpu.unicorn.replaced import address, libc, replace_functions


@functools.cache
def box_singles(suffix: str) -> bool:
    """Of the translator "_riscv64" or "_riscv32". False, with a warning in the log, where that cannot be done."""
    key = ctypes.c_uint()
    libc().pthread_key_create(ctypes.byref(key), None)
    used = [address(libc(), name) for name in USED_OF_C] + [address(uclib, name + suffix) for name in USED]
    names = [name + suffix for name in REPLACED]
    return replace_functions(names, lambda _: (*used, key.value), CODE, "RISC-V: singles will not be NaN-boxed")

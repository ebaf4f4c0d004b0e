"""Having Unicorn leave an instruction at a store that may not be made, by `hooks/native/bad_stores.c`."""

from __future__ import annotations

import functools

from emu.cpu.unicorn.library import uclib
from emu.cpu.unicorn.replaced import address, replace_functions

_LOSS = "stores of a few instructions to memory that may not be written will be noticed late"


@functools.cache
def recording_hook() -> int | None:
    """The address of the hook for bad accesses; None, with a warning in the log, where there is none."""
    copy = replace_functions("bad_stores", "", _LOSS)
    return None if copy is None else copy.places["record"]


@functools.cache
def leaving_function(engine: str, mode: str) -> int:
    """The address of the function that leaves an instruction, by the names in `UnicornIsa`."""
    suffix = {"X86": "x86_64", "ARM64": "aarch64"}.get(engine, (mode if engine == "RISCV" else engine).lower())
    return address(uclib, f"cpu_loop_exit_{suffix}")

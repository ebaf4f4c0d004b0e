"""Having Unicorn leave an instruction at a store that may not be made, by `hooks/native/bad_stores.c`."""

from __future__ import annotations

import ctypes
import functools

from emu.cpu.hooks.linkage import address
from emu.cpu.unicorn.library import uclib
from emu.cpu.unicorn.replaced import Copy, replace_functions

_LOSS = "stores of a few instructions to memory that may not be written will be noticed late"


@functools.cache
def _code() -> Copy | None:
    return replace_functions("bad_stores", "", _LOSS)


def recording_hook() -> int | None:
    """The address of the hook for bad accesses; None, with a warning in the log, where there is none."""
    copy = _code()
    return None if copy is None else copy.places["record"]


def key_of_threads() -> int | None:
    """The key (pthread_setspecific) of the function by which a thread leaves the engine at its next `cpu_exit`.
    None where Unicorn's own is not replaced.
    """
    copy = _code()
    return None if copy is None else ctypes.c_uint64.from_address(copy.places["number.key"]).value


@functools.cache
def leaving_function(engine: str, mode: str) -> int:
    """The address of the function that leaves an instruction, by the names in `UnicornIsa`."""
    suffix = {"X86": "x86_64", "ARM64": "aarch64"}.get(engine, (mode if engine == "RISCV" else engine).lower())
    return address(uclib, f"cpu_loop_exit_{suffix}")

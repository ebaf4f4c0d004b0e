"""Having Unicorn leave an instruction at a store that may not be made, by `emu.cpu.hooks.bad_stores`."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator

from emu.cpu.hooks.bad_stores import CODE, REPLACED, USED_OF_C
from emu.cpu.hooks.stop_hook import HOST, HostCode
from emu.cpu.unicorn.library import uclib
from emu.cpu.unicorn.replaced import address, libc, replace_functions

_LOSS = "stores of a few instructions to memory that may not be written will be noticed late"


@functools.cache
def recording_hook() -> int | None:
    """The address of the hook for bad accesses; None, with a warning in the log, where there is none."""
    places = list[int]()

    def state(code: int) -> Iterator[int]:
        key = ctypes.c_uint()
        if libc().pthread_key_create(ctypes.byref(key), None):
            raise OSError("the C library has no more keys for values of threads")
        yield from (address(libc(), name) for name in USED_OF_C)
        yield key.value
        places.append(code + CODE[HOST].entries[-1])

    codes = {host: HostCode(code.entries[:-1], code.code) for host, code in CODE.items()}
    return places[0] if replace_functions(REPLACED, state, codes, _LOSS) else None


@functools.cache
def leaving_function(engine: str, mode: str) -> int:
    """The address of the function that leaves an instruction, by the names in `UnicornIsa`."""
    suffix = {"X86": "x86_64", "ARM64": "aarch64"}.get(engine, (mode if engine == "RISCV" else engine).lower())
    return address(uclib, f"cpu_loop_exit_{suffix}")

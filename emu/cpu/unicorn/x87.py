"""Having Unicorn execute x87 instructions by machine code for the host (`emu/cpu/hooks/x87`), not by its own.

Unicorn's helper functions for x87 know neither C1 nor the flag for denormal operands, round constants to nearest,
and keep exception flags apart from the status word. Its translator is made to call others
(`emu/cpu/hooks/x87/translator.h`), which leave the status word as a processor does.
"""

from __future__ import annotations

import ctypes
import functools
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from emu.cpu.hooks.stop_hook import HOST, HostCode
from emu.cpu.unicorn.library import uclib
from emu.cpu.unicorn.replaced import STATE_SIZE, address, libc, replace_functions

_FOLDER: Final = Path(__file__).parent.parent / "hooks" / "x87"
_SUFFIX: Final = "_x86_64"  #: of i386's functions too
_HELPER: Final = "helper_"
#: Functions that take the place of Unicorn's own where these are called; the others where code is translated.
_REPLACED: Final = ("tcg_gen_callN", "tcg_emit_op")
_USED: Final = """
cpu_ldub_data_ra cpu_lduw_data_ra cpu_ldq_data_ra cpu_stw_data_ra cpu_stq_data_ra
raise_exception_ra update_fp_status
""".split()


def _functions(content: bytes) -> Iterator[tuple[str, int]]:
    """(name, offset) of each function of the code."""
    count = next(at for at in range(0, len(content), 4) if not any(content[at : at + 4])) // 4
    names = content[4 * count + 4 :].split(b"\0", count)
    for name, (offset,) in zip(names[:count], struct.iter_unpack("<I", content[: 4 * count]), strict=True):
        yield name.decode(), offset - STATE_SIZE


@functools.cache
def execute_x87() -> bool:
    """False, with a warning in the log, where that cannot be done."""
    file = _FOLDER / f"{HOST}.bin"
    content = file.read_bytes() if file.is_file() else b""
    functions = dict(_functions(content)) if content else {}
    codes = {HOST: HostCode(tuple(functions[name] for name in _REPLACED), content)} if content else {}
    helpers = {name: at for name, at in functions.items() if name.startswith(_HELPER)}

    def state(code: int) -> Iterator[int]:
        key = ctypes.c_uint()
        libc().pthread_key_create(ctypes.byref(key), None)
        yield from (address(uclib, name + _SUFFIX) for name in _USED)
        yield from (address(libc(), name) for name in ("pthread_getspecific", "pthread_setspecific"))
        originals = {name: address(uclib, name + _SUFFIX) for name in helpers}
        yield from (key.value, min(originals.values()), max(originals.values()))
        for name, original in originals.items():
            yield from (original, code + helpers[name])

    return replace_functions(
        [name + _SUFFIX for name in _REPLACED], state, codes, "x86: x87 will be less exact than a processor's"
    )

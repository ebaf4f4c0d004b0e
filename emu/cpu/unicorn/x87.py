"""Having Unicorn execute x87 instructions by machine code for the host (`hooks/native/x87.c`), not by its own.

Unicorn's helper functions for x87 know neither C1 nor the flag for denormal operands, round constants to nearest,
and keep exception flags apart from the status word. Its translator is made to call others
(`hooks/native/x87/translator.h`), which leave the status word as a processor does.

There the translator is also made to note where the flags are behind a hook, so that they are right at faults.
"""

from __future__ import annotations

import functools

from emu.cpu.hooks.linkage import address
from emu.cpu.unicorn.library import uclib
from emu.cpu.unicorn.replaced import Copy, library_linkage, replace_functions

_SUFFIX = "_x86_64"  #: of i386's functions too
_HELPER = "helper_"


@functools.cache
def execute_x87() -> bool:
    """False, with a warning in the log, where that cannot be done."""
    return replace_functions("x87", _SUFFIX, "x86: x87 will be less exact than a processor's", _tell) is not None


def _tell(copy: Copy) -> None:
    rows = [
        (address(uclib, _HELPER + name + _SUFFIX), replacement)
        for name, replacement in copy.of_kind(_HELPER).items()
    ]
    copy.set("hooks", address(uclib, "helper_uc_tracecode"))
    copy.set("check", address(uclib, "helper_check_exit_request" + _SUFFIX))
    for name, value in zip(("library", "library_size"), library_linkage().span(), strict=True):
        copy.set(name, value)
    copy.set("first", min(rows)[0])
    copy.set("last", max(rows)[0])
    copy.set("replaced", *(value for row in rows for value in row))

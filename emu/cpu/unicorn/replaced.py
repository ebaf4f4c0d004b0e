"""Putting machine code in the place of functions of Unicorn's library.

The library calls its own exported functions through slots (`emu.cpu.hooks.linkage`), which get other addresses.
Engines that are open already use them too.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import sys
from collections.abc import Callable
from typing import Final

from emu.cpu.hooks.host_code import HOST, host_code, with_numbers
from emu.cpu.hooks.linkage import Linkage, address, libc, protect, writable
from emu.cpu.unicorn.library import uclib
from relink.log import Log

_READ_EXECUTE: Final = mmap.PROT_READ | mmap.PROT_EXEC


class Copy:
    """A copy of the code with its own numbers. Raises OSError on hosts that have none."""

    def __init__(self, file: str) -> None:
        code = host_code(HOST)
        if sys.platform != "linux" or code is None:
            raise OSError(f"there is no machine code for {sys.platform} on {HOST}")
        self._size, self._begin = len(code.content), with_numbers(code.content)
        offsets = {name.split(".", 1)[1]: at for name, at in code.places.items() if name.startswith(file + ".")}
        self.places = {name: self._begin + offset for name, offset in offsets.items()}  #: what is of the file

    def of_kind(self, kind: str) -> dict[str, int]:
        """NAME -> the address of KIND.NAME."""
        return {name.removeprefix(kind): at for name, at in self.places.items() if name.startswith(kind)}

    def set(self, name: str, *values: int) -> None:
        """Set one or more numbers from number.NAME on."""
        for at, value in enumerate(values):
            ctypes.c_uint64.from_address(self.places[f"number.{name}"] + 8 * at).value = value

    def finish(self) -> None:
        """Make the code executable."""
        protect(self._begin, self._size, _READ_EXECUTE)


def replace_functions(
    file: str, suffix: str, loss: str, prepare: Callable[[Copy], None] = lambda copy: None
) -> Copy | None:
    """Replace functions of the library, whose names end in `suffix`, by those of `hooks/native/FILE.c`; before,
    `prepare` sets more numbers. None if the library or the host does not allow it: the log then warns of `loss`.
    """
    try:
        copy = Copy(file)
        _replace(copy, suffix, prepare)
    except (OSError, AttributeError, LookupError) as error:
        Log(__name__).warning("%s: %s", loss, error)
        return None
    return copy


def _replace(copy: Copy, suffix: str, prepare: Callable[[Copy], None]) -> None:
    replacements = copy.of_kind("replaces.")
    slots = {name: list(library_linkage().of_function(address(uclib, name + suffix))) for name in replacements}
    missing = [name for name, places in slots.items() if not places]
    if missing:
        raise LookupError(f"this Unicorn calls {', '.join(missing)} directly")
    for name, place in copy.of_kind("original.").items():
        ctypes.c_uint64.from_address(place).value = address(uclib, name + suffix)
    for name, place in copy.of_kind("library.").items():
        ctypes.c_uint64.from_address(place).value = address(libc(), name)
    if "number.key" in copy.places:
        key = ctypes.c_uint()
        if libc().pthread_key_create(ctypes.byref(key), None):
            raise OSError("the C library has no more keys for values of threads")
        copy.set("key", key.value)
    prepare(copy)
    copy.finish()
    for name, replacement in replacements.items():
        for place in slots[name]:
            writable(place).value = replacement


@functools.cache
def library_linkage() -> Linkage:
    """Of Unicorn's library. Raises OSError."""
    return Linkage(uclib)

"""Putting machine code in the place of functions of Unicorn's library.

The library calls its own exported functions through its procedure linkage table, so that others can take their
place (ELF: symbol preemption). Here that is done afterwards, by the library's own relocations: the slots of
R_*_JUMP_SLOT of these functions get other addresses. Engines that are open already use them too.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from emu.cpu.hooks.host_code import HOST, host_code, with_numbers
from emu.cpu.unicorn.library import uclib
from relink.log import Log

_LINK_MAP: Final = 2  #: RTLD_DI_LINKMAP
#: Dynamic tags, and the sizes of their entries.
_SYMBOLS, _SLOTS_SIZE, _SLOTS, _END, _RELOCATION, _SYMBOL = 6, 2, 23, 0, 24, 24
_READ_WRITE, _READ_EXECUTE = mmap.PROT_READ | mmap.PROT_WRITE, mmap.PROT_READ | mmap.PROT_EXEC


class _LinkMap(ctypes.Structure):
    _fields_ = (("address", ctypes.c_uint64), ("name", ctypes.c_char_p), ("dynamic", ctypes.c_uint64))


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
        _protect(self._begin, self._size, _READ_EXECUTE)


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
    slots = {name: list(_slots(address(uclib, name + suffix))) for name in replacements}
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
            _set(place, replacement)


@functools.cache
def libc() -> Any:
    return ctypes.CDLL(None)


def address(library: Any, name: str) -> int:
    """Of a function. Raises AttributeError."""
    return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0


def _array(address: int, size: int) -> NDArray[np.uint64]:
    return np.frombuffer(cast(Any, (ctypes.c_char * size).from_address(address)), np.uint64)


def _slots(function: int) -> Iterator[int]:
    """The addresses of the slots for a function of Unicorn's library."""
    base, places, values = _relocations()
    yield from (base + int(place) for place in places[values == np.uint64(function - base)])


@functools.cache
def _relocations() -> tuple[int, NDArray[np.uint64], NDArray[np.uint64]]:
    """(load bias, offsets of its relocations for slots, values of their symbols) of Unicorn's library."""
    link_map = ctypes.POINTER(_LinkMap)()
    if libc().dlinfo(ctypes.c_void_p(uclib._handle), _LINK_MAP, ctypes.byref(link_map)):
        raise OSError("the dynamic linker does not say where the library is")
    base, tags, at = link_map.contents.address, dict[int, int](), link_map.contents.dynamic
    while (tag := ctypes.c_uint64.from_address(at).value) != _END:
        tags[tag], at = ctypes.c_uint64.from_address(at + 8).value, at + 16
    # glibc has added the bias to addresses there, musl has not.
    slots, symbols = (tags[tag] + (base if tags[tag] < base else 0) for tag in (_SLOTS, _SYMBOLS))
    relocations = _array(slots, tags[_SLOTS_SIZE]).reshape(-1, _RELOCATION // 8)
    numbers = relocations[:, 1] >> np.uint64(32)
    values = _array(symbols, (int(numbers.max()) + 1) * _SYMBOL).reshape(-1, _SYMBOL // 8)[numbers, 1]
    return base, relocations[:, 0].copy(), values


def _set(place: int, value: int) -> None:
    begin = place & -mmap.PAGESIZE
    _protect(begin, mmap.PAGESIZE, _READ_WRITE)
    ctypes.c_uint64.from_address(place).value = value


def _protect(address: int, size: int, protection: int) -> None:
    if libc().mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), protection):
        raise OSError("memory protection cannot be changed")

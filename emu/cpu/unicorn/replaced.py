"""Putting machine code in the place of functions of Unicorn's library.

The library calls its own exported functions through its procedure linkage table, so that others can take their
place (ELF: symbol preemption). Here that is done afterwards, by the library's own relocations: the slots of
R_*_JUMP_SLOT of these functions get other addresses. Engines that are open already use them too.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from emu.cpu.hooks.stop_hook import HOST, HostCode
from emu.cpu.unicorn.library import uclib
from relink.log import Log

STATE_SIZE: Final = 0x10000  #: the distance from a code's state to the code: a multiple of any page's size
_LINK_MAP: Final = 2  #: RTLD_DI_LINKMAP
#: Dynamic tags, and the sizes of their entries.
_SYMBOLS, _SLOTS_SIZE, _SLOTS, _END, _RELOCATION, _SYMBOL = 6, 2, 23, 0, 24, 24
_READ_WRITE, _READ_EXECUTE = mmap.PROT_READ | mmap.PROT_WRITE, mmap.PROT_READ | mmap.PROT_EXEC


class _LinkMap(ctypes.Structure):
    _fields_ = (("address", ctypes.c_uint64), ("name", ctypes.c_char_p), ("dynamic", ctypes.c_uint64))


def replace_functions(
    names: Sequence[str], more: Callable[[int], Iterable[int]], code: Mapping[str, HostCode], loss: str
) -> bool:
    """Replace functions of the library by those of `code`, which is by host. The code's state is their addresses
    and `more` of the code's address. False where the library or the host does not allow it; the log then warns of
    `loss`.
    """
    try:
        _replace(names, more, code.get(HOST))
    except (OSError, AttributeError, LookupError) as error:
        Log(__name__).warning("%s: %s", loss, error)
        return False
    return True


def _replace(names: Sequence[str], more: Callable[[int], Iterable[int]], code: HostCode | None) -> None:
    if sys.platform != "linux" or code is None:
        raise OSError(f"there is no machine code for {sys.platform} on {HOST}")
    originals = [address(uclib, name) for name in names]
    slots = [list(_slots(original)) for original in originals]
    missing = [name for name, places in zip(names, slots, strict=True) if not places]
    if missing:
        raise LookupError(f"this Unicorn calls {', '.join(missing)} directly")
    state = _mapped(code.code)
    for at, value in enumerate((*originals, *more(state + STATE_SIZE))):
        ctypes.c_uint64.from_address(state + 8 * at).value = value
    for places, entry in zip(slots, code.entries, strict=True):
        for place in places:
            _set(place, state + STATE_SIZE + entry)


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


def _mapped(code: bytes) -> int:
    """The address of state that is writable, before code that is executable."""
    with open(os.memfd_create("relink-emu functions"), "wb") as file:
        file.write(bytes(STATE_SIZE) + code)
        file.flush()
        mapping = mmap.mmap(file.fileno(), STATE_SIZE + len(code), mmap.MAP_PRIVATE, _READ_WRITE)
    _kept.append(np.frombuffer(mapping, np.uint8))
    address = int(_kept[-1].ctypes.data)
    _protect(address + STATE_SIZE, len(code), _READ_EXECUTE)
    return address


_kept: list[NDArray[np.uint8]] = []  #: mapped until the process ends


def _set(place: int, value: int) -> None:
    begin = place & -mmap.PAGESIZE
    _protect(begin, mmap.PAGESIZE, _READ_WRITE)
    ctypes.c_uint64.from_address(place).value = value


def _protect(address: int, size: int, protection: int) -> None:
    if libc().mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), protection):
        raise OSError("memory protection cannot be changed")

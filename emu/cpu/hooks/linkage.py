"""The slots through which a shared library of this process calls functions, found by its own relocations.

A library calls functions by symbols, its own exported ones too, through slots of its global offset table, so that
others can take their place (ELF: symbol preemption). Here that is done after the library was loaded: what a slot
holds is replaced.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
from collections.abc import Iterator
from typing import Any, Final, cast

import numpy as np

from relink.arrays import U64

_LINK_MAP, _THREAD_DATA = 2, 10  #: RTLD_DI_LINKMAP, RTLD_DI_TLS_DATA
_LOADED, _THREAD_LOCAL = 1, 7  #: PT_LOAD, PT_TLS
#: Dynamic tags (gABI, "Dynamic Section").
_END, _STRINGS, _SYMBOLS = 0, 5, 6
#: Tables of relocations, with their sizes: JMPREL for calls, RELA.
_CALLS, _OTHERS = (23, 2), (7, 8)
_RELOCATION, _SYMBOL = 24, 24  #: sizes of entries
_READ_WRITE: Final = mmap.PROT_READ | mmap.PROT_WRITE


class _LinkMap(ctypes.Structure):
    _fields_ = (("address", ctypes.c_uint64), ("name", ctypes.c_char_p), ("dynamic", ctypes.c_uint64))


class _Header(ctypes.Structure):
    """The fields of Elf64_Ehdr that are needed."""

    _fields_ = (
        ("_before", ctypes.c_char * 32),
        ("segments", ctypes.c_uint64),
        ("_between", ctypes.c_char * 16),
        ("count", ctypes.c_uint16),
    )


class _Segment(ctypes.Structure):
    """The fields of Elf64_Phdr that are needed."""

    _fields_ = (
        ("type", ctypes.c_uint32),
        ("_before", ctypes.c_char * 12),
        ("address", ctypes.c_uint64),
        ("_between", ctypes.c_char * 16),
        ("memory", ctypes.c_uint64),
        ("_", ctypes.c_uint64),
    )


@functools.cache
def libc() -> Any:
    """The C library of this process."""
    return ctypes.CDLL(None)


def address(library: Any, name: str) -> int:
    """The address of a library's function. Raises AttributeError."""
    return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0


class Linkage:
    """The relocations by symbols of a library, on Linux with 64-bit addresses. Raises OSError, KeyError."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        link_map = ctypes.POINTER(_LinkMap)()
        if libc().dlinfo(ctypes.c_void_p(library._handle), _LINK_MAP, ctypes.byref(link_map)):
            raise OSError("the dynamic linker does not say where the library is")
        tags, at = dict[int, int](), link_map.contents.dynamic
        while (tag := ctypes.c_uint64.from_address(at).value) != _END:
            tags[tag], at = ctypes.c_uint64.from_address(at + 8).value, at + 16
        self._base = base = link_map.contents.address
        # glibc has added the bias to addresses there, musl has not.
        self._tags = {tag: value + (base if value < base else 0) for tag, value in tags.items()}
        self._sizes = tags

    def of_function(self, function: int) -> Iterator[int]:
        """The addresses of the slots for calls of a function of the library itself, under any of its names."""
        places, symbols = self._calls
        yield from self._at(places[symbols[:, 1] == np.uint64(function - self._base)])

    def of_name(self, name: str) -> Iterator[int]:
        """The addresses of the slots for a symbol."""
        for table in (_OTHERS, _CALLS):
            if table[0] in self._tags:
                places, symbols = self._relocations(table)
                names = symbols[:, 0] & np.uint64(0xFFFFFFFF)
                for at in set(names.tolist()):
                    if ctypes.string_at(self._tags[_STRINGS] + at) == name.encode():
                        yield from self._at(places[names == np.uint64(at)])

    def thread_words(self) -> ctypes.Array[ctypes.c_uint64]:
        """The calling thread's variables of the library (ELF: thread-local storage); none before it uses them.
        Raises OSError.
        """
        place = ctypes.c_void_p()
        if libc().dlinfo(ctypes.c_void_p(self._library._handle), _THREAD_DATA, ctypes.byref(place)):
            raise OSError("the dynamic linker does not say where variables of threads are")
        found = [each.memory for each in self._segments() if each.type == _THREAD_LOCAL]
        size = sum(found) if place.value else 0
        return (ctypes.c_uint64 * (size // 8)).from_address(place.value or self._base)

    def span(self) -> tuple[int, int]:
        """Where the library is, and its size in bytes."""
        return self._base, max(each.address + each.memory for each in self._segments() if each.type == _LOADED)

    def _segments(self) -> Iterator[_Segment]:
        header = _Header.from_address(self._base)
        yield from (_Segment * header.count).from_address(self._base + header.segments)

    @functools.cached_property
    def _calls(self) -> tuple[U64, U64]:
        return self._relocations(_CALLS)

    def _at(self, places: U64) -> Iterator[int]:
        return (self._base + int(place) for place in places)

    def _relocations(self, table: tuple[int, int]) -> tuple[U64, U64]:
        """The offsets of the relocations by symbols without addends, and the entries of their symbols."""
        rows = _array(self._tags[table[0]], self._sizes[table[1]]).reshape(-1, _RELOCATION // 8)
        numbers = rows[:, 1] >> np.uint64(32)
        chosen = (numbers != 0) & (rows[:, 2] == 0)
        rows, numbers = rows[chosen], numbers[chosen]
        size = (int(numbers.max(initial=0)) + 1) * _SYMBOL
        return rows[:, 0], _array(self._tags[_SYMBOLS], size).reshape(-1, _SYMBOL // 8)[numbers]


def _array(address: int, size: int) -> U64:
    return np.frombuffer(cast(Any, (ctypes.c_char * size).from_address(address)), np.uint64)


def writable(place: int) -> ctypes.c_uint64:
    """The slot at an address, whose page is writable from now on. Raises OSError."""
    protect(place & -mmap.PAGESIZE, mmap.PAGESIZE, _READ_WRITE)
    return ctypes.c_uint64.from_address(place)


def protect(address: int, size: int, protection: int) -> None:
    """mprotect. Raises OSError."""
    if libc().mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), protection):
        raise OSError("memory protection cannot be changed")

"""x86 instructions by capstone's C library, without its Python binding: their sizes, names and operands as text.

The binding takes a tenth of the time of a load to import (subprocesses, temporary files, zip files, and the
tables of all its architectures), and nearly all x86 code is disassembled. Only
`Disassembler.instruction`, which gives the parts of operands, needs it. The library is searched where the binding
searches it: in the folder LIBCAPSTONE_PATH, then beside the binding.
"""

from __future__ import annotations

import ctypes
import os
import struct
from functools import cache
from importlib.util import find_spec
from typing import Any, Final, TypeAlias

from relink.records import cached_property

Row: TypeAlias = tuple[int, int, str, str]  #: address, size, name, operands

_PACKAGE: Final = "capstone"
_FILE: Final = "libcapstone.so"
_MAJOR: Final = 5  #: the version whose `cs_insn` this is
#: cs_insn: number, address, size, bytes, name, operands, details (capstone/capstone.h, version 5).
_INSTRUCTION: Final = struct.Struct("@IQH24s32s160sP")
_X86: Final = 3  #: CS_ARCH_X86
_MODES: Final = {32: 1 << 2, 64: 1 << 3}  #: CS_MODE_32, CS_MODE_64
_handle, _size, _pointer = ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p
_PROTOTYPES: Final[dict[str, tuple[Any, ...]]] = {
    "cs_version": (ctypes.c_uint, _pointer, _pointer),
    "cs_open": (ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.POINTER(_handle)),
    "cs_disasm": (
        _size, _handle, ctypes.c_char_p, _size, ctypes.c_uint64, _size, ctypes.POINTER(_pointer),
    ),
    "cs_free": (None, _pointer, _size),
}  # fmt: skip


@cache
def _library() -> Any:
    """The library with prototypes; None where it is not found, or of another version."""
    spec = find_spec(_PACKAGE)
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    for folder in (os.environ.get("LIBCAPSTONE_PATH"), *(os.path.join(folder, "lib") for folder in folders)):
        if folder is None:
            continue
        try:
            # As the binding loads it, but for the interpreter's lock, which is kept: handles are for one thread.
            library = ctypes.PyDLL(os.path.join(folder, _FILE), mode=getattr(os, "RTLD_DEEPBIND", 0))
            for name, (result, *arguments) in _PROTOTYPES.items():
                function = getattr(library, name)
                function.restype, function.argtypes = result, arguments
        except (OSError, AttributeError):
            continue
        return library if library.cs_version(None, None) >> 8 == _MAJOR else None
    return None


class Disassembler:
    """Disassembles code of 32 or 64 bits."""

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._library = _library()
        self._handle = _handle()
        if self._library is not None and self._library.cs_open(_X86, _MODES[bits], ctypes.byref(self._handle)):
            self._library = None  # the binding says why

    def rows(self, code: bytes, address: int, most: int) -> list[Row]:
        """At most so many instructions from the beginning of code, up to one that is unknown or cut off."""
        library = self._library
        if library is None:
            return list(self._binding.disasm_lite(code, address, most))
        found = _pointer()
        count = library.cs_disasm(self._handle, code, len(code), address, most, ctypes.byref(found))
        if not count:
            return []
        try:
            content = ctypes.string_at(found, count * _INSTRUCTION.size)
        finally:
            library.cs_free(found, count)
        return [
            (at, size, _text(name), _text(operands))
            for _, at, size, _, name, operands, _ in _INSTRUCTION.iter_unpack(content)
        ]

    def instruction(self, code: bytes, address: int) -> Any:
        """The instruction with its operands, an object of the binding."""
        (found,) = self._binding.disasm(code, address, 1)
        return found

    @cached_property
    def _binding(self) -> Any:
        import capstone

        made = capstone.Cs(_X86, _MODES[self._bits])
        made.detail = True
        return made


def _text(field: bytes) -> str:
    return field[: field.index(0)].decode("ascii")


#: One for code of 32 and one for code of 64 bits.
disassembler = cache(Disassembler)

"""The internals of a FILE, which gnulib and others read (stdio_ext.h). Streams have no buffers here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.libc.filesystem import file_system
from emu.libc.open_streams import find_stream
from emu.libc.table import export

if TYPE_CHECKING:
    from emu.libc.library import Libc


@export("size_t __fpending(void *stream)")
def fpending(libc: Libc, stream: int) -> int:
    return 0


@export("size_t __fbufsize(void *stream)")
def fbufsize(libc: Libc, stream: int) -> int:
    return 0


@export("void __fpurge(void *stream)", alias=("fpurge",))
def fpurge(libc: Libc, stream: int) -> None:
    find_stream(libc, stream).pushed_back.clear()


def _descriptor_flags(libc: Libc, stream: int) -> int:
    found = file_system(libc).descriptors.get(find_stream(libc, stream).number)
    return found.flags & 3 if found is not None else 0


@export("int __freading(void *stream)")
def freading(libc: Libc, stream: int) -> int:
    """Whether it is read-only: the last operation is not recorded."""
    return int(_descriptor_flags(libc, stream) == 0)


@export("int __fwriting(void *stream)")
def fwriting(libc: Libc, stream: int) -> int:
    return int(_descriptor_flags(libc, stream) == 1)


@export("int __freadable(void *stream)")
def freadable(libc: Libc, stream: int) -> int:
    return int(_descriptor_flags(libc, stream) != 1)


@export("int __fwritable(void *stream)")
def fwritable(libc: Libc, stream: int) -> int:
    return int(_descriptor_flags(libc, stream) != 0)


@export("int __flbf(void *stream)")
def flbf(libc: Libc, stream: int) -> int:
    return 0


@export("int __fsetlocking(void *stream, int kind)")
def fsetlocking(libc: Libc, stream: int, kind: int) -> int:
    """The previous value is always FSETLOCKING_INTERNAL (1)."""
    return 1

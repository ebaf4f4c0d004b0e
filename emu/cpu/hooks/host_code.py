"""Machine code for the host, made from the C in `native` by `toolchains.host_code`: hooks of Unicorn that take
nanoseconds, where one in Python takes half a microsecond and may run signal handlers.

Hosts are named as by `uname -m`. There is code for Linux on x86-64 and AArch64.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import platform
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from relink.arrays import U8
from relink.records.tuples import NamedTuple

HOST: Final = platform.machine()
HOSTS: Final = ("x86_64", "aarch64")
NUMBERS: Final = 0x10000  #: bytes before the code for its numbers: a multiple of any page's size
_FOLDER: Final = Path(__file__).parent / "native"


class HostCode(NamedTuple):
    """The code of a host, position independent."""

    content: bytes
    places: Mapping[str, int]  #: FILE.NAME -> offset in `content`; below 0 of numbers that are before it


@functools.cache
def host_code(host: str) -> HostCode | None:
    """None: there is none."""
    file = _FOLDER / f"{host}.bin"
    if host not in HOSTS or not file.is_file():
        return None
    content = file.read_bytes()
    words = memoryview(content[: len(content) & -4]).cast("I")
    count = next(at for at, word in enumerate(words) if not word)
    names = content[4 * (count + 1) :].split(b"\0", count)[:count]
    offsets = struct.unpack_from(f"<{count}I", content)
    return HostCode(
        content, {name.decode(): offset - NUMBERS for name, offset in zip(names, offsets, strict=True)}
    )


@functools.cache
def host_function(name: str) -> int | None:
    """The address of FILE.NAME, a function without numbers; None on hosts that have none, or where no file can be
    mapped as executable.
    """
    base = _shared()
    code = host_code(HOST)
    return None if base is None or code is None else base + code.places[name]


@functools.cache
def _shared() -> int | None:
    code = host_code(HOST)
    if sys.platform != "linux" or code is None:
        return None
    try:
        return executable(code.content)
    except OSError:
        return None


def executable(code: bytes) -> int:
    """Map code as executable: never writable and executable at once, and coherent with instruction caches. Raises
    OSError.
    """
    return _map(code, mmap.PROT_READ | mmap.PROT_EXEC)


def with_numbers(code: bytes) -> int:
    """The address of a copy of code, which is not executable yet, behind NUMBERS bytes of 0. Raises OSError."""
    return _map(bytes(NUMBERS) + code, mmap.PROT_READ | mmap.PROT_WRITE) + NUMBERS


def _map(content: bytes, protection: int) -> int:
    with open(os.memfd_create("relink-emu code"), "wb") as file:
        file.write(content)
        file.flush()
        mapping = mmap.mmap(file.fileno(), len(content), mmap.MAP_PRIVATE, protection)
    # Mapped until the process ends: engines that are freed after the modules of Python still run it.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(mapping))
    code: U8 = np.frombuffer(mapping, np.uint8)
    return int(code.ctypes.data)

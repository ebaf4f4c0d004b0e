"""An engine with one page of memory, for tests that find where Unicorn keeps a part of its state."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from emu.cpu.pages import PAGE_SIZE
from emu.cpu.protocol import Protection
from emu.cpu.unicorn import api
from emu.cpu.unicorn.isas import ISAS
from relink.arrays import U8

_ALL = Protection.R | Protection.W | Protection.X


@contextmanager
def one_page(arch: str, address: int) -> Iterator[tuple[ctypes.c_void_p, U8]]:
    """The engine of an ISA, and the bytes (uint8[4096]) of its page at a guest address, with all permissions. The
    engine is closed at the end of the block. Raises UnicornError.
    """
    handle = api.open_engine(arch, ISAS[arch])
    room = np.zeros(2 * PAGE_SIZE, np.uint8)
    page = room[-room.ctypes.data % PAGE_SIZE :][:PAGE_SIZE]
    try:
        host = ctypes.c_void_p(page.ctypes.data)
        api.check(api.uclib.uc_mem_map_ptr(handle, address, PAGE_SIZE, api.PROTECTION[_ALL], host), "map memory")
        yield handle, page
    finally:
        api.uclib.uc_close(handle)


def run_bytes(handle: ctypes.c_void_p, begin: int, size: int, what: str) -> None:
    """Run from `begin` to the end of `size` bytes of code. Raises UnicornError, which names `what`."""
    span = ctypes.c_uint64(begin), ctypes.c_uint64(begin + size)
    api.check(api.emu_start(handle, *span, api.NO_TIMEOUT, api.NO_COUNT), what)

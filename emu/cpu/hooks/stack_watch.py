"""Stopping Unicorn before a block whose x87 instructions would fault on the stack, by machine code
(`native/stack_watch.c`).

It takes the place of the hook of `emu.cpu.hooks.stop_hook`, which it calls in the end. A block has a row in a
table that says which of the stack's registers it reads, and which it pushes onto; 65,536 bits, by the lowest bits
of the address, say of most other blocks that they have none. (A hook per instruction would do, but each that
Unicorn has slows down all the others.)
"""

from __future__ import annotations

import ctypes
from typing import Any, Final

import numpy as np

from emu.cpu.hooks.host_code import host_function
from emu.cpu.hooks.stop_hook import MULTIPLIER, PLACE_SHIFT, StopRequest
from emu.cpu.misrun import StackNeeds

_ROW: Final = np.dtype([("address", "<u8"), ("full", "<u4"), ("empty", "<u4")])
_BITS: Final = 1 << 16
_FEWEST: Final = 256


class _Watch(ctypes.Structure):
    _fields_ = (
        ("read", ctypes.c_void_p),  #: the address of uc_reg_read_batch
        ("registers", ctypes.c_int32 * 2),  #: the status word and the tags
        ("places", ctypes.c_void_p * 2),
        ("values", ctypes.c_uint64 * 2),
        ("mask", ctypes.c_uint64),  #: the number of rows less 1
        ("rows", ctypes.c_void_p),
        ("bits", ctypes.c_void_p),
    )


class StackWatch:
    """The blocks of one engine. `request` is its data of the hook; `read` the address of uc_reg_read_batch,
    `registers` Unicorn's numbers of the status word and the tags.
    """

    def __init__(self, request: StopRequest, read: ctypes.c_void_p, registers: tuple[int, int]) -> None:
        self._request, self._needs = request, dict[int, StackNeeds]()
        self._data = _Watch(read=read, registers=registers)
        values = ctypes.addressof(self._data) + _Watch.values.offset
        self._data.places[:] = values, values + 8
        self._bits: Any = None

    def add(self, address: int, needs: StackNeeds) -> None:
        """Stop before the block at an address, unless these hold."""
        known = self._needs.get(address)
        if known is not None:
            needs = StackNeeds(known.full | needs.full, known.empty | needs.empty)
        self._set(address, needs)

    def remove(self, address: int) -> None:
        """Stop before this block no more."""
        if address in self._needs:
            self._set(address, StackNeeds(0, 0))

    def _set(self, address: int, needs: StackNeeds) -> None:
        if self._bits is None:
            bits, watch = np.zeros(_BITS // 8, np.uint8), ctypes.addressof(self._data)
            self._data.bits = bits.ctypes.data
            self._enlarge(_FEWEST)
            self._bits, self._request.watch = bits, watch  # last: a signal handler may raise anywhere before
        self._needs[address] = needs
        self._bits[address >> 3 & _BITS // 8 - 1] |= 1 << (address & 7)
        if 2 * len(self._needs) > len(self._rows):
            self._enlarge(2 * len(self._rows))
        else:
            self._put(address, needs)

    def _enlarge(self, count: int) -> None:
        rows = np.zeros(count, _ROW)
        place = int(rows.ctypes.data)
        # Without a call from here on: the hook never reads rows that are freed, whatever a signal handler raises.
        self._rows, self._data.rows, self._data.mask = rows, place, count - 1
        for address, needs in self._needs.items():
            self._put(address, needs)

    def _put(self, address: int, needs: StackNeeds) -> None:
        at = (address * MULTIPLIER & (1 << 64) - 1) >> PLACE_SHIFT
        while self._rows[at & self._data.mask]["address"] not in (0, address):
            at += 1
        self._rows[at & self._data.mask] = address, needs.full, needs.empty


def stack_hook(next_hook: int, request: StopRequest) -> int | None:
    """The address of the hook; `next_hook` is the one it calls, with the same data."""
    request.next = next_hook
    return host_function("stack_watch.hook")

"""Noting events of Unicorn and stopping it at chosen places, by machine code (`native/events.c`).

Each hook takes one to five nanoseconds, and has its data in a structure. A
stop is a call of `uc_emu_stop` in a hook before a block or an instruction, which is exact. Rows are written before
the block (or instruction) runs; when the log is full the hook stops the engine instead, and is called again for
the same block when the run continues.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Collection
from itertools import pairwise
from typing import Final

import numpy as np

from emu.cpu.hooks.host_code import host_function
from emu.cpu.hooks.stop_hook import MULTIPLIER, PLACE_SHIFT
from relink.arrays import U64
from relink.errors import MachineError

#: Hooks for breakpoints: with more of them, each hook covers a range with several.
MOST_HOOKS: Final = 64

_NOWHERE: Final = (1 << 64) - 1
_GONE: Final = 1  #: in a table of places where one has been: the complement of an address that is none of code


def event_hook(name: str) -> int:
    """The address of a function of `native/events.c`. Raises MachineError on hosts that have none."""
    address = host_function(f"events.{name}")
    if address is None:
        raise MachineError(f"events cannot be reported exactly on this host ({platform.machine()})")
    return address


class Places(ctypes.Structure):
    """The data of `place`: a set of addresses, as a table with open addressing and linear probing."""

    _fields_ = (
        ("skip", ctypes.c_uint64),  #: the hook lets this address pass once, and forgets it
        ("stopped", ctypes.c_int32),  #: set when the hook has stopped the engine
        ("stop", ctypes.c_void_p),  #: the address of uc_emu_stop
        ("table", ctypes.c_void_p),  #: of complements of addresses; 0: unused
        ("mask", ctypes.c_uint64),  #: the table's size in bytes less 8
        ("multiplier", ctypes.c_uint64),
        ("hit", ctypes.c_uint64),  #: where it has stopped
    )

    skip: int
    stopped: int
    hit: int
    table: int | None
    mask: int

    def fill(self, addresses: Collection[int]) -> None:
        """Make the set that of `addresses`."""
        size, used = 16, len(addresses)
        while size < 4 * used:
            size *= 2
        words = np.zeros(size, np.uint64)
        for address in addresses:
            words[_place(words, address, 0)] = address ^ _NOWHERE
        table = int(words.ctypes.data)
        # Without a call from here on: the hook never reads words that are freed, whatever a signal handler raises.
        self._words = words
        self._used = used  #: words in use, with those of addresses that have gone
        self.table, self.mask, self.multiplier = table, 8 * size - 8, MULTIPLIER
        self.skip = _NOWHERE

    def update(self, address: int, addresses: Collection[int]) -> None:
        """Make the set that of `addresses`, to which one has been added or from which it has been removed."""
        if self.table is None:
            self.fill(addresses)
            return
        place = _place(self._words, address, address ^ _NOWHERE)
        if address not in addresses:
            if self._words[place]:
                self._words[place] = _GONE
        elif not self._words[place]:
            if 2 * self._used >= len(self._words):
                self.fill(addresses)
                return
            self._used += 1
            self._words[place] = address ^ _NOWHERE


def _place(words: U64, address: int, word: int) -> int:
    """The index of the first word in the row of an address that is free or `word`."""
    last = len(words) - 1
    place = (address * MULTIPLIER & _NOWHERE) >> PLACE_SHIFT + 3 & last
    while (there := int(words[place])) and there != word:
        place = place + 1 & last
    return place


class Log(ctypes.Structure):
    """The data of `log`, `new_block`, `access` and `edge`: a buffer of rows."""

    _fields_ = (
        ("next", ctypes.c_void_p),  #: where the next row goes
        ("stopped", ctypes.c_int32),  #: set when the hook has stopped the engine because the log is full
        ("stop", ctypes.c_void_p),
        ("end", ctypes.c_void_p),  #: end of the buffer
        ("before", ctypes.c_uint64),  #: `edge`: the end of the block before; 0: none
        ("multiplier", ctypes.c_uint64),
        ("table", ctypes.c_void_p),  #: `edge`: 65536 pairs
        ("start", ctypes.c_uint64),  #: `edge`: that of the block that ends at `before`
        ("former", ctypes.c_uint64),  #: `edge`: the end of the block before that one; 0: none
    )

    next: int
    stopped: int
    before: int
    table: int
    start: int
    former: int

    def prepare(self, rows: int, columns: int, *, pairs: bool = False) -> None:
        """Allocate the buffer, with some spare rows behind its end; `pairs`: with the table of `edge`."""
        self._rows: U64 = np.zeros((rows + 64, columns), np.uint64)
        self._width = 8 * columns
        self._start = self.next = int(self._rows.ctypes.data)
        self.end = self._start + self._width * rows
        self.multiplier = MULTIPLIER
        if pairs:
            self._pairs = np.full((1 << 16, 2), _NOWHERE, np.uint64)
            self.table = int(self._pairs.ctypes.data)

    def __len__(self) -> int:
        return int(self.next - self._start) // self._width

    @property
    def full(self) -> bool:
        return bool(self.next >= self.end)

    def last(self) -> tuple[int, ...] | None:
        """The last row."""
        return tuple(self._rows[len(self) - 1].tolist()) if len(self) else None

    def drop_last(self) -> None:
        self.next -= self._width

    def change_last(self, column: int, value: int) -> None:
        self._rows[len(self) - 1, column] = value

    def leave_block(self, pc: int) -> None:
        """`edge`: the block begun last has been left before its instruction at `pc`."""
        if self.start <= pc < self.before:
            self.before = self.former if pc == self.start else pc

    def append(self, *row: int) -> None:
        """Add a row; there are spare ones when the log is full."""
        self._rows[len(self)] = row
        self.next += self._width

    def take(self) -> U64:
        """A copy of the rows, which are then forgotten."""
        rows = self._rows[: len(self)].copy()
        self.next, self.stopped = self._start, 0
        return rows


def ranges(addresses: Collection[int]) -> list[tuple[int, int]]:
    """At most MOST_HOOKS ranges (first, last) that cover the addresses, with the widest gaps between them."""
    places = sorted(addresses)
    if len(places) <= MOST_HOOKS:
        return [(place, place) for place in places]
    by_gap = sorted(range(1, len(places)), key=lambda index: places[index] - places[index - 1])
    cuts = sorted(by_gap[-(MOST_HOOKS - 1) :])
    return [(places[low], places[high - 1]) for low, high in pairwise([0, *cuts, len(places)])]

"""Jump slots bound at their first calls inside the engine: the hook of `emu.cpu.hooks.first_call_hook`."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

from emu.cpu.hooks.first_call_hook import MONOTONIC, FirstCallBlock, FirstCallData, NotedCall, first_call_hook
from emu.cpu.hooks.linkage import address, libc
from emu.cpu.unicorn import api
from emu.cpu.unicorn.api import uc
from emu.cpu.unicorn.bad_stores import key_of_threads, leaving_function
from emu.cpu.unicorn.isas import UnicornIsa
from relink.arrays import U64

_MOST = 1024  #: calls that are noted until somebody asks for them
_LINKS = {"ARM64": "x30", "ARM": "lr", "RISCV": "ra"}  #: the register of the return address, by Unicorn's engine


class UnicornFirstCalls:
    """The `FirstCalls` of a UnicornCpu."""

    @classmethod
    def of(
        cls,
        handle: ctypes.c_void_p,
        slots: api.RegisterSlots,
        isa: UnicornIsa,
        traps: tuple[int, int],
        kept: list[Any],
    ) -> UnicornFirstCalls | None:
        """Install the hook for the traps in [start, end); None on hosts without it. What is added to `kept` lives
        as long as the engine.
        """
        hook, key = first_call_hook(), key_of_threads()
        if hook is None or key is None:
            return None
        made = cls(_data(slots, isa, key))
        kept.append(made)
        callback, data = ctypes.c_void_p(hook), ctypes.byref(made._data)
        place = traps[0], traps[1] - 1
        api.add_hook(handle, uc.UC_HOOK_MEM_FETCH_UNMAPPED, callback, data, place=place)
        return made

    def __init__(self, data: FirstCallData) -> None:
        self._data = data
        self._calls = (NotedCall * _MOST)()
        self._blocks: dict[int, tuple[U64, U64]] = {}
        self._listed: Any = None  #: the list that the hook reads, and the arrays in it
        data.calls, data.most = ctypes.addressof(self._calls), _MOST

    def prepare(self, start: int, answers: U64, places: U64) -> None:
        """See `FirstCalls`."""
        self._blocks = self._blocks | {start: (answers, places)}
        self._list()

    def forget(self, start: int) -> None:
        """See `FirstCalls`."""
        if start in self._blocks:
            self._data.blocks = 0  # first: a signal handler may raise anywhere
            self._blocks = {each: some for each, some in self._blocks.items() if each != start}
            self._list()

    def _list(self) -> None:
        """The last one prepared comes first."""
        listed = None
        while listed is not self._blocks:  # else a signal handler has changed them
            listed = self._blocks
            blocks = reversed(listed.items())
            rows = [(start, len(some[0]), some[0].ctypes.data, some[1].ctypes.data) for start, some in blocks]
            table = (FirstCallBlock * len(rows))(*(FirstCallBlock(*row) for row in rows))
            place, count = ctypes.addressof(table), len(rows)
            if listed is self._blocks:  # without a call from here on: the hook reads no array that is freed
                self._data.blocks = 0
                self._listed = table, listed
                self._data.block, self._data.blocks = place, count

    def open(self) -> None:
        """See `FirstCalls`."""
        self._data.open = 1

    def close(self) -> None:
        """See `FirstCalls`."""
        self._data.open = 0

    def end(self) -> None:
        """Have all traps stop the engine, for good."""
        self._data.most = 0

    @property
    def count(self) -> int:
        """See `FirstCalls`."""
        return self._data.count

    @property
    def waiting(self) -> bool:
        """See `FirstCalls`."""
        return self._data.taken < self._data.count

    def noted(self) -> Iterator[tuple[int, int, int, float]]:
        """See `FirstCalls`."""
        data = self._data
        while (number := data.taken) < data.count:
            call = self._calls[number % _MOST]
            yield call.trap, call.back, call.target, call.seconds + call.nanoseconds / 1e9
            data.taken = max(data.taken, number + 1)  # in between, a signal handler may have taken more

    def clear(self) -> None:
        """See `FirstCalls`."""
        self._data.taken = self._data.count


def _data(slots: api.RegisterSlots, isa: UnicornIsa, key: int) -> FirstCallData:
    link = _LINKS.get(isa.engine)
    functions = ("uc_reg_read", "uc_reg_write_batch", "uc_mem_read", "uc_mem_write")
    return FirstCallData(
        0, 0, 0, 0, 0, 0, 0,
        *(address(api.uclib, name) for name in functions),
        *(address(libc(), name) for name in ("clock_gettime", "pthread_setspecific")),
        leaving_function(isa.engine, isa.mode),
        key,
        isa.word,
        slots["pc"][0],
        -1 if link is None else slots[link][0],
        slots["sp"][0],
        MONOTONIC,
    )  # fmt: skip

"""Stopping before an instruction inside a block without translating the block anew.

A limit inside a block (`emu.cpu.hooks.meter`) is reached by translating the block again, with its end there, and
once more whole: tens of microseconds. CPUs with devices are interrupted often and in the same places, so here the
instruction gets a hook (the one of `emu.cpu.hooks.stop_hook`), which stays; later stops there cost nothing. In
short runs the hook before blocks itself arms the one inside (`cuts`), so that the engine stops once only.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Final, cast

import numpy as np

from emu.cpu.hooks.awkward_places import it_start
from emu.cpu.hooks.stop_hook import CUT_SHIFT, CUTS, MULTIPLIER, PLACE_SHIFT, StopRequest

#: Each hook is called whenever its instruction runs.
_MOST: Final = 64
_WORD: Final = (1 << 64) - 1


class LimitHooks:
    """The hooks of one engine. `add(address)` makes one; `drop(low, high)` has code translated again."""

    def __init__(
        self,
        add: Callable[[int], StopRequest],
        drop: Callable[[int, int], object],
        read: Callable[[int, int], bytes],
    ) -> None:
        self._add, self._drop, self._read = add, drop, read
        self._hooks: dict[int, StopRequest] = {}
        self._blocks: set[tuple[int, int]] = set()  #: (block, address) translated with the hook
        #: What `request` said, by the block and the budget there.
        self.known: dict[tuple[int, int], StopRequest] = {}
        self.armed: dict[int, StopRequest] = {}  #: the requests by their addresses
        self._words = np.zeros(4 * CUTS, np.uint64)  #: of `StopRequest.cuts`
        self._table = memoryview(cast(Any, self._words))
        self.cuts = int(self._words.ctypes.data)
        self._checked: dict[int, bool] = {}  #: address -> whether a hook stops before it

    def code_changed(self) -> None:
        """There may be other instructions now."""
        self._checked.clear()
        self._forget()

    def disarm(self) -> None:
        """The run in which one was to stop the engine is over."""
        for request in self._hooks.values():
            request.left = request.stopped = 0

    def _forget(self) -> None:
        self.known.clear()
        self._words[:] = 0

    def know(self, block: int, budget: int, request: StopRequest, address: int = 0) -> None:
        """From now on `request` is armed when the engine comes to `block` with this budget. `address`: where the
        hook finds it, if not there.
        """
        if len(self.known) >= CUTS // 2:
            self._forget()
        self.known[block, budget] = request
        address = address or ctypes.addressof(request)
        self.armed[address] = request
        place = ((block + (budget << CUT_SHIFT)) * MULTIPLIER & _WORD) >> PLACE_SHIFT >> 5
        while self._table[4 * (place := place % CUTS) + 2]:
            place += 1
        self._table[4 * place], self._table[4 * place + 1], self._table[4 * place + 2] = block, budget, address

    def request(self, block: int, size: int, address: int, thumb: bool) -> StopRequest | None:
        """The request that stops the engine before the instruction at `address` in a block; None: there is no hook
        and will be none.
        """
        stops = self._checked.get(address)
        if stops is None:
            stops = self._checked[address] = not (thumb and it_start(address, self._read) is not None)
        hook = self._hooks.get(address)
        if not stops or (hook is None and len(self._hooks) >= _MOST):
            return None
        if hook is None:
            hook = self._hooks[address] = self._add(address)
        if (block, address) not in self._blocks:
            self._blocks.add((block, address))
            self._drop(block, block + size)
        return hook

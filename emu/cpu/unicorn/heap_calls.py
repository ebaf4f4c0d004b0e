"""malloc and free inside the engine: the hooks of `emu.cpu.hooks.heap_hook`."""

from __future__ import annotations

import ctypes
from typing import Any

from emu.cpu.hooks.heap_hook import BlockArrays, Blocks, HeapCall, HeapFunction, heap_hook
from emu.cpu.unicorn import api
from emu.cpu.unicorn.api import uc


class UnicornHeapCalls:
    """The `HeapCalls` of a UnicornCpu."""

    def __init__(self, handle: ctypes.c_void_p, slots: api.RegisterSlots, kept: list[Any]) -> None:
        """What is added to `kept` lives as long as the engine."""
        self._handle, self._slots, self._kept = handle, slots, kept
        self._hooks: dict[int, ctypes.c_size_t] = {}  #: by address
        self._arrays: BlockArrays | None = None
        self._pausing: set[object] = set()  #: owners

    def has(self, address: int) -> bool:
        """See `HeapCalls`."""
        return address in self._hooks

    def add(self, address: int, function: HeapFunction, blocks: Blocks, argument: str, result: str) -> None:
        """See `HeapCalls`."""
        code = heap_hook(function)
        if code is None:
            return
        arrays = self._arrays = blocks.arrays
        arrays.paused = 1 if self._pausing else 0
        numbers = self._slots[argument][0], self._slots[result][0]
        call = HeapCall(ctypes.addressof(arrays), api.REG_READ.value, api.REG_WRITE.value, *numbers)
        self._kept.append((call, arrays))
        callback, place = ctypes.c_void_p(code), (address, address)
        hook = api.add_hook(self._handle, uc.UC_HOOK_CODE, callback, ctypes.byref(call), place=place)
        self._hooks[address] = hook
        api.control(self._handle, uc.UC_CTL_TB_REMOVE_CACHE, address, address + 1)

    def unmapped(self, low: int, high: int) -> None:
        """Remove the hooks in [low, high), where there may be other code afterwards."""
        for address in [address for address in self._hooks if low <= address < high]:
            api.check(api.uclib.uc_hook_del(self._handle, self._hooks.pop(address)), "remove a hook")

    def pause(self, owner: object, wanted: bool) -> None:
        """See `HeapCalls`."""
        self._pausing = self._pausing | {owner} if wanted else self._pausing - {owner}
        if self._arrays is not None:
            self._arrays.paused = 1 if self._pausing else 0

"""The engine's interface for `emu.cpu.hooks.inspector` and `emu.cpu.hooks.meter`."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from typing import Any, Final

from emu.cpu.hooks.guard_hook import GuardData, exponent_hook, formatted, guard_hook, upper_hook
from emu.cpu.hooks.screen import NOWHERE, Screen, Tables, screen_hook
from emu.cpu.hooks.stop_hook import StopRequest
from emu.cpu.misrun import Guard, MmxExponent, SignallingNan, UpperHalf
from emu.cpu.unicorn.api import (
    MEM_READ,
    REG_READ,
    add_hook,
    check,
    control,
    register_number,
    stop_request,
    uc,
    uclib,
)


class _Block(ctypes.Structure):
    """uc_tb."""

    _fields_ = (("pc", ctypes.c_uint64), ("icount", ctypes.c_uint16), ("size", ctypes.c_uint16))


_GUARDING: Final[Mapping[type[Guard], Callable[[], int | None]]] = {
    SignallingNan: guard_hook,
    MmxExponent: exponent_hook,
    UpperHalf: upper_hook,
}


class Watched:
    """One engine's hooks for these; `hook` is that of `emu.cpu.hooks.stop_hook`, `look` its request. New blocks
    that pass by `tables` do not stop the engine (`emu.cpu.hooks.screen`).
    """

    _request = ctypes.c_int(uc.UC_CTL_TB_REQUEST_CACHE | 2 << 26 | uc.UC_CTL_IO_READ_WRITE << 30)

    def __init__(
        self,
        handle: ctypes.c_void_p,
        hook: int,
        slots: Mapping[str, tuple[int, Any, Any]],
        look: StopRequest,
        tables: Tables | None = None,
    ) -> None:
        self._handle, self._hook, self._slots = handle, ctypes.c_void_p(hook), slots
        self._guards: dict[int, GuardData] = {}  #: of the last hook at an address
        self._kept: list[GuardData] = []  #: of all hooks, which are never removed
        self._never, self._block = StopRequest(), _Block()
        self.edges, self.instructions, self.inexact = stop_request(), stop_request(), stop_request()
        self._hooked: Callable[[int], None] | None = None  #: told of each hook of an instruction
        self.screen: Screen | None = None
        screening = None if tables is None else screen_hook()
        if tables is None or screening is None:
            add_hook(handle, uc.UC_HOOK_EDGE_GENERATED, self._hook, ctypes.byref(self.edges))
        else:
            self.screen = Screen.of(tables, self.edges, look, MEM_READ.value)
            add_hook(handle, uc.UC_HOOK_EDGE_GENERATED, ctypes.c_void_p(screening), ctypes.byref(self.screen))

    def stop_at_all(self) -> None:
        """From now on, have no new block pass without stopping the engine."""
        if self.screen is not None:
            self.screen.most = 0

    def observed_by(self, hooked: Callable[[int], None]) -> None:
        """From now on `hooked(address)` is called for each instruction that gets a hook, and each new block stops
        the engine.
        """
        self.stop_at_all()
        self._hooked = hooked

    def stopped(self) -> bool:
        """Whether any of the requests has stopped the engine."""
        return bool(self.edges.stopped or self.instructions.stopped or self.inexact.stopped)

    def forget(self) -> None:
        """Clear the requests' results."""
        if self.screen is not None:
            self.screen.begin = NOWHERE
        self.edges.stopped = self.instructions.stopped = self.inexact.stopped = 0

    def hook_instruction(self, address: int, request: StopRequest, guard: Guard | None = None) -> None:
        hook, data = self._hook, ctypes.byref(request)
        if address in self._guards:  # two hooks would count each instruction twice
            self._guards[address].request = ctypes.addressof(self._never)
        if guard is not None and (guarding := _GUARDING[type(guard)]()) is not None:
            self._guards[address] = place = self._guard_data(guard, request)
            self._kept += [place]
            hook, data = ctypes.c_void_p(guarding), ctypes.byref(place)
        add_hook(self._handle, uc.UC_HOOK_CODE, hook, data, place=(address, address))
        if self._hooked is not None:
            self._hooked(address)

    def _guard_data(self, guard: Guard, request: StopRequest) -> GuardData:
        place = GuardData(request=ctypes.addressof(request), read=REG_READ)
        if isinstance(guard, MmxExponent):
            place.registers[0] = register_number("x86", f"FP{guard.number}")
            return place
        if isinstance(guard, UpperHalf):
            names = (guard.register, guard.zero or guard.register)
            place.registers[:] = [self._slots[name][0] for name in names]
            place.quiet = 0 if guard.zero is None else 0xFFFF_FFFF
            return place
        place.registers[:] = [self._slots[name][0] for name in guard.registers]
        return formatted(place, guard.double)

    def block_size(self, pc: int) -> int:
        return self.block(pc)[1]

    def block(self, pc: int) -> tuple[int, int]:
        """(instructions, bytes) of the block at `pc`, translated if necessary. Raises UnicornError."""
        block = self._block
        status = uclib.uc_ctl(self._handle, self._request, ctypes.c_uint64(pc), ctypes.byref(block))
        check(status, "look at a block")
        return int(block.icount), int(block.size)

    def drop(self, low: int, high: int) -> None:
        control(self._handle, uc.UC_CTL_TB_REMOVE_CACHE, low, high)

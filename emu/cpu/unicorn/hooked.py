"""The part of a UnicornCpu that its events use."""

from __future__ import annotations

import ctypes
from typing import Protocol

from emu.cpu.observed_cpu import ObservedCpu
from emu.cpu.protocol import Protection
from emu.cpu.unicorn import api


class HookedCpu(ObservedCpu, Protocol):
    """The part of a UnicornCpu that its events use."""

    arch: str
    stops_at_blocks: bool  #: see `DeviceCpu`

    @property
    def in_access(self) -> bool:
        """See `DeviceCpu`."""

    def pause(self) -> None: ...

    @property
    def handle(self) -> ctypes.c_void_p: ...
    @property
    def seen(self) -> api.Seen: ...

    def drop_translations(self, low: int, high: int) -> None: ...

    def engine_protection(self, page: int, protection: Protection) -> Protection:
        """The part of a page's permissions that the engine may have."""

    def drop_all_translations(self) -> None: ...
    def record_all_faults(self, wanted: bool) -> None: ...
    def state_bit(self) -> int:
        """Arm: 1 in Thumb state."""

    def write_register(self, name: str, value: int) -> None: ...

"""Boards: machines without an operating system. See docs/boards.md and `emu.boards.board`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emu.boards.board import Board, Ended
    from emu.boards.cortex_m import CortexM
    from emu.boards.device import Device
    from emu.boards.errors import (
        BoardError,
        Deadlock,
        DeviceError,
        FirmwareError,
        Lockup,
        MemoryMapError,
        NotModelled,
        PlaceLost,
    )
    from emu.boards.i386 import I386
    from emu.boards.mapping import map_flash
    from emu.boards.memory_map import FlashMemory, Ram, Region, Rom
    from emu.boards.power import Cut, Exploration, Outcome, PowerCuts, Progress, Sweep, Trouble, Workers
    from emu.boards.registers import Field, Register

_HOMES = {
    "board": ("Board", "Ended"),
    "cortex_m": ("CortexM",),
    "device": ("Device",),
    "errors": (
        "BoardError",
        "Deadlock",
        "DeviceError",
        "FirmwareError",
        "Lockup",
        "MemoryMapError",
        "NotModelled",
        "PlaceLost",
    ),
    "i386": ("I386",),
    "memory_map": ("FlashMemory", "Ram", "Region", "Rom"),
    "mapping": ("map_flash",),
    "power": ("Cut", "Exploration", "Outcome", "PowerCuts", "Progress", "Sweep", "Trouble", "Workers"),
    "registers": ("Field", "Register"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "I386",
    "Board",
    "BoardError",
    "CortexM",
    "Cut",
    "Deadlock",
    "Device",
    "DeviceError",
    "Ended",
    "Exploration",
    "Field",
    "FirmwareError",
    "FlashMemory",
    "Lockup",
    "MemoryMapError",
    "NotModelled",
    "Outcome",
    "PlaceLost",
    "PowerCuts",
    "Progress",
    "Ram",
    "Region",
    "Register",
    "Rom",
    "Sweep",
    "Trouble",
    "Workers",
    "map_flash",
]  # fmt: skip


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        home = _HOME_OF.get(name)
        if home is None:
            raise AttributeError(name)
        from importlib import import_module

        return getattr(import_module(f"emu.boards.{home}"), name)

"""The emulated machine: runs the images that `relink` links.

    from emu import Machine

    with Machine("riscv64") as machine:
        library = machine.load("lib.so", symbols={"my_host_function": lambda value: value * 2})
        library.function("awesome_func", "int(int)")(42)

`emu.machine` is an overview of a machine's operations, docs/architecture.md of its parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emu.boards.flash import (
        Eeprom,
        Flash,
        FlashError,
        FlashEvent,
        FlashGeometryError,
        FlashState,
        FlashStatus,
        NandFlash,
        NorFlash,
        SectorMap,
    )
    from emu.calls.varargs import VaList, VarArgs
    from emu.cpu.protocol import StopReason
    from emu.errors import (
        AlreadyPatched,
        AssemblerMissing,
        AssemblyError,
        BadGuestPointer,
        BudgetExceeded,
        CallAbandoned,
        CallError,
        ConstructorFault,
        DebuggerKilled,
        ForeignObject,
        Frame,
        FunctionTooShort,
        FuzzError,
        GuestAbort,
        GuestExit,
        GuestFault,
        HandleOutlived,
        PatchError,
        SnapshotError,
        SnapshotFileError,
        StackExhausted,
        StaticFunctionWarning,
        SwapRefused,
        UnresolvedCall,
    )
    from emu.handles import Function, Variable
    from emu.host.functions import HostFunction
    from emu.libc import CaptureStream
    from emu.library import Library, PendingLibrary
    from emu.linux.personality import Linux
    from emu.linux.process import Process
    from emu.load.lazy_binding import FirstCall
    from emu.load.options import AdoptKeywords, LoadKeywords, StartKeywords, SwapKeywords
    from emu.machine import Machine
    from emu.parts import Parts
    from emu.patch.functions import Patch
    from emu.patch.imports import Redirection
    from emu.patch.swap import Swapped
    from emu.personality import Personality, Program
    from emu.run.threads import Thread
    from emu.snapshot import Snapshot

__all__ = [
    "AdoptKeywords",
    "AlreadyPatched",
    "AssemblerMissing",
    "AssemblyError",
    "BadGuestPointer",
    "BudgetExceeded",
    "CallAbandoned",
    "CallError",
    "CaptureStream",
    "ConstructorFault", "DebuggerKilled",
    "Eeprom",
    "FirstCall",
    "Flash",
    "FlashError",
    "FlashEvent",
    "FlashGeometryError",
    "FlashState",
    "FlashStatus",
    "ForeignObject",
    "Frame",
    "Function",
    "FunctionTooShort",
    "FuzzError",
    "GuestAbort",
    "GuestExit",
    "GuestFault",
    "HandleOutlived",
    "HostFunction",
    "Library",
    "Linux",
    "LoadKeywords",
    "Machine",
    "NandFlash",
    "NorFlash",
    "Parts",
    "Patch",
    "PatchError",
    "PendingLibrary",
    "Personality",
    "Process",
    "Program",
    "Redirection",
    "SectorMap",
    "Snapshot",
    "SnapshotError",
    "SnapshotFileError",
    "StackExhausted",
    "StartKeywords",
    "StaticFunctionWarning",
    "StopReason",
    "SwapKeywords",
    "SwapRefused",
    "Swapped",
    "Thread",
    "UnresolvedCall",
    "VaList",
    "VarArgs",
    "Variable",
]  # fmt: skip

#: Module -> the names imported from it. Names in `__all__` that are not listed here are in `emu.errors`.
_HOMES = {
    "boards.flash": (
        "Eeprom",
        "Flash",
        "FlashError",
        "FlashEvent",
        "FlashGeometryError",
        "FlashState",
        "FlashStatus",
        "NandFlash",
        "NorFlash",
        "SectorMap",
    ),
    "calls.varargs": ("VaList", "VarArgs"),
    "cpu.protocol": ("StopReason",),
    "host.functions": ("HostFunction",),
    "libc": ("CaptureStream",),
    "library": ("Library", "PendingLibrary"),
    "handles": ("Function", "Variable"),
    "linux.personality": ("Linux",),
    "linux.process": ("Process",),
    "load.lazy_binding": ("FirstCall",),
    "load.options": ("AdoptKeywords", "LoadKeywords", "StartKeywords", "SwapKeywords"),
    "machine": ("Machine",),
    "parts": ("Parts",),
    "patch.functions": ("Patch",),
    "patch.imports": ("Redirection",),
    "patch.swap": ("Swapped",),
    "personality": ("Personality", "Program"),
    "run.threads": ("Thread",),
    "snapshot": ("Snapshot",),
}


if not TYPE_CHECKING:  # or a misspelt name would be an object to type checkers

    def __getattr__(name: str) -> object:
        """Import the names above on first access: `relink-emu --help` needs no machine (PEP 562)."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        home = next((module for module, names in _HOMES.items() if name in names), "errors")
        value: object = getattr(import_module(f"emu.{home}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

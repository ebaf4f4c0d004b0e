"""The linker: knows ELF and memory, never a CPU.

    from relink import HostMemory, Linker

    linker = Linker(HostMemory("aarch64"))
    image = linker.load("plugin.so")
    linker.memory.read(image.symbol("table").address, 8)

All that is documented is imported from here. `relink.linker` is the tour; an ISA is one page in `relink/arch`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relink.arch import ARCHITECTURES, Architecture, architecture
from relink.elf import decode
from relink.errors import RelinkError
from relink.image import Image, Symbol
from relink.linker import Linker, LoadOptions, Policy
from relink.memory.address_space import AddressSpace, HostMemory, Protection, Region
from relink.search.search_path import SearchPath

if TYPE_CHECKING:
    from relink.arch import Role
    from relink.core_dump import CoreDump
    from relink.elf import decode_memory
    from relink.errors import (
        AddressSpaceError,
        DebugInfoError,
        DuplicateSymbol,
        ElfError,
        GuestAccessError,
        LibraryNotFound,
        LinkError,
        LinkErrors,
        LoadOrderError,
        LoadRolledBack,
        MachineError,
        MalformedElf,
        NotElf,
        RelocationError,
        RelocationOutOfImage,
        RelocationOverflow,
        RelocationVetoed,
        TlsError,
        Truncated,
        UnknownRelocation,
        UnresolvedSymbol,
        UnsupportedElf,
        UnsupportedRelocation,
        UseAfterUnload,
        VersionNotFound,
    )
    from relink.events import (
        DestructorDone,
        DestructorStarting,
        Event,
        IfuncResolved,
        ImageClosed,
        ImageLoaded,
        ImageMapped,
        ImageOpened,
        ImageRelocated,
        InitialiserDone,
        InitialiserStarting,
        LoadFailed,
        Observer,
        RelocationsApplied,
        SegmentMapped,
        SymbolBound,
        SymbolsBound,
        TlsAssigned,
        on,
    )
    from relink.link_map import GotSlot, LinkMap
    from relink.load.load import Load
    from relink.load.phases import Phase
    from relink.load.plan import Plan
    from relink.relocate.handlers import Entries, RelocationHandler
    from relink.relocate.lazy import BindMode
    from relink.resolve.reference_kind import ReferenceKind
    from relink.resolve.sources import SymbolRequest, ThreadLocal
    from relink.search.scan import Scan, ScannedLibrary

__all__ = [
    "ARCHITECTURES", "AddressSpace", "AddressSpaceError", "Architecture", "BindMode", "CoreDump",
    "DebugInfoError", "DestructorDone", "DestructorStarting", "DuplicateSymbol", "ElfError", "Entries",
    "Event", "GotSlot", "GuestAccessError", "HostMemory", "IfuncResolved", "Image", "ImageClosed",
    "ImageLoaded", "ImageMapped", "ImageOpened", "ImageRelocated", "InitialiserDone", "InitialiserStarting",
    "LibraryNotFound", "LinkError", "LinkErrors", "LinkMap", "Linker", "Load", "LoadFailed", "LoadOptions",
    "LoadOrderError", "LoadRolledBack", "MachineError", "MalformedElf", "NotElf", "Observer", "Phase",
    "Plan", "Policy", "Protection", "ReferenceKind", "Region", "RelinkError", "RelocationError",
    "RelocationHandler", "RelocationOutOfImage", "RelocationOverflow", "RelocationVetoed",
    "RelocationsApplied", "Role", "Scan", "ScannedLibrary", "SearchPath", "SegmentMapped", "Symbol",
    "SymbolBound", "SymbolRequest", "SymbolsBound", "ThreadLocal", "TlsAssigned", "TlsError", "Truncated",
    "UnknownRelocation", "UnresolvedSymbol", "UnsupportedElf", "UnsupportedRelocation", "UseAfterUnload",
    "VersionNotFound", "architecture", "decode", "decode_memory", "on",
]  # fmt: skip

#: Module -> the names that are taken from it when first asked for. Those of `__all__` that are nowhere are errors.
_HOMES = {
    "arch": ("Role",),
    "core_dump": ("CoreDump",),
    "elf": ("decode_memory",),
    "events": (
        "DestructorDone",
        "DestructorStarting",
        "Event",
        "IfuncResolved",
        "ImageClosed",
        "ImageLoaded",
        "ImageMapped",
        "ImageOpened",
        "ImageRelocated",
        "InitialiserDone",
        "InitialiserStarting",
        "LoadFailed",
        "Observer",
        "RelocationsApplied",
        "SegmentMapped",
        "SymbolBound",
        "SymbolsBound",
        "TlsAssigned",
        "on",
    ),
    "link_map": ("GotSlot", "LinkMap"),
    "load.load": ("Load",),
    "load.phases": ("Phase",),
    "load.plan": ("Plan",),
    "relocate.handlers": ("Entries", "RelocationHandler"),
    "relocate.lazy": ("BindMode",),
    "resolve.reference_kind": ("ReferenceKind",),
    "resolve.sources": ("SymbolRequest", "ThreadLocal"),
    "search.scan": ("Scan", "ScannedLibrary"),
}


def __getattr__(name: str) -> object:
    """The names that few need, imported when first asked for, so that a load starts quickly (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    home = next((module for module, names in _HOMES.items() if name in names), "errors")
    value: object = getattr(import_module(f"relink.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

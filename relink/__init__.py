"""The linker: it links ELF images into memory and needs no CPU.

    from relink import HostMemory, Linker

    linker = Linker(HostMemory("aarch64"))
    image = linker.load("plugin.so")
    linker.memory.read(image.symbol("table").address, 8)

All documented names are imported from here. Start reading at `relink.linker`; an ISA is one page in `relink/arch`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relink.arch import (
        ARCHITECTURES,
        Architecture,
        FloatAbi,
        Reloc,
        Role,
        TlsVariant,
        UnknownArchitecture,
        architecture,
        architecture_of,
    )
    from relink.core_dump import CoreDump, CoreImage
    from relink.elf import Decoded, Names, decode, decode_memory
    from relink.errors import (
        AddressSpaceError,
        DebugInfoError,
        DuplicateSymbol,
        ElfError,
        FloatAbiMismatch,
        GuestAccessError,
        LibraryNotFound,
        LinkError,
        LinkErrors,
        LoadOrderError,
        LoadRolledBack,
        MachineError,
        MalformedElf,
        NotElf,
        RelinkError,
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
    from relink.export.chunks import Chunk, ExportError
    from relink.export.firmware import read_firmware
    from relink.image import BoundSymbol, Image, Symbol
    from relink.link_map import (
        DiscardedGroup,
        GotSlot,
        LinkMap,
        MapCommon,
        MapSection,
        MapSegment,
        MapStub,
        MapSymbol,
    )
    from relink.linker import Linker
    from relink.load.load import Load
    from relink.load.options import LoadOptions, Policy
    from relink.load.phases import Phase
    from relink.load.plan import Plan
    from relink.memory.address_space import AddressSpace, HostMemory, Pages, Protection, Region
    from relink.module import Module, Stage, TlsModule
    from relink.objects.kernel_module import KernelModule
    from relink.objects.placed import PlacedImage, PlacedSection
    from relink.objects.script import LinkScript, MemoryRegion, OutputSection
    from relink.objects.script_errors import RegionOverflow, ScriptError, SectionOverlap, UnplacedSection
    from relink.objects.script_file import read_script
    from relink.relocate.handlers import Entries, RelocationHandler
    from relink.relocate.lazy import BindMode
    from relink.relocate.result import Copied, Relocated
    from relink.resolve.reference_kind import ReferenceKind
    from relink.resolve.sources import (
        DataAddress,
        DefinedSymbols,
        Lookup,
        SymbolDefinition,
        SymbolRequest,
        SymbolSource,
        ThreadLocal,
    )
    from relink.search.scan import Import, Scan, ScannedLibrary, ScannedSection, ScannedSegment
    from relink.search.search_path import Finder, SearchPath, Source

__all__ = [
    "ARCHITECTURES", "AddressSpace", "AddressSpaceError", "Architecture", "BindMode", "BoundSymbol", "Chunk",
    "Copied", "CoreDump", "CoreImage", "DataAddress", "DebugInfoError", "Decoded", "DefinedSymbols",
    "DestructorDone", "DestructorStarting", "DiscardedGroup", "DuplicateSymbol", "ElfError", "Entries", "Event",
    "ExportError", "Finder", "FloatAbi", "FloatAbiMismatch", "GotSlot", "GuestAccessError", "HostMemory",
    "IfuncResolved", "Image", "ImageClosed", "ImageLoaded", "ImageMapped", "ImageOpened", "ImageRelocated",
    "Import", "InitialiserDone", "InitialiserStarting", "KernelModule", "LibraryNotFound", "LinkError",
    "LinkErrors", "LinkMap", "LinkScript", "Linker", "Load", "LoadFailed", "LoadOptions", "LoadOrderError",
    "LoadRolledBack", "Lookup", "MachineError", "MalformedElf", "MapCommon", "MapSection", "MapSegment",
    "MapStub", "MapSymbol", "MemoryRegion", "Module", "Names", "NotElf", "Observer", "OutputSection", "Pages",
    "Phase", "PlacedImage", "PlacedSection", "Plan", "Policy", "Protection", "ReferenceKind", "Region",
    "RegionOverflow", "RelinkError", "Reloc", "Relocated", "RelocationError", "RelocationHandler",
    "RelocationOutOfImage", "RelocationOverflow", "RelocationVetoed", "RelocationsApplied", "Role", "Scan",
    "ScannedLibrary", "ScannedSection", "ScannedSegment", "ScriptError", "SearchPath", "SectionOverlap",
    "SegmentMapped", "Source", "Stage", "Symbol", "SymbolBound", "SymbolDefinition", "SymbolRequest",
    "SymbolSource", "SymbolsBound", "ThreadLocal", "TlsAssigned", "TlsError", "TlsModule", "TlsVariant",
    "Truncated", "UnknownArchitecture", "UnknownRelocation", "UnplacedSection", "UnresolvedSymbol",
    "UnsupportedElf", "UnsupportedRelocation", "UseAfterUnload", "VersionNotFound", "architecture",
    "architecture_of", "decode", "decode_memory", "on", "read_firmware", "read_script",
]  # fmt: skip

#: Module -> the names imported from it. Names in `__all__` that are not listed here are in `relink.errors`.
_HOMES = {
    "export.chunks": (
        "Chunk",
        "ExportError",
    ),
    "export.firmware": ("read_firmware",),
    "objects.placed": (
        "PlacedImage",
        "PlacedSection",
    ),
    "objects.script": (
        "LinkScript",
        "MemoryRegion",
        "OutputSection",
    ),
    "objects.script_errors": (
        "RegionOverflow",
        "ScriptError",
        "SectionOverlap",
        "UnplacedSection",
    ),
    "objects.script_file": ("read_script",),
    "arch": (
        "ARCHITECTURES",
        "Architecture",
        "FloatAbi",
        "Reloc",
        "Role",
        "TlsVariant",
        "UnknownArchitecture",
        "architecture",
        "architecture_of",
    ),
    "core_dump": (
        "CoreDump",
        "CoreImage",
    ),
    "elf": (
        "Decoded",
        "Names",
        "decode",
        "decode_memory",
    ),
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
    "image": (
        "BoundSymbol",
        "Image",
        "Symbol",
    ),
    "link_map": (
        "DiscardedGroup",
        "GotSlot",
        "LinkMap",
        "MapCommon",
        "MapSection",
        "MapSegment",
        "MapStub",
        "MapSymbol",
    ),
    "linker": ("Linker",),
    "load.load": ("Load",),
    "load.options": (
        "LoadOptions",
        "Policy",
    ),
    "load.phases": ("Phase",),
    "load.plan": ("Plan",),
    "memory.address_space": (
        "AddressSpace",
        "HostMemory",
        "Pages",
        "Protection",
        "Region",
    ),
    "module": (
        "Module",
        "Stage",
        "TlsModule",
    ),
    "objects.kernel_module": ("KernelModule",),
    "relocate.handlers": (
        "Entries",
        "RelocationHandler",
    ),
    "relocate.lazy": ("BindMode",),
    "relocate.result": (
        "Copied",
        "Relocated",
    ),
    "resolve.reference_kind": ("ReferenceKind",),
    "resolve.sources": (
        "DataAddress",
        "DefinedSymbols",
        "Lookup",
        "SymbolDefinition",
        "SymbolRequest",
        "SymbolSource",
        "ThreadLocal",
    ),
    "search.scan": (
        "Import",
        "Scan",
        "ScannedLibrary",
        "ScannedSection",
        "ScannedSegment",
    ),
    "search.search_path": (
        "Finder",
        "SearchPath",
        "Source",
    ),
}


if not TYPE_CHECKING:  # or a misspelt name would be an object to type checkers

    def __getattr__(name: str) -> object:
        """Import the names above on first access, so that using one part does not load all (PEP 562)."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        home = next((module for module, names in _HOMES.items() if name in names), "errors")
        value: object = getattr(import_module(f"relink.{home}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

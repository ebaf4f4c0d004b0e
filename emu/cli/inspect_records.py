"""The report of `relink-emu inspect` as dataclasses; their fields are its JSON (docs/cli.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from emu.cli.output import Address
from relink.elf.notes import DebugLink, Note
from relink.records import dataclass


@dataclass(frozen=True)
class Segment:
    """A program header; `offset` and sizes in bytes."""

    type: str
    permissions: str
    offset: int
    vaddr: Address
    filesz: int
    memsz: int
    align: int


@dataclass(frozen=True)
class Entry:
    """An entry of the dynamic section; `text` is the string it names, or the flags."""

    tag: str
    value: Address
    text: str | None


@dataclass(frozen=True)
class SymbolEntry:
    """A dynamic symbol. `version` has @ or @@ in front: required or hidden, default."""

    name: str
    demangled: str | None
    version: str | None
    value: Address
    size: int
    type: str
    binding: str
    visibility: str
    defined: bool
    absolute: bool


@dataclass(frozen=True)
class VersionNeeded:
    """A version required from another library."""

    library: str
    version: str
    weak: bool


@dataclass(frozen=True)
class Constructors:
    """The initialisation and termination functions: link-time addresses, and lengths of the arrays."""

    init: Address | None
    init_array: int
    preinit_array: int
    fini: Address | None
    fini_array: int


@dataclass(frozen=True)
class Tls:
    """PT_TLS; sizes and alignment in bytes."""

    size: int
    initialised: int
    align: int


@dataclass(frozen=True)
class SectionEntry:
    """A section header of a relocatable object."""

    name: str
    type: int
    flags: Address
    size: int


@dataclass(frozen=True)
class InspectReport:
    """The contents of a file."""

    schema: ClassVar[str] = "relink-emu/inspect/1"
    file: str
    size: int  #: bytes
    kind: str
    arch: str | None  #: None for an unsupported machine
    machine: int
    bits: int
    flags: Address
    flags_problem: str | None  #: why an image with these e_flags cannot be loaded
    entry: Address
    os_abi: int
    os_abi_name: str
    soname: str | None
    interpreter: str | None
    needed: tuple[str, ...]
    rpath: str | None
    runpath: str | None
    segments: tuple[Segment, ...]
    sections: tuple[SectionEntry, ...]  #: of a relocatable object
    dynamic: tuple[Entry, ...]
    exported: int
    imported: int
    symbols: tuple[SymbolEntry, ...]
    versions_defined: tuple[str, ...]
    versions_needed: tuple[VersionNeeded, ...]
    relocations: Mapping[str, Mapping[str, int]]  #: by table, by type
    hash_tables: tuple[str, ...]
    constructors: Constructors
    tls: Tls | None
    modinfo: Mapping[str, tuple[str, ...]]  #: for a kernel module: all values of each key
    build_id: str | None  #: hexadecimal
    notes: tuple[Note, ...]
    debug_link: DebugLink | None
    alternative_debug_link: DebugLink | None
    warnings: tuple[str, ...]  #: violations of the gABI that loaders tolerate
    problems: tuple[str, ...]  #: why it cannot be loaded, and which parts cannot be read

"""Scan before load: what a load would bring in, to plan with, before anything is mapped.

scan = linker.scan("plugin.so")
base, addresses = 0x2000_0000, {}
for library in scan.new:
    base = -(-base // library.alignment) * library.alignment
    addresses[library.name] = base
    base += library.size
linker.load("plugin.so", options=LoadOptions(place=addresses))
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from relink.arch import Architecture
from relink.elf import Decoded
from relink.elf.constants import SymbolBind
from relink.memory import placement as place
from relink.memory.address_space import Protection
from relink.objects.combined import combined
from relink.records import dataclass
from relink.search.graph import Node

__all__ = ["Import", "Scan", "ScannedLibrary", "ScannedSection", "ScannedSegment"]


class Import(NamedTuple):
    """A symbol an image refers to and does not define."""

    name: str
    version: str | None
    weak: bool  #: it may stay undefined


class ScannedSegment(NamedTuple):
    """A PT_LOAD segment."""

    vaddr: int  #: link-time address
    file_size: int  #: bytes
    size: int  #: bytes in memory
    protection: Protection
    align: int


class ScannedSection(NamedTuple):
    """A section, as far as the file has section headers; of relocatable objects, one of an input's."""

    name: str
    vaddr: int  #: link-time address; 0 for sections that are not part of the image
    size: int  #: bytes
    allocated: bool  #: whether it is part of the image


@dataclass(frozen=True)
class ScannedLibrary:
    """One library of the closure."""

    node: Node
    architecture: Architecture

    @property
    def name(self) -> str:
        """Its SONAME, or else the name it was asked for as: what `LoadOptions.place` may call it."""
        decoded = self.node.contents
        return (decoded.soname if decoded is not None else None) or self.node.name

    @property
    def status(self) -> str:
        """ "new", "loaded" (already), "host" (answered by the host) or "missing"."""
        if self.node.image is not None:
            return "loaded"
        return "missing" if self.node.missing else "host" if self.node.host_provided else "new"

    @property
    def rule(self) -> str:
        """By which rule it was found."""
        return self.node.rule

    @property
    def needed_by(self) -> str | None:
        """The first image that needs it; None for what the user asked for."""
        return self.node.parent.name if self.node.parent is not None else None

    @property
    def tried(self) -> Sequence[tuple[str, str]]:
        """(place, why it was passed over) of what was considered before."""
        return tuple(self.node.tried)

    @property
    def decoded(self) -> Decoded | None:
        """All its file says; None for a missing library or one of the host's."""
        return self.node.contents

    @property
    def needed(self) -> tuple[str, ...]:
        """DT_NEEDED, in order."""
        return self.decoded.needed if self.decoded is not None else ()

    @property
    def size(self) -> int:
        """Bytes of address space, whole pages; 0 where there is nothing to map."""
        return place.region_size(self.decoded) if self.decoded is not None and self.decoded.segments else 0

    @property
    def alignment(self) -> int:
        """What its base must be a multiple of, in bytes."""
        return place.alignment(self.decoded) if self.decoded is not None else 1

    @property
    def tls_size(self) -> int:
        """Bytes of thread-local storage."""
        tls = self.decoded.tls if self.decoded is not None else None
        return tls.memsz if tls is not None else 0

    @property
    def segments(self) -> tuple[ScannedSegment, ...]:
        """What would be mapped, by address."""
        segments = self.decoded.segments if self.decoded is not None else ()
        return tuple(
            ScannedSegment(s.vaddr, s.filesz, s.memsz, Protection(s.flags & 7), s.align) for s in segments
        )

    @cached_property
    def sections(self) -> tuple[ScannedSection, ...]:
        """The sections; none where a file has no section headers, as the gABI allows."""
        decoded = self.decoded
        if decoded is None:
            return ()
        if (objects := combined(decoded)) is not None:
            return tuple(ScannedSection(s.name, s.offset, s.size, True) for s in objects.inputs)
        return tuple(ScannedSection(s.name, s.addr, s.size, bool(s.flags & 2)) for s in decoded.sections if s.type)

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        """The symbols it refers to and does not define, in the order of its symbol table."""
        return tuple(self._imports())

    def _imports(self) -> Iterator[Import]:
        if self.decoded is None:
            return
        table = self.decoded.symbols
        undefined = np.flatnonzero((table.section == 0) & (table.bind != SymbolBind.LOCAL))
        for index, name in zip(undefined.tolist(), table.names.take(undefined).texts(), strict=True):
            if name:
                yield Import(name, self.decoded.version_of(index), bool(table.bind[index] == SymbolBind.WEAK))


@dataclass(frozen=True)
class Scan:
    """The closure of one load: preloads, the root, then what they need, breadth-first."""

    architecture: Architecture
    _root: Node
    _nodes: Sequence[Node]

    @cached_property
    def libraries(self) -> tuple[ScannedLibrary, ...]:
        """Every library, stand-ins, loaded and missing ones included."""
        return tuple(ScannedLibrary(node, self.architecture) for node in self._nodes)

    @property
    def root(self) -> ScannedLibrary:
        """What was asked for."""
        return next(library for library in self.libraries if library.node is self._root)

    @property
    def new(self) -> tuple[ScannedLibrary, ...]:
        """What would be mapped."""
        return tuple(library for library in self.libraries if library.status == "new")

    @property
    def missing(self) -> tuple[ScannedLibrary, ...]:
        """Libraries that were not found."""
        return tuple(library for library in self.libraries if library.status == "missing")

    @property
    def size(self) -> int:
        """Bytes of address space all new images take."""
        return sum(library.size for library in self.new)

    def library(self, name: str) -> ScannedLibrary:
        """The library of that SONAME, or that is asked for by that name. Raises KeyError."""
        for library in self.libraries:
            if name in (library.name, library.node.name, *library.node.names):
                return library
        raise KeyError(name)

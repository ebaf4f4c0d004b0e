"""Scan before load: the libraries that a load would add, without mapping anything. Used to plan addresses.

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
from typing import NamedTuple

import numpy as np

from relink.arch import Architecture
from relink.elf import Decoded
from relink.elf.constants import SymbolBind
from relink.memory import placement as place
from relink.memory.address_space import Protection
from relink.objects.combined import combined
from relink.records import cached_property, dataclass
from relink.search.graph import Node

__all__ = ["Import", "Scan", "ScannedLibrary", "ScannedSection", "ScannedSegment"]


class Import(NamedTuple):
    """A symbol that an image refers to and does not define."""

    name: str
    version: str | None
    weak: bool  #: weak: it may remain undefined


class ScannedSegment(NamedTuple):
    """A PT_LOAD segment."""

    vaddr: int  #: link-time address
    file_size: int  #: bytes
    size: int  #: bytes in memory
    protection: Protection
    align: int


class ScannedSection(NamedTuple):
    """A section of a file; for combined relocatable objects, a section of one of them."""

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
        """The SONAME, else the name requested: the key in `LoadOptions.place`."""
        decoded = self.node.contents
        return (decoded.soname if decoded is not None else None) or self.node.name

    @property
    def status(self) -> str:
        """ "new", "loaded" (already), "host" (provided by the host) or "missing"."""
        if self.node.image is not None:
            return "loaded"
        return "missing" if self.node.missing else "host" if self.node.host_provided else "new"

    @property
    def rule(self) -> str:
        """The search rule that found it."""
        return self.node.rule

    @property
    def needed_by(self) -> str | None:
        """The first image that needs it; None for the root."""
        return self.node.parent.name if self.node.parent is not None else None

    @property
    def tried(self) -> Sequence[tuple[str, str]]:
        """(place, why it was rejected) for each place tried before it was found."""
        return tuple(self.node.tried)

    @property
    def decoded(self) -> Decoded | None:
        """The decoded file; None for a missing library or one that the host provides."""
        return self.node.contents

    @property
    def needed(self) -> tuple[str, ...]:
        """DT_NEEDED, in order."""
        return self.decoded.needed if self.decoded is not None else ()

    @property
    def size(self) -> int:
        """Bytes of address space, in whole pages; 0 when there is nothing to map."""
        return place.region_size(self.decoded) if self.decoded is not None and self.decoded.segments else 0

    @property
    def alignment(self) -> int:
        """The alignment of its base in bytes."""
        return place.alignment(self.decoded) if self.decoded is not None else 1

    @property
    def tls_size(self) -> int:
        """Bytes of thread-local storage."""
        tls = self.decoded.tls if self.decoded is not None else None
        return tls.memsz if tls is not None else 0

    @property
    def segments(self) -> tuple[ScannedSegment, ...]:
        """The segments to map, by address."""
        segments = self.decoded.segments if self.decoded is not None else ()
        return tuple(
            ScannedSegment(s.vaddr, s.filesz, s.memsz, Protection(s.flags & 7), s.align) for s in segments
        )

    @cached_property
    def sections(self) -> tuple[ScannedSection, ...]:
        """The sections; empty when the file has no section headers, which are optional in the gABI."""
        decoded = self.decoded
        if decoded is None:
            return ()
        if (objects := combined(decoded)) is not None:
            return tuple(ScannedSection(s.name, s.offset, s.size, True) for s in objects.inputs)
        return tuple(ScannedSection(s.name, s.addr, s.size, bool(s.flags & 2)) for s in decoded.sections if s.type)

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        """The symbols it refers to and does not define, in symbol table order."""
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
    """The closure of one load: preloads, the root, then their dependencies, breadth-first."""

    architecture: Architecture
    _root: Node
    _nodes: Sequence[Node]

    @cached_property
    def libraries(self) -> tuple[ScannedLibrary, ...]:
        """All libraries, including those that are loaded, missing or provided by the host."""
        return tuple(ScannedLibrary(node, self.architecture) for node in self._nodes)

    @property
    def root(self) -> ScannedLibrary:
        """The library that the user named."""
        return next(library for library in self.libraries if library.node is self._root)

    @property
    def new(self) -> tuple[ScannedLibrary, ...]:
        """The libraries that a load would map."""
        return tuple(library for library in self.libraries if library.status == "new")

    @property
    def missing(self) -> tuple[ScannedLibrary, ...]:
        """Libraries that were not found."""
        return tuple(library for library in self.libraries if library.status == "missing")

    @property
    def size(self) -> int:
        """Bytes of address space of all new images together."""
        return sum(library.size for library in self.new)

    def library(self, name: str) -> ScannedLibrary:
        """The library with that SONAME, or requested under that name. Raises KeyError."""
        for library in self.libraries:
            if name in (library.name, library.node.name, *library.node.names):
                return library
        raise KeyError(name)

"""`Image` and `Symbol`: a linked image and its symbols, as returned to users."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from relink.arch import Architecture, FloatAbi
from relink.arrays import I64
from relink.elf import Decoded
from relink.elf.constants import VERSYM_HIDDEN, DynamicFlag1, SymbolBind, SymbolType, Visibility
from relink.errors import UnresolvedSymbol
from relink.module import Module
from relink.records import Assigned, cached_property, dataclass, field
from relink.records.tuples import NamedTuple
from relink.records.unpicklable import Unpicklable
from relink.relocate.result import Relocated
from relink.resolve.bindings import HOST, UNRESOLVED, Bindings
from relink.resolve.resolver import Resolver
from relink.resolve.scopes import ScopeRecord, breadth_first
from relink.resolve.sources import SymbolDefinition

if TYPE_CHECKING:
    from relink.export.chunks import Chunk
    from relink.link_map import GotSlot, LinkMap, MapSection, MapStub
    from relink.objects.combined import CombinedObjects
    from relink.objects.kernel_module import KernelModule


def exported_rows(decoded: Decoded) -> I64:
    """The rows of the symbols that a file exports, but those of thread-local storage."""
    table = decoded.symbols
    # Of several versions of a name, the default version is exported.
    visible = (table.visibility == Visibility.DEFAULT) | (table.visibility == Visibility.PROTECTED)
    default = visible & ((table.version & VERSYM_HIDDEN) == 0)
    wanted = default & (table.section != 0) & (table.bind != SymbolBind.LOCAL) & (table.type != SymbolType.TLS)
    return np.flatnonzero(wanted)


class BoundSymbol(NamedTuple):
    """One symbolic reference and its binding."""

    symbol: str
    version: str | None
    provider: str | None  #: the defining image's name; None for the host or an undefined symbol
    address: int  #: 0 for an undefined weak symbol
    kind: str  #: "image", "host" or "weak"


_NO_DELETE = int(DynamicFlag1.NODELETE)


@dataclass(frozen=True, slots=True)
class Symbol(SymbolDefinition):
    """A definition in a loaded image. Reading `address` after the image is closed raises UseAfterUnload."""

    image: Image
    value: int  #: guest address (for TLS: the offset in the module's block)
    size: int  #: st_size in bytes
    type: int  #: STT_*

    @property
    def address(self) -> int:
        """The guest address. Raises UseAfterUnload."""
        self.image.check_open(self.name)
        return self.value

    @property
    def current(self) -> Symbol:
        """The symbol of that name in the image that has taken the place of this one, if any. Raises
        UnresolvedSymbol.
        """
        successor = self.image.successor
        return self if successor is None else successor.definition(self.name).current

    @property
    def is_function(self) -> bool:
        """Whether it is a function or an ifunc."""
        return self.type in (SymbolType.FUNC, SymbolType.GNU_IFUNC)


@dataclass
class Lifetime(Assigned):
    """The reference counts of an image, and its place in the initialisation order. See `relink.load.lifetime`."""

    no_delete: bool  #: never unloaded before the end
    references: int = 0  #: number of explicit loads; see `Linker.unload`
    uncommitted: int = 0  #: number of these that are not yet committed
    #: Images that stay loaded as long as this one, besides its dependencies and the images it has bound to.
    keeps: list[Image] = field(default_factory=list)
    init_index: int = 0  #: position in the initialisation order


@dataclass(eq=False)
class Lineage(Assigned):
    """Images of which each has taken the place of the one before. Those in between are not referred to."""

    first: Image  #: part of snapshots after a swap too, for the handles that were made of it
    current: Image


@cache
def _combined() -> Callable[[Decoded], CombinedObjects | None]:
    """`relink.objects.combined.combined`, imported with the first object."""
    from relink.objects.combined import combined

    return combined


class Image(Unpicklable, Module):
    """One image of a link, made by a `Linker`: a module (file and memory) with the methods for users.

    Its dependencies and search lists are in `scopes`, its reference counts in `lifetime`, the result of relocation
    in `relocated`.
    """

    _instead = "it is linked into memory of this process: pass its name and base"

    def __init__(self, decoded: Decoded, architecture: Architecture, resolver: Resolver) -> None:
        super().__init__(decoded, architecture)
        self.resolver = resolver
        self.names = {decoded.name}  #: all names under which it was requested
        self.file: tuple[int, int] | None = None  #: device and inode of its file, if known
        self.scopes: ScopeRecord[Image] = ScopeRecord()
        self.lifetime = Lifetime(no_delete=bool(decoded.flags_1 & _NO_DELETE))
        #: Whether it was adopted relocated and initialised, so that its constructors must not run again.
        self.already_initialised = False
        self.lineage: Lineage | None = None  #: see `successor`

    @property
    def successor(self) -> Image | None:
        """The image that has taken its place at last (`relink.load.replace`)."""
        lineage = self.lineage
        return None if lineage is None or lineage.current is self else lineage.current

    def outlive(self) -> None:
        """See `Module.outlive`: nothing takes its place any more, unless that is the state of the snapshot."""
        super().outlive()
        if self.lineage is not None and self.lineage.first is not self:
            self.lineage = None

    @cached_property
    def relocated(self) -> Relocated:
        """The result of its relocation; empty before."""
        return Relocated()

    def __repr__(self) -> str:
        return f"<Image {self.name} {self.stage.name.lower()}>"

    @property
    def soname(self) -> str | None:
        """DT_SONAME."""
        return self.decoded.soname

    @property
    def float_abi(self) -> FloatAbi | None:
        """The floating-point calling convention of its code; None when it does not matter to the image or the ISA
        has only one.
        """
        return self.decoded.float_abi_on(self.architecture)

    @property
    def objects(self) -> CombinedObjects | None:
        """The combined relocatable objects that it was made from; None for any other file."""
        if not self.decoded.is_relocatable:
            return None
        return _combined()(self.decoded)

    @property
    def dependencies(self) -> list[Image]:
        """The images it needs, in DT_NEEDED order."""
        return self.scopes.dependencies

    @property
    def scope(self) -> list[Image]:
        """The image and its dependencies, breadth-first: the scope of `symbol`."""
        if self.scopes.search_list is None:
            self.scopes.search_list = breadth_first([self])
        return self.scopes.search_list

    @property
    def references(self) -> int:
        """The number of explicit loads not yet undone; see `Linker.unload`."""
        return self.lifetime.references

    # ------------------------------------------------------------ symbols

    def symbol(self, name: str, version: str | None = None) -> Symbol:
        """The definition of `name` in this image or its dependencies, breadth-first, as by dlsym.

        Without `version` the default version is used. Raises UnresolvedSymbol or UseAfterUnload.
        """
        self.check_open(name)
        found = self.resolver.find(name, version, self.scope)
        if found.provider[0] == UNRESOLVED:
            raise UnresolvedSymbol(self.name, name, version, detail="looked up in the image and its dependencies")
        return symbol_of(found, 0, name)

    def definition(self, name: str, version: str | None = None) -> Symbol:
        """`symbol`, or else the only static or hidden symbol of that name, also in `.symtab`.

        Raises UnresolvedSymbol, also when there are several, and UseAfterUnload.
        """
        try:
            return self.symbol(name, version)
        except UnresolvedSymbol:
            from relink.resolve.local_symbols import clones_of, local_symbols

            found = () if version is not None else local_symbols(self.decoded, name)
            if len(found) == 1:
                local = found[0]
                value = local.value if local.type == SymbolType.TLS else self.address_of(local.value)
                return Symbol(name, self, local.row, value, local.size, local.type)
            clones = () if found else clones_of(self.decoded, name)
            if not found and not clones:
                raise
        places = f"local, in {len(found)} places"
        detail = f"the compiler made {' and '.join(clones)} of it, with other parameters" if clones else places
        raise UnresolvedSymbol(self.name, name, version, detail=detail)

    @property
    def exports(self) -> Mapping[str, int]:
        """Guest addresses of the symbols that the image exports, by name (for absolute symbols the value)."""
        self.check_open()
        wanted = exported_rows(self.decoded)
        found = Bindings.empty(len(wanted), (self,))
        found.define(np.arange(len(wanted)), 0, wanted)
        names = self.decoded.symbols.names.take(wanted).texts()
        return dict(zip(names, found.address.tolist(), strict=True))

    def symbol_at(self, address: int) -> tuple[str, int] | None:
        """(name, offset) of the dynamic symbol that contains a guest address, as in dladdr; None without one."""
        from relink.resolve.nearest import nearest_symbol

        return nearest_symbol(self, address)

    @property
    def kernel_module(self) -> KernelModule | None:
        """The description of the first kernel module among the linked objects; None without one. Raises
        UseAfterUnload, ElfError.
        """
        from relink.objects.kernel_module import kernel_module_of

        self.check_open()
        return kernel_module_of(self.decoded, lambda: self.exports)

    @property
    def modinfo(self) -> Mapping[str, tuple[str, ...]]:
        """The key=value strings of a kernel module, every value of each key; empty for any other image."""
        module = self.kernel_module
        return {} if module is None else module.modinfo

    # ------------------------------------------------------------ what the link came to

    @property
    def deferred(self) -> tuple[str, ...]:
        """Strong symbols that a later load may still define (see `LoadOptions.allow_deferred`)."""
        deferred = self.relocated.deferred
        return () if deferred is None else tuple(map(self.decoded.symbols.names.text, deferred.stand_ins))

    @property
    def relocation_counts(self) -> Counter[str]:
        """Number of entries applied, by the type's full name (RELR for packed relative entries)."""
        return self.relocated.counts

    def link_map(self, read: Callable[[int, int], bytes] | None = None) -> LinkMap:
        """Sections, symbols, GOT slots and stubs with their targets (see `relink.link_map`).

        `read(address, size)` returns guest bytes; without it the linker's buffer is read. Raises UseAfterUnload.
        """
        from relink.link_map_builder import link_map

        return link_map(self, self.relocated, read)

    def section(self, name: str, object: str | None = None) -> MapSection:
        """A section and its address: the first of that name, or the one of input `object`. Raises LinkError."""
        return self.link_map().section(name, object)

    def got_slot(self, symbol: str, kind: str | None = None) -> GotSlot:
        """A symbol's GOT slot, of the given kind if any (see `GotSlot`). Raises LinkError."""
        return self.link_map().slot(symbol, kind)

    def stub(self, symbol: str) -> MapStub:
        """The stub for calls to a symbol. Raises LinkError."""
        return self.link_map().stub(symbol)

    def chunks(self) -> list[Chunk]:
        """The bytes that a device stores for the image, and where: those in memory now, by address.

        Sections that are loaded elsewhere (`OutputSection.load_in`) are there. Raises ExportError, UseAfterUnload.
        """
        from relink.export.image_file import ImageFile

        self.check_open()
        return ImageFile(self, self.relocated).chunks("chunks")

    def export(
        self,
        path: str | os.PathLike[str],
        format: str | None = None,
        *,
        fill: int | None = None,
        gap_limit: int = 1 << 24,
        family: int | None = None,
    ) -> None:
        """Write the image as a file: "bin", "hex", "srec", "uf2" or "elf", by default what the suffix says.

        `fill` is the byte for gaps (None: that of the first region), `gap_limit` the largest gap in a "bin" in
        bytes, `family` UF2's family ID. Raises ExportError, OSError, UseAfterUnload.
        """
        from relink.export.image_file import format_named
        from relink.export.whole_file import write_whole

        wanted = format_named(self.name, os.fspath(path), format)
        write_whole(path, self.exported(wanted, fill=fill, gap_limit=gap_limit, family=family))

    def exported(
        self, format: str, *, fill: int | None = None, gap_limit: int = 1 << 24, family: int | None = None
    ) -> bytes:
        """The content of the file that `export` writes, with its arguments. Raises ExportError, UseAfterUnload."""
        from relink.export.image_file import ImageFile, format_named

        self.check_open()
        wanted = format_named(self.name, "", format)
        return ImageFile(self, self.relocated).to_bytes(wanted, fill, gap_limit, family)

    def bindings(self) -> Iterator[BoundSymbol]:
        """The bindings of all symbols that relocations refer to; then those of lazily bound slots that have been
        called, in the order of their first calls.
        """
        bound, lazy = self.relocated.bindings, self.relocated.lazy
        if bound is not None:
            names = self.decoded.symbols.names
            for element, index in enumerate(self.relocated.symbols.tolist(), 1):
                number = int(bound.provider[element])
                kind = {UNRESOLVED: "weak", HOST: "host"}.get(number, "image")
                provider = bound.images[number].name if kind == "image" else None
                yield BoundSymbol(
                    names.text(index), self.decoded.version_of(index), provider, int(bound.address[element]), kind
                )
        for answer in lazy.bound.values() if lazy is not None else ():
            owner = answer.provider.name if answer.provider is not None else None
            yield BoundSymbol(answer.name, answer.version, owner, answer.address, answer.kind)


def symbol_of(found: Bindings, element: int, name: str) -> Symbol:
    """The `Symbol` of one binding to an image."""
    image = image_of(found.images[int(found.provider[element])])
    return Symbol(
        name,
        image,
        int(found.symbol[element]),
        int(found.address[element]),
        int(found.size[element]),
        int(found.type[element]),
    )


def image_of(module: Module) -> Image:
    """Cast a module to `Image`: every module that a linker maps is one."""
    assert isinstance(module, Image)
    return module

"""What a user holds: a linked image and its symbols, each with a lifetime."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from relink.arch import Architecture, FloatAbi
from relink.elf import Decoded
from relink.elf.constants import VERSYM_HIDDEN, DynamicFlag1, SymbolBind, SymbolType, Visibility
from relink.errors import UnresolvedSymbol
from relink.module import Module
from relink.records import dataclass, field
from relink.relocate.result import Relocated
from relink.resolve.bindings import HOST, UNRESOLVED, Bindings
from relink.resolve.nearest import nearest_symbol
from relink.resolve.resolver import Resolver
from relink.resolve.scopes import ScopeRecord
from relink.resolve.sources import SymbolDefinition

if TYPE_CHECKING:
    from relink.link_map import GotSlot, LinkMap, MapSection, MapStub
    from relink.objects.combined import CombinedObjects
    from relink.objects.kernel_module import KernelModule


class BoundSymbol(NamedTuple):
    """One symbolic reference and what it bound to."""

    symbol: str
    version: str | None
    provider: str | None  #: the defining image's name; None for the host or for nothing
    address: int  #: 0 for an undefined weak symbol
    kind: str  #: "image", "host" or "weak"


@dataclass(frozen=True, slots=True)
class Symbol(SymbolDefinition):
    """A definition in a loaded image. Reading `address` after the image is closed raises UseAfterUnload."""

    image: Image
    value: int  #: guest address (for TLS: the offset in the module's block)
    size: int  #: bytes, as the symbol table says
    type: int  #: STT_*

    @property
    def address(self) -> int:
        """The guest address. Raises UseAfterUnload."""
        self.image.check_open(self.name)
        return self.value

    @property
    def is_function(self) -> bool:
        """Whether it names a function, or the resolver of an ifunc."""
        return self.type in (SymbolType.FUNC, SymbolType.GNU_IFUNC)


@dataclass(slots=True)
class Lifetime:
    """What keeps an image loaded, and its turn among constructors. See `relink.load.lifetime`."""

    no_delete: bool  #: never unloaded before the end
    references: int = 0  #: explicit loads; see `Linker.unload`
    uncommitted: int = 0  #: of these, loads that are under way
    #: What stays loaded as long as it, beside its dependencies and what its references are bound to.
    keeps: list[Image] = field(default_factory=list)
    init_index: int = 0  #: images are initialised in the order of this number


class Image(Module):
    """One image of a link: a module (its file and its place), and what a user may ask about it.

    Made by a `Linker`. What it refers to is in `scopes`, what keeps it loaded in `lifetime`, what relocation came
    to in `relocated`.
    """

    def __init__(self, decoded: Decoded, architecture: Architecture, resolver: Resolver) -> None:
        super().__init__(decoded, architecture)
        self.resolver = resolver
        self.names = {decoded.name}  #: everything it was asked for as
        self.scopes: ScopeRecord[Image] = ScopeRecord([self])
        self.lifetime = Lifetime(no_delete=bool(decoded.flags_1 & DynamicFlag1.NODELETE))
        self.relocated = Relocated()

    def __repr__(self) -> str:
        return f"<Image {self.name} {self.stage.name.lower()}>"

    @property
    def soname(self) -> str | None:
        """DT_SONAME."""
        return self.decoded.soname

    @property
    def float_abi(self) -> FloatAbi | None:
        """How its calls pass floating-point values; None where it makes none, or the ISA has one way only."""
        return self.decoded.float_abi_on(self.architecture)

    @property
    def objects(self) -> CombinedObjects | None:
        """What it was linked from, if that was relocatable objects; None for any other file."""
        if not self.decoded.is_relocatable:
            return None
        from relink.objects.combined import combined

        return combined(self.decoded)

    @property
    def already_initialised(self) -> bool:
        """Whether it was relocated and initialised by somebody else: then it is not to be again."""
        return self.adopted is not None and self.adopted.relocated

    @property
    def dependencies(self) -> list[Image]:
        """What it needs, in DT_NEEDED order."""
        return self.scopes.dependencies

    @property
    def scope(self) -> list[Image]:
        """The image and its dependencies, breadth-first: where `symbol` looks."""
        return self.scopes.search_list

    @property
    def references(self) -> int:
        """Explicit loads that have not been undone; see `Linker.unload`."""
        return self.lifetime.references

    # ------------------------------------------------------------ symbols

    def symbol(self, name: str, version: str | None = None) -> Symbol:
        """The definition of `name` in this image or what it depends on, breadth-first, as dlsym finds it.

        Without `version` the default one is taken. Raises UnresolvedSymbol or UseAfterUnload.
        """
        self.check_open(name)
        found = self.resolver.find(name, version, self.scope)
        if found.provider[0] == UNRESOLVED:
            raise UnresolvedSymbol(self.name, name, version, detail="looked up in the image and its dependencies")
        return symbol_of(found, 0, name)

    @property
    def exports(self) -> Mapping[str, int]:
        """Guest addresses of the symbols the image itself defines for others (absolute values as they are)."""
        self.check_open()
        table = self.decoded.symbols
        # Of several versions of a name, the default one is what others get.
        visible = (table.visibility == Visibility.DEFAULT) | (table.visibility == Visibility.PROTECTED)
        default = visible & ((table.version & VERSYM_HIDDEN) == 0)
        wanted = np.flatnonzero(
            default & (table.section != 0) & (table.bind != SymbolBind.LOCAL) & (table.type != SymbolType.TLS)
        )
        found = Bindings.empty(len(wanted), (self,))
        found.define(np.arange(len(wanted)), 0, wanted)
        names = table.names.take(wanted).texts()
        return dict(zip(names, found.address.tolist(), strict=True))

    def symbol_at(self, address: int) -> tuple[str, int] | None:
        """(name, bytes past its start) of the dynamic symbol a guest address lies in, as dladdr tells."""
        return nearest_symbol(self, address)

    @property
    def kernel_module(self) -> KernelModule | None:
        """The description of the first kernel module among the linked objects; None where there is none.

        Raises UseAfterUnload, ElfError.
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
        deferred, names = self.relocated.deferred, self.decoded.symbols.names
        return () if deferred is None else tuple(map(names.text, deferred.stand_ins))

    @property
    def relocation_counts(self) -> Counter[str]:
        """Entries applied, by the type's full name (RELR for packed relative ones)."""
        return self.relocated.counts

    def link_map(self, read: Callable[[int, int], bytes] | None = None) -> LinkMap:
        """Sections, symbols, GOT slots and stubs with what they reach (see `relink.link_map`).

        `read(address, size)` gives guest bytes; without it the linker's own buffer is read. Raises UseAfterUnload.
        """
        from relink.link_map_builder import link_map

        return link_map(self, self.relocated, read)

    def section(self, name: str, object: str | None = None) -> MapSection:
        """Where a section lies; of several of that name the first, or that of an input. Raises LinkError."""
        return self.link_map().section(name, object)

    def got_slot(self, symbol: str, kind: str | None = None) -> GotSlot:
        """A symbol's slot in the global offset table, of a kind (see `GotSlot`) if given. Raises LinkError."""
        return self.link_map().slot(symbol, kind)

    def stub(self, symbol: str) -> MapStub:
        """The stub that calls of a symbol may go through. Raises LinkError."""
        return self.link_map().stub(symbol)

    def bindings(self) -> Iterator[BoundSymbol]:
        """Every symbol that relocations refer to and what it is bound to; last, in the order of their first calls,
        the jump slots that are bound lazily and have been called."""
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
    """A module as the `Image` it is: every module that a linker has mapped is one."""
    assert isinstance(module, Image)
    return module

"""What a user holds: a linked image and its symbols, each with a lifetime."""

from __future__ import annotations

import enum
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from relink.arch import Architecture, FloatAbi
from relink.arrays import I64, U8, U64
from relink.elf import Decoded
from relink.elf.constants import (
    SHN_ABS,
    VERSYM_HIDDEN,
    DynamicFlag,
    DynamicFlag1,
    DynamicTag,
    SymbolType,
    Visibility,
)
from relink.elf.constants import Binding as Bind
from relink.errors import UnresolvedSymbol, UseAfterUnload
from relink.memory import placement as place
from relink.memory.address_space import Region
from relink.objects.combined import CombinedObjects
from relink.resolve.resolver import HOST, UNRESOLVED, Bindings, Lookup, Resolver, SymbolSource
from relink.tls import TlsModule

if TYPE_CHECKING:
    from relink.link_map import GotSlot, LinkMap, MapSection, MapStub
    from relink.load.adopt import Adopted
    from relink.objects.kernel_module import KernelModule
    from relink.relocate.lazy import LazySlots
    from relink.relocate.result import Outcome
    from relink.resolve.scopes import Group


#: Types of symbols that name an address in the image.
_ADDRESSED = (SymbolType.NOTYPE, SymbolType.OBJECT, SymbolType.FUNC, SymbolType.GNU_IFUNC)
#: What names begin with that an assembler makes up; 0: none at all.
_ASSEMBLERS = tuple(b".$\0")


class Stage(enum.IntEnum):
    """How far an image has come. Stages only grow."""

    OPENED = 0
    MAPPED = 1
    RELOCATED = 2
    INITIALISED = 3
    CLOSED = 4


class BoundSymbol(NamedTuple):
    """One symbolic reference and what it bound to."""

    symbol: str
    version: str | None
    provider: str | None  #: the defining image's name; None for the host or for nothing
    address: int  #: 0 for an undefined weak symbol
    kind: str  #: "image", "host" or "weak"


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Symbol:
    """A definition in a loaded image. Reading `address` after the image is closed raises UseAfterUnload."""

    name: str
    image: Image
    index: int  #: in the image's dynamic symbol table
    value: int  #: guest address (for TLS: the offset in the module's block)
    size: int  #: bytes, as the symbol table says
    type: int  #: STT_*

    @property
    def address(self) -> int:
        self.image.check_open(self.name)
        return self.value

    @property
    def is_function(self) -> bool:
        return self.type in (SymbolType.FUNC, SymbolType.GNU_IFUNC)


class Image:
    """One image of a link: what its file says (`decoded`), where it went, and what it bound to.

    Made by a `Linker`. `bias` (the load bias, B) is added to link-time addresses, modulo the word size.
    """

    def __init__(self, decoded: Decoded, architecture: Architecture, resolver: Resolver) -> None:
        self.decoded = decoded
        self.architecture = architecture
        self.resolver = resolver
        self.name = decoded.name
        self.soname = decoded.soname
        self.names = {decoded.name}  #: everything it was asked for as
        self.symbolic = bool(decoded.flags & DynamicFlag.SYMBOLIC) or DynamicTag.SYMBOLIC in decoded.dynamic
        self.stage = Stage.OPENED
        self.references = 1  #: explicit loads; see `Linker.unload`
        self.dependencies: list[Image] = []  #: direct, in DT_NEEDED order
        self.scope: list[Image] = [self]  #: the image and its dependencies, breadth-first
        self.filtees: list[Image] = []  #: what it is a filter for: searched right before it
        self.keeps: list[Image] = []  #: what stays loaded as long as it, beside dependencies and bindings
        self.groups: list[Group] = []  #: the search lists of the loads it is part of; see `relink.resolve.scopes`
        self.turn = 0  #: images are initialised in the order of this number
        self.deep_bind = False  #: its own search lists come before the global scope (RTLD_DEEPBIND)
        self.no_delete = bool(decoded.flags_1 & DynamicFlag1.NODELETE)  #: never unloaded before the end
        #: Asked before everything else for this image's references, and after all images.
        self.sources: tuple[SymbolSource | Lookup, ...] = ()
        self.late_sources: tuple[SymbolSource | Lookup, ...] = ()
        self.reference_kinds: U8 | None = None  #: see `relink.resolve.reference_kind`
        self.tls: TlsModule | None = None
        self.adopted: Adopted | None = (
            None  #: set for an image that lay in memory already (see `relink.load.adopt`)
        )
        self.version_ids: I64 | None = None
        self.outcome: Outcome | None = None
        self.lazy: LazySlots | None = None  #: jump slots that are bound when first called
        self.low = np.uint64(place.first_vaddr(decoded))
        self.address_mask = np.uint64(architecture.address_mask)
        self.bias_word = np.uint64(0)
        self._region: Region | None = None

    @property
    def float_abi(self) -> FloatAbi | None:
        """How its calls pass floating-point values; None where it makes none, or the ISA has one way only."""
        if isinstance(self.decoded, CombinedObjects):
            return self.decoded.float_abi
        return self.architecture.float_abi(self.decoded.header.flags, b"")

    @property
    def short_name(self) -> str:
        """The name without its folder."""
        return self.name.rpartition("/")[2]

    def __repr__(self) -> str:
        return f"<Image {self.name} {self.stage.name.lower()}>"

    # ------------------------------------------------------------ place

    def place(self, region: Region) -> None:
        """Give the image its region; from here on it has addresses."""
        self._region = region
        self.bias_word = np.uint64((region.address - int(self.low)) % (1 << 64))
        self.stage = Stage.MAPPED

    @property
    def region(self) -> Region:
        if self._region is None:
            raise UseAfterUnload(self.name)
        return self._region

    @property
    def base(self) -> int:
        """Guest address of the region: where `place.first_vaddr` went."""
        return self.region.address

    @property
    def bias(self) -> int:
        """The load bias, modulo the address width."""
        return int(self.bias_word) & self.architecture.address_mask

    def address_of(self, vaddr: int) -> int:
        """The guest address of a link-time address."""
        return (vaddr + self.bias) & self.architecture.address_mask

    def contains(self, address: int) -> bool:
        """Whether a guest address lies in the image's region."""
        return self._region is not None and self._region.address <= address < self._region.end

    @property
    def closed(self) -> bool:
        return self.stage is Stage.CLOSED

    @property
    def runs_elsewhere(self) -> bool:
        """Whether it was relocated and initialised by somebody else: then it is not to be again."""
        return self.adopted is not None and self.adopted.relocated

    def check_open(self, symbol: str | None = None) -> None:
        """Raise UseAfterUnload once the image is closed."""
        if self.closed:
            raise UseAfterUnload(self.name, symbol)

    def close(self) -> None:
        """Forget the region. Called by the linker, which also frees it."""
        self.stage = Stage.CLOSED
        self._region = None

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
            default & (table.section != 0) & (table.bind != Bind.LOCAL) & (table.type != SymbolType.TLS)
        )
        found = Bindings.empty(len(wanted), (self,))
        found.define(np.arange(len(wanted)), 0, wanted)
        names = table.names.take(wanted).texts()
        return dict(zip(names, found.address.tolist(), strict=True))

    def required_version(self, index: int) -> str | None:
        """The version a reference (an entry of the symbol table) asks for."""
        table = self.decoded.symbols
        if not table.has_versions:
            return None
        number = int(table.version[index]) & 0x7FFF
        return self.decoded.versions.name_of(number) if number > 1 else None

    def symbol_at(self, address: int) -> tuple[str, int] | None:
        """(name, bytes past its start) of the dynamic symbol a guest address lies in, as dladdr tells."""
        table = self.decoded.symbols
        vaddr = (address - self.bias) & self.architecture.address_mask
        if self._by_value is None:
            usable = (table.section != 0) & (table.section != SHN_ABS) & np.isin(table.type, _ADDRESSED)
            indices = np.flatnonzero(usable)
            # An assembler's labels (".L0") and mapping symbols ("$x") name nothing a person knows.
            initial = table.names.blob[table.names.start[indices]]
            indices = indices[(table.bind[indices] != Bind.LOCAL) | ~np.isin(initial, _ASSEMBLERS)]
            functions = np.isin(table.type[indices], (SymbolType.FUNC, SymbolType.GNU_IFUNC))
            masks = self.architecture.code_address_mask, self.architecture.address_mask
            mask = np.where(functions, *map(np.uint64, masks))
            values = table.value[indices] & mask
            # Of several at one place the last is told: rather a symbol with a type.
            order = np.lexsort((table.type[indices] != SymbolType.NOTYPE, values))
            self._by_value = indices[order], values[order]
        indices, values = self._by_value
        position = int(np.searchsorted(values, np.uint64(vaddr), side="right"))
        if not position:
            return None
        index, past = int(indices[position - 1]), vaddr - int(values[position - 1])
        # A symbol of unknown size reaches to the next one; what lies past a known size is not its own.
        return (table.names.text(index), past) if past < int(table.size[index]) or not table.size[index] else None

    _by_value: tuple[I64, U64] | None = None

    @property
    def kernel_module(self) -> KernelModule | None:
        """What the first of the linked objects that is a kernel module says of itself; None where none is.

        Raises UseAfterUnload, ElfError.
        """
        from relink.objects.kernel_module import is_kernel_module, kernel_module

        self.check_open()
        files = self.decoded.files if isinstance(self.decoded, CombinedObjects) else ()
        file = next(filter(is_kernel_module, files), None)
        if file is None:
            return None
        exports = self.exports
        return kernel_module(file, exports.get("init_module"), exports.get("cleanup_module"))

    @property
    def modinfo(self) -> Mapping[str, tuple[str, ...]]:
        """The key=value strings of a kernel module, every value of each key; empty for any other image."""
        module = self.kernel_module
        return {} if module is None else module.modinfo

    # ------------------------------------------------------------ what the link came to

    @property
    def relocation_counts(self) -> Counter[str]:
        """Entries applied, by the type's full name (RELR for packed relative ones)."""
        return self.outcome.counts if self.outcome else Counter()

    def link_map(self, read: Callable[[int, int], bytes] | None = None) -> LinkMap:
        """Sections, symbols, GOT slots and stubs with what they reach (see `relink.link_map`).

        `read(address, size)` gives guest bytes; without it what the linker wrote is told. Raises UseAfterUnload.
        """
        from relink.link_map import link_map

        return link_map(self, read)

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
        """Every symbol the relocations referred to and what it bound to; of jump slots that are bound when first
        called those that have been, in the order of their calls."""
        if self.outcome is not None and self.outcome.bindings is not None:
            bound = self.outcome.bindings
            names = self.decoded.symbols.names
            for element, index in enumerate(self.outcome.symbols.tolist(), 1):
                number = int(bound.provider[element])
                kind = {UNRESOLVED: "weak", HOST: "host"}.get(number, "image")
                provider = bound.images[number].name if kind == "image" else None
                yield BoundSymbol(
                    names.text(index), self.required_version(index), provider, int(bound.address[element]), kind
                )
        for answer in self.lazy.bound.values() if self.lazy is not None else ():
            owner = answer.provider.name if answer.provider is not None else None
            yield BoundSymbol(answer.name, answer.version, owner, answer.address, answer.kind)


def symbol_of(found: Bindings, element: int, name: str) -> Symbol:
    """A user's handle on a binding to an image."""
    image = found.images[int(found.provider[element])]
    return Symbol(
        name,
        image,
        int(found.symbol[element]),
        int(found.address[element]),
        int(found.size[element]),
        int(found.type[element]),
    )


@dataclass(slots=True)
class Timings:
    """Seconds spent per phase of one load."""

    phases: dict[str, float] = field(default_factory=dict)

    def add(self, phase: str, seconds: float) -> None:
        self.phases[phase] = self.phases.get(phase, 0.0) + seconds

    @property
    def total(self) -> float:
        return sum(self.phases.values())


class Clock:
    """Splits a load's time into phases."""

    def __init__(self) -> None:
        self.timings = Timings()
        self._last = time.perf_counter()

    def lap(self, phase: str) -> None:
        """Count the time since the last lap as this phase's."""
        now = time.perf_counter()
        self.timings.add(phase, now - self._last)
        self._last = now

"""`Bindings`: the definitions that a batch of references bound to, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from relink.arrays import I64, U8, U64, Bools, indices_where
from relink.elf.constants import SHN_ABS, SHN_UNDEF, SymbolType
from relink.elf.some_symbols import SomeSymbols
from relink.module import Module
from relink.records import dataclass, field
from relink.resolve.sources import DataAddress, ThreadLocal

_TLS, _FUNC, _OBJECT = int(SymbolType.TLS), int(SymbolType.FUNC), int(SymbolType.OBJECT)
_FEW = 4  #: definitions that are quicker stored one by one
#: Values of `Bindings.provider` for providers that are not images.
UNRESOLVED = -1
HOST = -2
#: Values of `Bindings.symbol` without a symbol-table entry: no symbol, or a number, for which no stub can be made.
NO_SYMBOL = -1
NUMBER = -2


@dataclass(slots=True)
class Bindings:
    """The definitions that a batch of references bound to; every array has one element per reference."""

    #: S: the address, the absolute value, or for TLS the offset in the module's block; 0 if unresolved
    address: U64
    size: U64  #: Z: the symbol's size
    type: U8  #: STT_* of the definition
    provider: np.ndarray[tuple[int, ...], np.dtype[np.int32]]  #: index into `images`, or HOST, or UNRESOLVED
    symbol: I64  #: index in the provider's symbol table; NO_SYMBOL or NUMBER if it has none
    canonical: Bools  #: whether the address is the provider's PLT entry for a function of another image
    images: tuple[Module, ...]
    asked: I64 | None = None  #: the references, as indices in the symbol table of the referring image
    _providers: list[Module] | None = field(default=None, repr=False)  #: `providers`, once asked for

    @classmethod
    def empty(cls, count: int, images: Sequence[Module], asked: I64 | None = None) -> Bindings:
        """Bindings of `count` unresolved references, which may bind to any of `images`."""
        return cls(
            np.zeros(count, np.uint64),
            np.zeros(count, np.uint64),
            np.zeros(count, np.uint8),
            np.full(count, UNRESOLVED, np.int32),
            np.full(count, NO_SYMBOL, np.int64),
            np.zeros(count, np.bool_),
            tuple(images),
            asked,
        )

    @classmethod
    def to_itself(
        cls,
        images: Sequence[Module],
        symbols: I64,
        rows: SomeSymbols,
        provider: np.ndarray[Any, np.dtype[np.int32]],
    ) -> Bindings:
        """Bindings of references to `symbols` (in the `rows`) of the first image, to the definitions that it has
        itself. They are bound where `provider` is not UNRESOLVED but one of that image's indices in `images`, in
        which it may be twice.
        """
        bound = provider != UNRESOLVED
        return cls(
            rows.addresses(images[0].bias_word, images[0].address_mask) * bound,
            rows.size * bound,
            rows.type * bound,
            provider,
            np.where(bound, symbols, NO_SYMBOL),
            np.zeros(len(symbols), np.bool_),
            tuple(images),
            symbols,
        )

    def copy(self) -> Bindings:
        """A copy, whose arrays can be written."""
        return Bindings(
            self.address.copy(),
            self.size.copy(),
            self.type.copy(),
            self.provider.copy(),
            self.symbol.copy(),
            self.canonical.copy(),
            self.images,
            self.asked,
        )

    def of_images(self, images: tuple[Module, ...]) -> Bindings:
        """These bindings, sharing their arrays, with other images for the numbers in `provider`."""
        return Bindings(
            self.address, self.size, self.type, self.provider, self.symbol, self.canonical, images, self.asked
        )

    def without_others(self) -> Bindings:
        """These bindings with only the images that a reference is bound to: most images of a scope have none."""
        used = np.zeros(len(self.images) + 2, np.bool_)
        used[self.provider] = True  # HOST and UNRESOLVED are the last two
        used[0] = True
        numbers = indices_where(used[:-2])
        table = np.full(len(used), UNRESOLVED, np.int32)
        table[numbers], table[HOST] = np.arange(len(numbers)), HOST
        provider = table[self.provider]
        provider.flags.writeable = self.provider.flags.writeable
        images = tuple([self.images[number] for number in numbers.tolist()])
        return Bindings(
            self.address, self.size, self.type, provider, self.symbol, self.canonical, images, self.asked
        )

    def take(self, where: I64, other: Bindings, chosen: I64) -> None:
        """Bind the references `where` to what the references `chosen` of another batch are bound to."""
        for mine, theirs in (
            (self.address, other.address),
            (self.size, other.size),
            (self.type, other.type),
            (self.symbol, other.symbol),
            (self.canonical, other.canonical),
        ):
            mine[where] = theirs[chosen]
        provider = other.provider[chosen]
        numbers = {n: self.number_of(other.images[n]) for n in set(provider.tolist()) if n >= 0}
        self.provider[where] = [numbers.get(n, n) for n in provider.tolist()]

    def define(self, where: I64, provider: int, symbols: I64) -> None:
        """Bind the references `where` to `symbols` of image number `provider`."""
        image = self.images[provider]
        rows = SomeSymbols(image.decoded.symbols.records, symbols)
        self.address[where] = rows.addresses(image.bias_word, image.address_mask)
        self.size[where] = rows.size
        self.type[where] = rows.type
        self.provider[where] = provider
        self.symbol[where] = symbols
        self.canonical[where] = rows.section == SHN_UNDEF

    def define_one(self, where: int, provider: int, symbol: int) -> None:
        """`define` of one reference."""
        image = self.images[provider]
        row = image.decoded.symbols.row(symbol)
        value = row.value
        if row.section != SHN_ABS and row.type != _TLS:
            value = (value + image.bias) & image.architecture.address_mask
        self.address[where] = value
        self.size[where] = row.size
        self.type[where] = row.type
        self.provider[where] = provider
        self.symbol[where] = symbol
        self.canonical[where] = row.section == SHN_UNDEF

    def define_host(self, where: int, definition: int | ThreadLocal, *, number: bool = False) -> None:
        """Bind one reference to a definition outside all images; a `number` is a value that is not a code
        address.
        """
        thread_local = isinstance(definition, ThreadLocal)
        self.address[where] = definition.offset if isinstance(definition, ThreadLocal) else definition
        data = _OBJECT if isinstance(definition, DataAddress) else _FUNC
        self.type[where] = _TLS if thread_local else data
        self.size[where] = definition.size if isinstance(definition, DataAddress) else 0
        self.symbol[where] = NUMBER if number else NO_SYMBOL
        self.provider[where] = HOST

    def define_hosts(self, where: I64, definitions: Sequence[int]) -> None:
        """`define_host` of several."""
        if len(definitions) > _FEW and {*map(type, definitions)} == {int}:
            self.address[where] = np.array(definitions, np.uint64)
            self.type[where], self.size[where], self.symbol[where] = _FUNC, 0, NO_SYMBOL
            self.provider[where] = HOST
            return
        for number, address in zip(where.tolist(), definitions, strict=True):
            self.define_host(number, address)

    def number_of(self, image: Module) -> int:
        """The image's index in `images`; the image is appended if it is not there."""
        if image not in self.images:
            self.images = (*self.images, image)
        return self.images.index(image)

    @property
    def providers(self) -> list[Module]:
        """The images that references are bound to, without the first, which is the referring image. To be asked
        for when all are bound: each unload asks all loaded images.
        """
        if self._providers is None:
            self._providers = [self.images[number] for number in sorted(set(self.provider.tolist())) if number > 0]
        return self._providers

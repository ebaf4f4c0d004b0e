"""THE resolver: which definition a symbolic reference binds to.

Relocations, `Image.symbol`, `dlsym`-like look-ups and IFUNC all ask `Resolver.bind`, with whole batches of
names at once: hashes, bloom filters, chains and string comparisons run as array operations, one provider
of the scope after the other, each asked only for what is still open.

The rules are the gABI's ("Shared Object Dependencies", symbol resolution) and, for versions, those of
glibc's elf/dl-lookup.c (`check_match`), which define what `foo@V1` and `foo@@V2` mean in practice.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from relink.arrays import I64, U8, U64, Bools
from relink.elf import Names
from relink.elf.constants import SHN_ABS, SHN_UNDEF, SymbolType, Visibility
from relink.elf.constants import Binding as Bind
from relink.errors import LinkError

if TYPE_CHECKING:
    from relink.image import Image, Symbol
    from relink.resolve.reference_kind import ReferenceKind
    from relink.tls import TlsModule


#: Providers that are not images have these places in `Bindings.provider`.
UNRESOLVED = -1
HOST = -2

_NO_VERSION = -1
_LINKABLE_TYPES = np.zeros(16, np.bool_)
_LINKABLE_TYPES[
    [
        SymbolType.NOTYPE,
        SymbolType.OBJECT,
        SymbolType.FUNC,
        SymbolType.COMMON,
        SymbolType.TLS,
        SymbolType.GNU_IFUNC,
    ]
] = True
_GLOBAL_BINDINGS = np.zeros(16, np.bool_)
_GLOBAL_BINDINGS[[Bind.GLOBAL, Bind.WEAK, Bind.GNU_UNIQUE]] = True
_SEEN_BY_OTHERS = np.zeros(4, np.bool_)
_SEEN_BY_OTHERS[[Visibility.DEFAULT, Visibility.PROTECTED]] = True


class Use(enum.IntEnum):
    """What a reference is for (glibc's type classes, sysdeps/generic/ldsodefs.h)."""

    ADDRESS = 0  #: the address: where an executable has made its PLT entry the function's address, that
    CALL = 1  #: to be called (ELF_RTYPE_CLASS_PLT): the function itself
    COPY = 2  #: its contents (ELF_RTYPE_CLASS_COPY): the definition behind the one that asks


@dataclass(frozen=True, slots=True)
class SymbolRequest:
    """One reference, as a symbol source sees it."""

    name: str
    version: str | None
    image: str | None  #: the name of the image that refers to it; None for a user's look-up
    asking: Image | None = field(default=None, repr=False, compare=False)  #: that image
    index: int = field(default=0, repr=False, compare=False)  #: of the reference in its symbol table

    @property
    def kind(self) -> ReferenceKind:
        """Whether a function, data or a thread-local variable is asked for, as far as the image tells."""
        from relink.resolve.reference_kind import ReferenceKind, reference_kind

        return ReferenceKind.UNKNOWN if self.asking is None else reference_kind(self.asking, self.index)


@dataclass(frozen=True, slots=True)
class ThreadLocal:
    """A thread-local variable of the host's own TLS module (`Resolver.host_tls`)."""

    offset: int  #: bytes into the module's block


class DataAddress(int):
    """The guest address of data of the host's, as a source answers it: no stub can stand for it."""

    size = 0  #: bytes, where the source knows

    @classmethod
    def of(cls, address: int, size: int) -> DataAddress:
        """`size` bytes at `address`."""
        data = cls(address)
        data.size = size
        return data


#: What a look-up answers: a guest address, a definition in an image, a variable of the host's TLS block, whatever
#: else `Resolver.host_value` understands (on a machine: a callable, which the guest will run), or None.
Definition: TypeAlias = "int | ThreadLocal | Symbol | object | None"
#: A look-up as a plain function.
Lookup: TypeAlias = "Callable[[SymbolRequest], Definition]"


class SymbolSource(Protocol):
    """Answers symbols from outside every image: host functions, a hosted library, a user's hook."""

    def lookup(self, request: SymbolRequest) -> Definition:
        """A definition, or None."""

    def may_know(self, names: Names) -> Bools | None:
        """Which of the names are worth asking for (None: all), so that a big batch stays a batch."""


class DefinedSymbols:
    """A source that is a table of names and guest addresses; versions are not looked at."""

    def __init__(self, addresses: Mapping[str, int]) -> None:
        self.addresses = addresses
        self._hashes = Names.of(list(addresses)).gnu_hash

    def lookup(self, request: SymbolRequest) -> int | None:
        return self.addresses.get(request.name)

    def may_know(self, names: Names) -> Bools | None:
        return np.isin(names.gnu_hash, self._hashes)


@dataclass(slots=True)
class Bindings:
    """What a batch of references bound to; every array has one element per reference."""

    address: U64  #: S: the address, the absolute value, or for TLS the offset in the module's block; 0 unresolved
    size: U64  #: Z
    type: U8  #: STT_* of the definition
    provider: NDArray[np.int32]  #: index into `images`, or HOST, or UNRESOLVED
    symbol: I64  #: index in the provider's symbol table; -1 if it has none
    canonical: Bools  #: whether the address is the provider's PLT entry, which stands for a function elsewhere
    images: tuple[Image, ...]
    asked: I64 | None = None  #: the references, as indices in the asking image's symbol table

    @classmethod
    def empty(cls, count: int, images: Sequence[Image]) -> Bindings:
        return cls(
            np.zeros(count, np.uint64),
            np.zeros(count, np.uint64),
            np.zeros(count, np.uint8),
            np.full(count, UNRESOLVED, np.int32),
            np.full(count, -1, np.int64),
            np.zeros(count, np.bool_),
            tuple(images),
        )

    def define(self, where: I64, provider: int, symbols: I64) -> None:
        """Bind the references `where` to `symbols` of image number `provider`."""
        image = self.images[provider]
        table = image.decoded.symbols
        value = table.value[symbols]
        rebased = (table.section[symbols] != SHN_ABS) & (table.type[symbols] != SymbolType.TLS)
        self.address[where] = np.where(rebased, (value + image.bias_word) & image.address_mask, value)
        self.size[where] = table.size[symbols]
        self.type[where] = table.type[symbols]
        self.provider[where] = provider
        self.symbol[where] = symbols
        self.canonical[where] = table.section[symbols] == SHN_UNDEF

    def define_host(self, where: int, definition: int | ThreadLocal) -> None:
        """Bind one reference to something outside every image."""
        thread_local = isinstance(definition, ThreadLocal)
        self.address[where] = definition.offset if isinstance(definition, ThreadLocal) else definition
        data = SymbolType.OBJECT if isinstance(definition, DataAddress) else SymbolType.FUNC
        self.type[where] = SymbolType.TLS if thread_local else data
        self.size[where] = definition.size if isinstance(definition, DataAddress) else 0
        self.provider[where] = HOST

    def number_of(self, image: Image) -> int:
        """The image's index in `images`, which grows by it if need be."""
        if image not in self.images:
            self.images = (*self.images, image)
        return self.images.index(image)


class VersionIds:
    """Interns version names, so that comparing versions is comparing integers."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}

    def of(self, name: str | None) -> int:
        return _NO_VERSION if name is None else self._ids.setdefault(name, len(self._ids))

    def of_image(self, image: Image) -> I64:
        """The id of every version index of an image, by index; the last is for all beyond."""
        if image.version_ids is None:
            versions = image.decoded.versions
            ids = [self.of(name) for name in versions.names]
            # The last element stands for every index nobody declared.
            image.version_ids = np.array([*ids, _NO_VERSION], np.int64)
        return image.version_ids


class Resolver:
    """Binds references. `before` sources may interpose on every image; `after` sources fill what is left.

    A source is a `SymbolSource` or a plain function of a `SymbolRequest`.
    """

    def __init__(self) -> None:
        self.before: list[SymbolSource | Lookup] = []
        self.after: list[SymbolSource | Lookup] = []
        #: Makes an address or a `Symbol` of an answer that is neither: a machine's part.
        self.host_value: Callable[[SymbolRequest, object], int | Symbol] = _refuse_value
        self.versions = VersionIds()
        #: Whether a guest address that a source has answered is one of data, which no stub can stand for.
        self.holds_data: Callable[[int], bool] = lambda address: False
        self.host_tls: TlsModule | None = None  #: the module of what sources answer with a ThreadLocal
        self.unique: dict[str, tuple[Image, int]] = {}  #: STB_GNU_UNIQUE: the first definition is the only one

    def bind(self, image: Image, symbols: I64, scope: Sequence[Image], uses: U8 | None = None) -> Bindings:
        """Bind the symbol-table entries `symbols` (int64[n]) of `image` in `scope`.

        Local and non-preemptible ones bind to the image itself; the others to the first provider that has
        them, for the `Use` of each (None: addresses). Unresolved ones come back as such: the caller knows
        which of them matter.
        """
        images = (image, *scope)
        bindings = Bindings.empty(len(symbols), images)
        bindings.asked = symbols
        table = image.decoded.symbols
        if not len(table):
            return bindings
        defined = table.section[symbols] != 0
        own = defined & ((table.bind[symbols] == Bind.LOCAL) | (table.visibility[symbols] != Visibility.DEFAULT))
        if uses is not None:
            own &= uses != Use.COPY
        bindings.define(np.flatnonzero(own), 0, symbols[own])
        open_ = np.flatnonzero(~own & (symbols != 0))
        if len(open_):
            wanted = symbols[open_]
            names = table.names.take(wanted)
            needed = self._required(image, wanted)
            chosen = None if uses is None else uses[open_]
            self._search(bindings, open_, names, needed, image, newest=False, uses=chosen)
        self._keep_unique(bindings)
        return bindings

    def find(self, name: str, version: str | None, scope: Sequence[Image], *, hosts: bool = False) -> Bindings:
        """One name for a user: like `bind`, but an unversioned request takes the default version (dlsym).

        `hosts` also asks the sources outside the scope.
        """
        bindings = Bindings.empty(1, scope)
        required = np.array([self.versions.of(version)], np.int64)
        where = np.zeros(1, np.int64)
        self._search(bindings, where, Names.of([name]), required, None, newest=True, hosts=hosts)
        self._keep_unique(bindings)
        return bindings

    def _search(
        self,
        bindings: Bindings,
        where: I64,
        names: Names,
        required: I64,
        image: Image | None,
        *,
        newest: bool,
        hosts: bool = True,
        uses: U8 | None = None,
    ) -> None:
        """Ask the providers in order; `names`, `required` and `uses` belong to the references `where`."""
        uses = np.zeros(len(where), np.uint8) if uses is None else uses
        pending = np.arange(len(where))
        before = [*(image.sources if image is not None else ()), *(self.before if hosts else ())]
        pending = self._ask(before, bindings, where, names, required, image, pending)
        symbolic = image is not None and image.symbolic
        for number in range(0 if symbolic or image is None else 1, len(bindings.images)):
            if not len(pending):
                return
            provider = bindings.images[number]
            if number and image is not None and symbolic and provider is image:
                continue
            some = names if len(pending) == len(names) else names.take(pending)
            use = uses[pending]
            request, found = self._definitions(provider, some, required[pending], newest, use == Use.CALL)
            if provider is image:  # a copy is of what lies behind the executable's own
                request, found = request[use[request] != Use.COPY], found[use[request] != Use.COPY]
            bindings.define(where[pending[request]], number, found)
            pending = np.delete(pending, request)
        after = [*(image.late_sources if image is not None else ()), *(self.after if hosts else ())]
        if after and len(pending):
            self._ask(after, bindings, where, names, required, image, pending)

    def _ask(
        self,
        sources: Sequence[SymbolSource | Lookup],
        bindings: Bindings,
        where: I64,
        names: Names,
        required: I64,
        image: Image | None,
        pending: I64,
    ) -> I64:
        """Ask sources outside the images, name by name; what is still pending afterwards."""
        asking = image.name if image is not None else None
        for source in map(as_source, sources):
            worth_asking = source.may_know(names.take(pending))
            answered = np.zeros(len(pending), np.bool_)
            for element in np.arange(len(pending))[slice(None) if worth_asking is None else worth_asking].tolist():
                index = int(pending[element])
                at = int(where[index])
                symbol = int(bindings.asked[at]) if bindings.asked is not None else 0
                version = self._version_name(int(required[index]))
                request = SymbolRequest(names.text(index), version, asking, image, symbol)
                definition = source.lookup(request)
                if definition is not None:
                    self._define(bindings, at, request, definition)
                    answered[element] = True
            pending = pending[~answered]
        return pending

    def _define(self, bindings: Bindings, element: int, request: SymbolRequest, definition: object) -> None:
        """Bind a reference to what a source has answered."""
        if not isinstance(definition, (int, ThreadLocal)):
            from relink.image import Symbol

            if not isinstance(definition, Symbol):
                definition = self.host_value(request, definition)
            if isinstance(definition, Symbol):
                definition.image.check_open(definition.name)
                number = bindings.number_of(definition.image)
                bindings.define(np.array([element]), number, np.array([definition.index]))
                return
        if not isinstance(definition, ThreadLocal | DataAddress) and self.holds_data(definition):
            definition = DataAddress(definition)
        bindings.define_host(element, definition)

    def _version_name(self, number: int) -> str | None:
        return None if number == _NO_VERSION else list(self.versions._ids)[number]

    def _required(self, image: Image, symbols: I64) -> I64:
        """The version id each of an image's references asks for; -1 for none."""
        table = image.decoded.symbols
        if not table.has_versions:
            return np.full(len(symbols), _NO_VERSION, np.int64)
        index = (table.version[symbols] & 0x7FFF).astype(np.int64)
        ids = self.versions.of_image(image)
        return np.where(index > 1, ids[np.minimum(index, len(ids) - 1)], _NO_VERSION)

    def _definitions(
        self, provider: Image, names: Names, required: I64, newest: bool, calls: Bools
    ) -> tuple[I64, I64]:
        """(request, symbol): for each name at most one acceptable definition in `provider`.

        One that is to be called (`calls`) is never another image's PLT entry for it.
        """
        table = provider.decoded.symbols
        request, symbol = table.candidates(names)
        if not len(request):
            return request, symbol
        usable = (
            _LINKABLE_TYPES[table.type[symbol]]
            & _GLOBAL_BINDINGS[table.bind[symbol]]
            & _SEEN_BY_OTHERS[table.visibility[symbol]]
            & (
                (table.value[symbol] != 0)
                | (table.section[symbol] == SHN_ABS)
                | (table.type[symbol] == SymbolType.TLS)
            )
        )
        undefined = table.section[symbol] == SHN_UNDEF
        if undefined.any():  # with an address all the same: that of a PLT entry
            usable &= ~undefined | (~calls[request] & (table.type[symbol] != SymbolType.TLS))
        request, symbol = request[usable], symbol[usable]
        if table.has_versions and len(request):
            request, symbol = self._matching_versions(provider, request, symbol, required, newest)
        first = np.ones(len(request), np.bool_)
        first[1:] = request[1:] != request[:-1]
        return request[first], symbol[first]

    def _matching_versions(
        self, provider: Image, request: I64, symbol: I64, required: I64, newest: bool
    ) -> tuple[I64, I64]:
        """Keep the candidates whose version answers the request (glibc, `check_match`)."""
        raw = provider.decoded.symbols.version[symbol].astype(np.int64)
        index, hidden = raw & 0x7FFF, (raw & 0x8000) != 0
        ids = self.versions.of_image(provider)
        own = np.where(index > 1, ids[np.minimum(index, len(ids) - 1)], _NO_VERSION)
        wanted = required[request]
        asked = wanted != _NO_VERSION
        # A versioned request takes its version, or a definition without any version that is not hidden.
        accepted = asked & ((own == wanted) | ((own == _NO_VERSION) & ~hidden))
        # An unversioned one takes the base definition (a look-up for relocations also the oldest version) …
        accepted |= ~asked & (index < (2 if newest else 3))
        # … or else the default version, if there is exactly one.
        satisfied = np.zeros(len(required), np.bool_)
        satisfied[request[accepted]] = True
        default = ~asked & ~hidden & ~satisfied[request]
        defaults = np.bincount(request[default], minlength=len(required))
        accepted |= default & (defaults[request] == 1)
        return request[accepted], symbol[accepted]

    def _keep_unique(self, bindings: Bindings) -> None:
        """Redirect STB_GNU_UNIQUE bindings to the first definition any image ever bound to.

        Its owner becomes the provider, though it may be out of scope: the binding keeps it alive.
        """
        numbers = {image: number for number, image in enumerate(bindings.images)}
        for number, image in enumerate(bindings.images):
            mine = np.flatnonzero(bindings.provider == number)
            table = image.decoded.symbols
            for where in mine[table.bind[bindings.symbol[mine]] == Bind.GNU_UNIQUE].tolist():
                symbol = int(bindings.symbol[where])
                name = table.names.text(symbol)
                owner, index = self.unique.setdefault(name, (image, symbol))
                if owner is not image:
                    if owner not in numbers:
                        numbers[owner] = len(bindings.images)
                        bindings.images = (*bindings.images, owner)
                    bindings.define(np.array([where]), numbers[owner], np.array([index]))

    def forget(self, image: Image) -> None:
        """Drop what an unloaded image defined."""
        self.unique = {name: (owner, i) for name, (owner, i) in self.unique.items() if owner is not image}


def _refuse_value(request: SymbolRequest, value: object) -> int:
    problem = f"a look-up answered {value!r} for {request.name}: without a machine it takes an address or a Symbol"
    raise LinkError(request.image or request.name, problem)


class _FunctionSource:
    def __init__(self, function: Lookup) -> None:
        self.lookup = function

    def may_know(self, names: Names) -> Bools | None:
        return None


def source_from(function: Lookup) -> SymbolSource:
    """A `SymbolSource` from a plain function."""
    return _FunctionSource(function)


def as_source(source: SymbolSource | Lookup) -> SymbolSource:
    """The source itself, or one of a plain function."""
    return cast(SymbolSource, source) if hasattr(source, "lookup") else _FunctionSource(source)

"""The resolver binds symbolic references to definitions.

Relocations, `Image.symbol`, `dlsym`-like look-ups and IFUNC all use `Resolver.bind`, with batches of names:
hashes, chains and string comparisons are array operations. The providers of the scope are searched one after
another, each for the references that are still unresolved.

The rules are the gABI's ("Shared Object Dependencies", symbol resolution) and, for versions, those of
glibc's elf/dl-lookup.c (`check_match`), which define what `foo@V1` and `foo@@V2` mean in practice.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import TypeAlias
from weakref import WeakKeyDictionary

import numpy as np

from relink.arrays import I64, U8, Bools
from relink.elf import Names
from relink.elf.constants import SHN_ABS, SHN_UNDEF, SymbolBind, SymbolType, Visibility
from relink.errors import LinkError
from relink.module import Module, TlsModule
from relink.records import dataclass
from relink.resolve.bindings import Bindings
from relink.resolve.scopes import LookupScope
from relink.resolve.sources import (
    DataAddress,
    Lookup,
    SymbolDefinition,
    SymbolRequest,
    SymbolSource,
    ThreadLocal,
    as_source,
)

_AnySource: TypeAlias = SymbolSource | Lookup
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
_GLOBAL_BINDINGS[[SymbolBind.GLOBAL, SymbolBind.WEAK, SymbolBind.GNU_UNIQUE]] = True
_OWN_ONLY = np.zeros(4, np.bool_)
_OWN_ONLY[[Visibility.INTERNAL, Visibility.HIDDEN]] = True
_SEEN_BY_OTHERS = np.zeros(4, np.bool_)
_SEEN_BY_OTHERS[[Visibility.DEFAULT, Visibility.PROTECTED]] = True


class Use(enum.IntEnum):
    """The use of a reference (glibc's type classes, sysdeps/generic/ldsodefs.h)."""

    ADDRESS = 0  #: the symbol's address, or its canonical PLT entry in the executable
    CALL = 1  #: a call (ELF_RTYPE_CLASS_PLT): the function itself, not a PLT entry
    COPY = 2  #: the contents (ELF_RTYPE_CLASS_COPY): the next definition after the executable's own


@dataclass(frozen=True, slots=True)
class _Search:
    """References to bind; arrays have one element per reference."""

    bindings: Bindings
    where: I64  #: their indices in `bindings`
    names: Names
    required: I64  #: ids of the versions they require
    uses: U8
    image: Module | None  #: the referring image; None for a user's look-up, which prefers the newest version
    #: Which references cannot be bound to other images: undefined hidden symbols of objects (gABI, "Symbol
    #: Visibility"). A static linker refuses them; ld.so does not check.
    own_only: Bools | None = None


class VersionIds:
    """Interns version names as integers, for fast comparison."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._of_image: WeakKeyDictionary[Module, I64] = WeakKeyDictionary()

    def of(self, name: str | None) -> int:
        return _NO_VERSION if name is None else self._ids.setdefault(name, len(self._ids))

    def of_image(self, image: Module) -> I64:
        """The id of each version index of an image; the last element is for undeclared indices."""
        known = self._of_image.get(image)
        if known is None:
            ids = [self.of(name) for name in image.decoded.versions.names]
            known = self._of_image[image] = np.array([*ids, _NO_VERSION], np.int64)
        return known


class Resolver:
    """Binds references. `before` sources are searched before all images, `after` sources after them. A source is a
    `SymbolSource` or a function of a `SymbolRequest`.
    """

    def __init__(self) -> None:
        self.before: list[SymbolSource | Lookup] = []
        self.after: list[SymbolSource | Lookup] = []
        #: Converts other answers of a source into an address or a `Symbol`; set by a machine.
        self.host_value: Callable[[SymbolRequest, object], int | SymbolDefinition] = _refuse_value
        self.versions = VersionIds()
        #: Whether a guest address answered by a source is that of data, for which no stub can be made.
        self.holds_data: Callable[[int], bool] = lambda address: False
        #: Whether such an address is that of a host function, for which a stub can be made. Others are plain
        #: numbers.
        self.is_host_function: Callable[[int], bool] = lambda address: False
        self.host_tls: TlsModule | None = None  #: the TLS module of ThreadLocal answers
        self.unique: dict[str, tuple[Module, int]] = {}  #: STB_GNU_UNIQUE: the first definition is the only one

    def bind(self, image: Module, symbols: I64, scope: LookupScope, uses: U8 | None = None) -> Bindings:
        """Bind the symbol-table entries `symbols` (int64[n]) of `image` in `scope`.

        Local and non-preemptible symbols bind to the image itself; others to the first provider in the scope that
        defines them, by the `Use` of each (None: addresses). Unresolved references are returned as such; the
        caller decides which are errors.
        """
        bindings = Bindings.empty(len(symbols), (image, *scope.images))
        bindings.asked = symbols
        table = image.decoded.symbols
        if not len(table):
            return bindings
        defined = table.section[symbols] != 0
        own = defined & (
            (table.bind[symbols] == SymbolBind.LOCAL) | (table.visibility[symbols] != Visibility.DEFAULT)
        )
        if uses is not None:
            own &= uses != Use.COPY
        bindings.define(np.flatnonzero(own), 0, symbols[own])
        open_ = np.flatnonzero(~own & (symbols != 0))
        if len(open_):
            wanted = symbols[open_]
            purposes = np.zeros(len(open_), np.uint8) if uses is None else uses[open_]
            required = self._required(image, wanted)
            own_only = (
                ~defined[open_] & _OWN_ONLY[table.visibility[wanted]] if image.decoded.is_relocatable else None
            )
            search = _Search(bindings, open_, table.names.take(wanted), required, purposes, image, own_only)
            self._search(search, [*scope.before, *self.before], [*scope.after, *self.after])
        self._keep_unique(bindings)
        return bindings

    def find(
        self,
        name: str,
        version: str | None,
        scope: Sequence[Module],
        *,
        hosts: bool = False,
        after: Sequence[_AnySource] = (),
    ) -> Bindings:
        """Look up one name for a user: like `bind`, but an unversioned request gets the default version (dlsym).

        `after` are images searched after the scope; with `hosts` the sources outside the scope are searched too.
        """
        bindings = Bindings.empty(1, scope)
        required = np.array([self.versions.of(version)], np.int64)
        search = _Search(bindings, np.zeros(1, np.int64), Names.of([name]), required, np.zeros(1, np.uint8), None)
        self._search(search, self.before if hosts else (), [*after, *self.after] if hosts else after)
        self._keep_unique(bindings)
        return bindings

    def _search(self, search: _Search, before: Sequence[_AnySource], after: Sequence[_AnySource]) -> None:
        """Search the providers in order: sources, images, sources."""
        bindings, image = search.bindings, search.image
        pending = self._ask(before, search, np.arange(len(search.where)))
        barred = pending[:0]
        if search.own_only is not None:
            barred, pending = pending[search.own_only[pending]], pending[~search.own_only[pending]]
        symbolic = image is not None and image.decoded.is_symbolic
        for number in range(0 if symbolic or image is None else 1, len(bindings.images)):
            if not len(pending):
                break
            provider = bindings.images[number]
            if number and symbolic and provider is image:
                continue
            names = search.names if len(pending) == len(search.names) else search.names.take(pending)
            use = search.uses[pending]
            newest = image is None
            request, found = self._definitions(provider, names, search.required[pending], newest, use == Use.CALL)
            if provider is image:  # a COPY relocation copies from the next definition after the executable's own
                request, found = request[use[request] != Use.COPY], found[use[request] != Use.COPY]
            bindings.define(search.where[pending[request]], number, found)
            pending = np.delete(pending, request)
        if len(pending) or len(barred):
            self._ask(after, search, np.concatenate((pending, barred)))

    def _ask(self, sources: Sequence[_AnySource], search: _Search, pending: I64) -> I64:
        """Search sources outside the images, name by name; return the references still pending."""
        bindings, image = search.bindings, search.image
        asking = image.name if image is not None else None
        for source in map(as_source, sources):
            worth_asking = source.may_know(search.names.take(pending))
            answered = np.zeros(len(pending), np.bool_)
            for element in np.arange(len(pending))[slice(None) if worth_asking is None else worth_asking].tolist():
                index = int(pending[element])
                at = int(search.where[index])
                symbol = int(bindings.asked[at]) if bindings.asked is not None else 0
                version = self._version_name(int(search.required[index]))
                request = SymbolRequest(search.names.text(index), version, asking, image, symbol)
                definition = source.lookup(request)
                if definition is not None:
                    self._define(bindings, at, request, definition)
                    answered[element] = True
            pending = pending[~answered]
        return pending

    def _define(self, bindings: Bindings, element: int, request: SymbolRequest, definition: object) -> None:
        """Bind a reference to the answer of a source."""
        if not isinstance(definition, (int, ThreadLocal)):
            if not isinstance(definition, SymbolDefinition):
                definition = self.host_value(request, definition)
            if isinstance(definition, SymbolDefinition):
                definition.image.check_open(definition.name)
                number = bindings.number_of(definition.image)
                bindings.define(np.array([element]), number, np.array([definition.index]))
                return
        if not isinstance(definition, ThreadLocal | DataAddress) and self.holds_data(definition):
            definition = DataAddress(definition)
        number = not isinstance(definition, ThreadLocal | DataAddress) and not self.is_host_function(definition)
        bindings.define_host(element, definition, number=number)

    def _version_name(self, number: int) -> str | None:
        return None if number == _NO_VERSION else list(self.versions._ids)[number]

    def _required(self, image: Module, symbols: I64) -> I64:
        """The version id that each of an image's references requires; -1 for none."""
        table = image.decoded.symbols
        if not table.has_versions:
            return np.full(len(symbols), _NO_VERSION, np.int64)
        index = (table.version[symbols] & 0x7FFF).astype(np.int64)
        ids = self.versions.of_image(image)
        return np.where(index > 1, ids[np.minimum(index, len(ids) - 1)], _NO_VERSION)

    def _definitions(
        self, provider: Module, names: Names, required: I64, newest: bool, calls: Bools
    ) -> tuple[I64, I64]:
        """(request, symbol): for each name at most one matching definition in `provider`.

        For a call (`calls`) a PLT entry for a function of another image does not match.
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
        if undefined.any():  # undefined with an address: that of a PLT entry
            usable &= ~undefined | (~calls[request] & (table.type[symbol] != SymbolType.TLS))
        request, symbol = request[usable], symbol[usable]
        if table.has_versions and len(request):
            request, symbol = self._matching_versions(provider, request, symbol, required, newest)
        first = np.ones(len(request), np.bool_)
        first[1:] = request[1:] != request[:-1]
        return request[first], symbol[first]

    def _matching_versions(
        self, provider: Module, request: I64, symbol: I64, required: I64, newest: bool
    ) -> tuple[I64, I64]:
        """Keep the candidates whose version satisfies the request (glibc, `check_match`)."""
        raw = provider.decoded.symbols.version[symbol].astype(np.int64)
        index, hidden = raw & 0x7FFF, (raw & 0x8000) != 0
        ids = self.versions.of_image(provider)
        own = np.where(index > 1, ids[np.minimum(index, len(ids) - 1)], _NO_VERSION)
        wanted = required[request]
        asked = wanted != _NO_VERSION
        # A versioned request accepts its version, or an unversioned definition that is not hidden.
        accepted = asked & ((own == wanted) | ((own == _NO_VERSION) & ~hidden))
        # An unversioned request accepts the base definition (for relocations also the oldest version) …
        accepted |= ~asked & (index < (2 if newest else 3))
        # … else the default version, if there is exactly one.
        satisfied = np.zeros(len(required), np.bool_)
        satisfied[request[accepted]] = True
        default = ~asked & ~hidden & ~satisfied[request]
        defaults = np.bincount(request[default], minlength=len(required))
        accepted |= default & (defaults[request] == 1)
        return request[accepted], symbol[accepted]

    def _keep_unique(self, bindings: Bindings) -> None:
        """Redirect STB_GNU_UNIQUE bindings to the first definition that any image bound to.

        The image that has it becomes the provider even if it is out of scope, so that the binding keeps it loaded.
        """
        numbers = {image: number for number, image in enumerate(bindings.images)}
        for number, image in enumerate(bindings.images):
            mine = np.flatnonzero(bindings.provider == number)
            table = image.decoded.symbols
            for where in mine[table.bind[bindings.symbol[mine]] == SymbolBind.GNU_UNIQUE].tolist():
                symbol = int(bindings.symbol[where])
                name = table.names.text(symbol)
                owner, index = self.unique.setdefault(name, (image, symbol))
                if owner is not image:
                    if owner not in numbers:
                        numbers[owner] = len(bindings.images)
                        bindings.images = (*bindings.images, owner)
                    bindings.define(np.array([where]), numbers[owner], np.array([index]))

    def forget(self, image: Module) -> None:
        """Forget the unique definitions of an unloaded image."""
        self.unique = {name: (owner, i) for name, (owner, i) in self.unique.items() if owner is not image}


def _refuse_value(request: SymbolRequest, value: object) -> int:
    problem = (
        f"a look-up answered {value!r} for {request.name}; without a machine it must be an address or a Symbol"
    )
    raise LinkError(request.image or request.name, problem)

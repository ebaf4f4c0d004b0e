"""The resolver binds symbolic references to definitions.

Relocations, `Image.symbol`, `dlsym`-like look-ups and IFUNC all use `Resolver.bind`, with batches of names:
hashes, chains and string comparisons are array operations. The providers of the scope are searched one after
another, each for the references that are still unresolved.

The rules are the gABI's ("Shared Object Dependencies", symbol resolution) and, for versions, those of
glibc's elf/dl-lookup.c (`check_match`), which define what `foo@V1` and `foo@@V2` mean in practice.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Sequence
from functools import partial
from heapq import heapify, heappop, heappush
from itertools import chain
from typing import TypeAlias

import numpy as np

from relink.arrays import I64, U8, anywhere, indices_where
from relink.elf import Names
from relink.elf.constants import SymbolBind, Visibility
from relink.elf.some_symbols import SomeSymbols
from relink.errors import LinkError
from relink.module import Module, TlsModule
from relink.records import Assigned
from relink.resolve.bindings import HOST, UNRESOLVED, Bindings
from relink.resolve.definitions import NO_VERSION, NOT_DEFINED, VersionIds, definition_of, definitions
from relink.resolve.few_references import BOUND_TO_NOTHING, Few, Open, bind_few
from relink.resolve.own_exports import Kept, Split, certainly_own, split
from relink.resolve.scope_index import SMALLEST_SCOPE, ScopeIndex, ScopeIndices
from relink.resolve.scopes import LookupScope
from relink.resolve.search import Search
from relink.resolve.sources import (
    DataAddress,
    Lookup,
    SymbolDefinition,
    SymbolRequest,
    SymbolSource,
    ThreadLocal,
    as_source,
)

AnySource: TypeAlias = SymbolSource | Lookup
#: So few names are looked up one by one: that is what arrays cost.
_FEW = 8
# Numbers: an enum's member costs a microsecond each time it is named.
_UNIQUE = np.uint8(SymbolBind.GNU_UNIQUE)
_FIRST, _NOWHERE = np.int32(0), np.int32(UNRESOLVED)
_OWN_ONLY = np.zeros(4, np.bool_)
_OWN_ONLY[[Visibility.INTERNAL, Visibility.HIDDEN]] = True


class Use(enum.IntEnum):
    """The use of a reference (glibc's type classes, sysdeps/generic/ldsodefs.h)."""

    ADDRESS = 0  #: the symbol's address, or its canonical PLT entry in the executable
    CALL = 1  #: a call (ELF_RTYPE_CLASS_PLT): the function itself, not a PLT entry
    COPY = 2  #: the contents (ELF_RTYPE_CLASS_COPY): the next definition after the executable's own


_CALL, _COPY = np.uint8(Use.CALL), np.uint8(Use.COPY)


class Resolver(Assigned):
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
        self.indices = ScopeIndices()

    def bind(
        self, image: Module, symbols: I64, scope: LookupScope, uses: U8 | None = None, kept: Kept | None = None
    ) -> Bindings:
        """Bind the symbol-table entries `symbols` (int64[n]) of `image` in `scope`.

        Local and non-preemptible symbols bind to the image itself; others to the first provider in the scope that
        defines them, by the `Use` of each (None: addresses). Unresolved references are returned as such; the
        caller decides which are errors. `kept` is for what follows from the file, if the same will be asked again.
        """
        images, table = (image, *scope.images), image.decoded.symbols
        kept = {} if kept is None else kept
        if "split" not in kept:
            table.check_names()
            if not len(table) or not anywhere(symbols):
                return Bindings.empty(len(symbols), images, symbols)
            copies = None if uses is None else uses == _COPY
            kept["split"] = split(table, symbols, copies if copies is not None and anywhere(copies) else None)
        found: Split = kept["split"]
        before = [as_source(source) for source in (*scope.before, *self.before)]
        certain = certainly_own(image, symbols, scope.images, before, kept)
        numbers, open_ = np.where(found.own, _FIRST, _NOWHERE), found.open
        if certain is not None:
            numbers, open_ = np.where(certain[0], np.int32(certain[1]), numbers), open_ & ~certain[0]
        bindings = Bindings.to_itself(images, symbols, found.rows, numbers)
        if len(left := indices_where(open_)):
            self._search_open(bindings, left, scope, before, uses, kept)
        self._keep_unique(bindings)
        return bindings

    def bind_few(self, image: Module, few: Few, scope: LookupScope) -> Bindings | None:
        """`bind` of few references, symbol 0 first; None where a batch has to be made of them."""
        if not few.references:
            return BOUND_TO_NOTHING.of_images((image, *scope.images))
        found = bind_few(image, few, scope, self.versions, self.indices)
        if found is None:
            return None
        bindings, open_ = found
        before = [as_source(source) for source in chain(scope.before, self.before)]
        if any(not getattr(source, "is_idle", False) for source in before):  # they go before the images
            asked = [element for element, reference in enumerate(few.references, 1) if not reference.own]
            bindings = bindings.copy()
            left = self._ask_few(before, image, bindings, few.open(asked), scope)
            rest = [] if open_ is None else [element for element in open_.where.tolist() if element in left]
            open_ = few.open(rest) if rest else None
        if open_ is not None:
            self.ask_after(image, bindings, open_, scope)
        return bindings

    def ask_after(self, image: Module, bindings: Bindings, asked: Open, scope: LookupScope) -> None:
        """Ask the sources after the images for references of an image."""
        self._ask_few([*scope.after, *self.after], image, bindings, asked, scope)

    def _ask_few(
        self, sources: Sequence[AnySource], image: Module, bindings: Bindings, asked: Open, scope: LookupScope
    ) -> Collection[int]:
        """Ask sources for references of an image; return the elements of the bindings that are left."""
        required = np.array(list(map(self.versions.of, asked.versions)), np.int64)
        search = Search(bindings, asked.where, asked.names, required, asked.uses, scope.images, image)
        return {*asked.where[self._ask(sources, search, np.arange(len(asked.where)))].tolist()}

    def _search_open(
        self,
        bindings: Bindings,
        open_: I64,
        scope: LookupScope,
        before: Sequence[SymbolSource],
        uses: U8 | None,
        kept: Kept,
    ) -> None:
        """Search the scope for the references `open_` (indices in `bindings`)."""
        image, symbols = bindings.images[0], bindings.asked
        assert symbols is not None
        table, wanted = image.decoded.symbols, symbols[open_]
        purposes = np.zeros(len(open_), np.uint8) if uses is None else uses[open_]
        required, own_only = partial(self._required, image, wanted), None
        if image.decoded.is_relocatable:
            rows = SomeSymbols(table.records, wanted)
            own_only = (rows.section == 0) & _OWN_ONLY[rows.visibility]
        names = table.names_of(wanted)
        search = Search(bindings, open_, names, required, purposes, scope.images, image, own_only, kept)
        self._search(search, before, [*scope.after, *self.after])

    def find(
        self,
        name: str,
        version: str | None,
        scope: Sequence[Module],
        *,
        hosts: bool = False,
        after: Sequence[AnySource] = (),
    ) -> Bindings:
        """Look up one name for a user: like `bind`, but an unversioned request gets the default version (dlsym).

        `after` are images searched after the scope; with `hosts` the sources outside the scope are searched too.
        """
        bindings = Bindings.empty(1, scope)
        required = np.array([self.versions.of(version)], np.int64)
        where, use = np.zeros(1, np.int64), np.zeros(1, np.uint8)
        search = Search(bindings, where, Names.of([name]), required, use, scope, None)
        self._search(search, self.before if hosts else (), [*after, *self.after] if hosts else after)
        self._keep_unique(bindings)
        return bindings

    def _search(self, search: Search, before: Sequence[AnySource], after: Sequence[AnySource]) -> None:
        """Search the providers in order: sources, images, sources."""
        pending = self._ask(before, search, np.arange(len(search.where)))
        barred = pending[:0]
        if search.own_only is not None:
            barred, pending = pending[search.own_only[pending]], pending[~search.own_only[pending]]
        pending = self._ask_images(search, pending)
        if len(pending) or len(barred):
            self._ask(after, search, np.concatenate((pending, barred)))

    def _ask_images(self, search: Search, pending: I64) -> I64:
        """Ask the images of the scope in order; what is still pending afterwards."""
        image, scope = search.image, search.scope
        symbolic = image is not None and image.decoded.is_symbolic
        if symbolic and len(pending):
            pending = self._ask_image(search, 0, pending)
        if not len(pending):
            return pending
        few_images_for_many_names, begin = len(scope) <= 16 and len(pending) > 64 * len(scope), 1
        if image is None:  # a user mostly asks for what the first one defines: that is no reason to make an index
            begin = min(SMALLEST_SCOPE, len(scope))
            for number in range(begin):
                if len(pending := self._ask_image(search, number, pending)) == 0:
                    return pending
        index = None if few_images_for_many_names else self.indices.of(scope)
        if index is not None:
            return self._ask_indexed(search, pending, index, symbolic=symbolic)
        for number in range(begin, len(scope) + (image is not None)):
            if not len(pending):
                break
            if not (symbolic and search.bindings.images[number] is image):
                pending = self._ask_image(search, number, pending)
        return pending

    def _ask_indexed(self, search: Search, pending: I64, index: ScopeIndex, *, symbolic: bool) -> I64:
        """`_ask_images`, less the images that cannot define what is pending."""
        hashes = dict(zip(pending.tolist(), search.names.gnu_hash[pending].tolist(), strict=True))
        first = int(search.image is not None)  # the number of the scope's first image in the bindings
        everything = set(index.rest)  # positions that have to be asked for all names
        waiting: dict[int, list[int]] = {}  # position -> the names that may be there, and not before
        for element, hash_ in hashes.items():
            position = index.first(hash_)
            if position is not None:
                waiting.setdefault(position, []).append(element)
        queue = [*{*everything, *waiting}]
        heapify(queue)
        while queue and hashes:
            position = heappop(queue)
            some = waiting.pop(position, [])
            asked = sorted(hashes if position in everything else hashes.keys() & some)
            if asked and not (symbolic and search.scope[position] is search.image):
                left = self._ask_image(search, position + first, np.array(asked, np.int64)).tolist()
                index.ask(position)
                for element in {*asked}.difference(left):
                    del hashes[element]
            for element in some:
                further = index.first(hashes[element], position) if element in hashes else None
                if further is None:
                    continue
                if further not in waiting and further not in everything:
                    heappush(queue, further)
                waiting.setdefault(further, []).append(element)
        return np.array([*hashes], np.int64)

    def _ask_image(self, search: Search, number: int, pending: I64) -> I64:
        """Ask one image for `pending` (ascending); what it does not define."""
        bindings, provider = search.bindings, search.bindings.images[number]
        if len(pending) <= _FEW:
            alone = self._ask_image_by_name(search, number, pending.tolist())
            if alone is not None:
                return np.array(alone, np.int64)
        kept = search.kept if provider is search.image else None
        asked = search.where[pending].tobytes() if kept is not None else b""
        if kept is not None and kept.get("not here") == asked:
            return pending
        names = search.names if len(pending) == len(search.names) else search.names.take(pending)
        use, newest = search.uses[pending], search.image is None
        request, found = definitions(
            provider, names, lambda: search.versions()[pending], use == _CALL, self.versions, newest=newest
        )
        if provider is search.image:  # a copy is of what lies behind the executable's own
            request, found = request[use[request] != _COPY], found[use[request] != _COPY]
        if not len(request):
            if kept is not None:
                kept["not here"] = asked
            return pending
        bindings.define(search.where[pending[request]], number, found)
        return np.delete(pending, request)

    def _ask_image_by_name(self, search: Search, number: int, pending: list[int]) -> list[int] | None:
        """`_ask_image` for a few names, one by one; None where the image has to be asked for them as a batch."""
        bindings, provider = search.bindings, search.bindings.images[number]
        left, found = [], []
        for element in pending:
            use, required = search.uses[element], int(search.versions()[element])
            name, hash_ = search.names.raw(element), int(search.names.gnu_hash[element])
            newest = search.image is None
            symbol = definition_of(
                provider, name, hash_, required, self.versions, newest=newest, call=bool(use == _CALL)
            )
            if symbol is None:
                return None
            if symbol == NOT_DEFINED or (provider is search.image and use == _COPY):
                left.append(element)
            else:
                found.append((element, symbol))
        for element, symbol in found:
            bindings.define_one(int(search.where[element]), number, symbol)
        return left

    def _ask(self, sources: Sequence[AnySource], search: Search, pending: I64) -> I64:
        """Search sources outside the images, name by name; return the references still pending."""
        bindings = search.bindings
        for source in map(as_source, sources):
            if not len(pending):
                break
            chosen = self._worth_asking(source, search, pending)
            if not len(chosen):
                continue
            answered = np.zeros(len(pending), np.bool_)
            for element in chosen:
                index = int(pending[element])
                request = self._request(search, index)
                definition = source.lookup(request)
                if definition is not None:
                    self._define(bindings, int(search.where[index]), request, definition)
                    answered[element] = True
            pending = pending[~answered]
        return pending

    @staticmethod
    def _worth_asking(source: SymbolSource, search: Search, pending: I64) -> Sequence[int]:
        """The pending references, by their positions, that a source is to be asked for."""
        knows = getattr(source, "knows", None) if len(pending) <= _FEW else None
        if knows is not None:
            return [place for place, index in enumerate(pending.tolist()) if knows(search.names.text(index))]
        every = len(pending) == len(search.names)
        mask = source.may_know(search.names if every else search.names.take(pending))
        found: list[int] = indices_where(mask).tolist() if mask is not None else []
        return range(len(pending)) if mask is None else found

    def _request(self, search: Search, index: int) -> SymbolRequest:
        """The reference as sources get it."""
        asked, image = search.bindings.asked, search.image
        symbol = int(asked[int(search.where[index])]) if asked is not None else 0
        version = self.versions.name_of(int(search.versions()[index]))
        return SymbolRequest(
            search.names.text(index), version, None if image is None else image.name, image, symbol
        )

    def _define(self, bindings: Bindings, element: int, request: SymbolRequest, definition: object) -> None:
        """Bind a reference to the answer of a source."""
        value = self.valued(request, definition)
        if isinstance(value, SymbolDefinition):
            bindings.define_one(element, bindings.number_of(value.image), value.index)
            return
        number = not isinstance(value, ThreadLocal | DataAddress) and not self.is_host_function(value)
        bindings.define_host(element, value, number=number)

    def valued(self, request: SymbolRequest, definition: object) -> int | ThreadLocal | SymbolDefinition:
        """The answer of a source as an address or a definition. Raises UseAfterUnload and as `host_value`."""
        if not isinstance(definition, (int, ThreadLocal, SymbolDefinition)):
            definition = self.host_value(request, definition)
        if isinstance(definition, SymbolDefinition):
            definition.image.check_open(definition.name)
        elif not isinstance(definition, ThreadLocal | DataAddress) and self.holds_data(definition):
            return DataAddress(definition)
        return definition

    def _required(self, image: Module, symbols: I64) -> I64:
        """The version id that each of an image's references requires; -1 for none."""
        table = image.decoded.symbols
        if not table.has_versions:
            return np.full(len(symbols), NO_VERSION, np.int64)
        index = (table.version[symbols] & 0x7FFF).astype(np.int64)
        ids = self.versions.of_image(image)
        return np.where(index > 1, ids[np.minimum(index, len(ids) - 1)], NO_VERSION)

    def _keep_unique(self, bindings: Bindings) -> None:
        """Redirect STB_GNU_UNIQUE bindings to the first definition of the name, of any version, that any image
        bound to (glibc, elf/dl-lookup.c: do_lookup_unique).

        The image that has it becomes the provider even if it is out of scope, so that the binding keeps it loaded.
        """
        for number in indices_where(np.bincount(bindings.provider - HOST)[-HOST:]).tolist():
            image = bindings.images[number]
            table = image.decoded.symbols
            if not table.has_unique:
                continue
            mine = indices_where(bindings.provider == number)
            unique = mine[table.bind[bindings.symbol[mine]] == _UNIQUE]
            names = table.names_of(bindings.symbol[unique])
            for place, where in enumerate(unique.tolist()):
                symbol = int(bindings.symbol[where])
                name = names.text(place)
                owner, index = self.unique.setdefault(name, (image, symbol))
                if (owner, index) != (image, symbol):  # in one image it is a definition of another version
                    bindings.define(np.array([where]), bindings.number_of(owner), np.array([index]))

    def forget(self, images: Collection[Module]) -> None:
        """Forget the definitions of unloaded images."""
        if self.unique:
            self.unique = {name: (owner, i) for name, (owner, i) in self.unique.items() if owner not in images}
        self.indices.forget(images)


def _refuse_value(request: SymbolRequest, value: object) -> int:
    problem = (
        f"a look-up answered {value!r} for {request.name}; without a machine it must be an address or a Symbol"
    )
    raise LinkError(request.image or request.name, problem)

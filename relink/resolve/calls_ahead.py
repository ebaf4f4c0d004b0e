"""Binding calls before they are made: what they would be bound to now, by the images alone.

That must not be noticed: no source outside the images is asked, and what only such a source decides, or what a
look-up changes (STB_GNU_UNIQUE), is left open. Few calls are bound one by one, many as a batch: by the rules of
`relink.resolve.one_name` and of `Resolver.bind`, which agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import numpy as np

from relink.arrays import I64
from relink.elf.constants import SymbolBind, SymbolType
from relink.module import Module
from relink.resolve.few_references import version_of
from relink.resolve.one_name import Bound, bound_in_images
from relink.resolve.resolver import Resolver, Use
from relink.resolve.scopes import LookupScope
from relink.resolve.sources import as_source

FEW = 64  #: so many calls are bound one by one: a batch costs a millisecond, however few there are
_NOT_CALLED = (int(SymbolType.GNU_IFUNC), int(SymbolType.TLS))
_UNIQUE = int(SymbolBind.GNU_UNIQUE)


def bind_ahead(
    resolver: Resolver, image: Module, symbols: Sequence[int], scope: LookupScope
) -> list[Bound | None]:
    """What calls of `symbols`, entries of the image's symbol table, are bound to; None as by `bound_in_images`."""
    if len(symbols) <= FEW or image.decoded.is_relocatable:
        return [bound_in_images(resolver, image, symbol, scope) for symbol in symbols]
    return _bind_many(resolver, image, np.array(symbols, np.int64), scope)


def _bind_many(resolver: Resolver, image: Module, symbols: I64, scope: LookupScope) -> list[Bound | None]:
    alone = copy(resolver)
    alone.before, alone.after, alone.unique = [], [], dict(resolver.unique)
    uses = np.full(len(symbols), Use.CALL, np.uint8)
    bindings = alone.bind(image, symbols, LookupScope(scope.images, (), ()), uses)
    names = image.decoded.symbols.names_of(symbols)
    known = (bindings.provider >= 0) & (symbols != 0) & ~np.isin(bindings.type, _NOT_CALLED)
    for source in map(as_source, (*scope.before, *resolver.before)):
        may_know = source.may_know(names)
        known &= np.False_ if may_know is None else ~may_know
    found, texts = list[Bound | None]([None] * len(symbols)), names.texts()
    providers, defined = bindings.provider.tolist(), bindings.symbol.tolist()
    for place in np.flatnonzero(known).tolist():
        provider = bindings.images[providers[place]]
        table = provider.decoded.symbols
        if table.has_unique and table.bind[defined[place]] == _UNIQUE:
            continue
        version, type_ = version_of(image.decoded, symbols.item(place)), bindings.type.item(place)
        found[place] = Bound(texts[place], version, bindings.address.item(place), type_, provider)
    return found

"""Binding calls before they are made: what they would be bound to now, by the images alone.

That must not be noticed: no source outside the images is asked, and what only such a source decides, or what a
look-up changes (STB_GNU_UNIQUE), is left open. Few calls are bound one by one, many as a batch: by the rules of
`relink.resolve.one_name` and of `Resolver.bind`, which agree. No object is made for calls, which may never come.
"""

from __future__ import annotations

from copy import copy

import numpy as np

from relink.arrays import I64, U64
from relink.elf.constants import SymbolBind, SymbolType
from relink.module import Module
from relink.records.tuples import NamedTuple
from relink.resolve.one_name import bound_in_images
from relink.resolve.resolver import Resolver, Use
from relink.resolve.scopes import LookupScope
from relink.resolve.sources import as_source

FEW = 64  #: so many calls are bound one by one: a batch costs a millisecond, however few there are
_NOT_CALLED = (int(SymbolType.GNU_IFUNC), int(SymbolType.TLS))
_UNIQUE = int(SymbolBind.GNU_UNIQUE)


class Ahead(NamedTuple):
    """The definitions of calls; one element for each call."""

    address: U64  #: guest addresses; 0: only the call can tell
    provider: I64  #: indices of the images in `(image, *scope.images)`


def bind_ahead(resolver: Resolver, image: Module, symbols: I64, scope: LookupScope) -> Ahead:
    """The definitions that calls of `symbols`, entries of the image's symbol table, would be bound to now."""
    if len(symbols) > FEW and not image.decoded.is_relocatable:
        return _bind_many(resolver, image, symbols, scope)
    images = (image, *scope.images)
    ahead = Ahead(np.zeros(len(symbols), np.uint64), np.zeros(len(symbols), np.int64))
    for place, symbol in enumerate(symbols.tolist()):
        bound = bound_in_images(resolver, image, symbol, scope)
        if bound is not None and bound.provider is not None:
            ahead.address[place], ahead.provider[place] = bound.address, images.index(bound.provider)
    return ahead


def _bind_many(resolver: Resolver, image: Module, symbols: I64, scope: LookupScope) -> Ahead:
    alone = copy(resolver)
    alone.before, alone.after, alone.unique = [], [], dict(resolver.unique)
    uses = np.full(len(symbols), Use.CALL, np.uint8)
    bindings = alone.bind(image, symbols, LookupScope(scope.images, (), ()), uses)
    known = (bindings.provider >= 0) & (symbols != 0)
    for type_ in _NOT_CALLED:
        known &= bindings.type != type_
    names = None
    for source in map(as_source, (*scope.before, *resolver.before)):
        names = image.decoded.symbols.names_of(symbols) if names is None else names
        may_know = source.may_know(names)
        known &= np.False_ if may_know is None else ~may_know
    for number in {*bindings.provider[known].tolist()}:
        table = bindings.images[number].decoded.symbols
        if table.has_unique:
            of = np.flatnonzero(known & (bindings.provider == number))
            known[of] = table.bind[bindings.symbol[of]] != _UNIQUE
    return Ahead(bindings.address * known, bindings.provider.astype(np.int64))

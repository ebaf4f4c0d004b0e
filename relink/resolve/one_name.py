"""Binding one reference without arrays: a call through a jump slot that is not bound.

`Resolver.bind` binds thousands of references in the time in which it binds one. Here one takes a few microseconds.
The rules are the same, and tests check that both agree. `bound_in_images` binds a call before it is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from relink.elf.constants import SHN_ABS, SHN_UNDEF, SymbolBind, SymbolType, Visibility
from relink.elf.names import gnu_hash_of
from relink.module import Module
from relink.resolve.bindings import HOST, UNRESOLVED
from relink.resolve.definitions import NOT_DEFINED
from relink.resolve.few_references import Reference, definition_in_scope, version_of
from relink.resolve.resolver import AnySource, Resolver, Use
from relink.resolve.scopes import LookupScope
from relink.resolve.sources import (
    DataAddress,
    SymbolDefinition,
    SymbolRequest,
    ThreadLocal,
    as_source,
    is_worth_asking,
)

_TLS, _FUNC, _OBJECT = int(SymbolType.TLS), int(SymbolType.FUNC), int(SymbolType.OBJECT)
_IFUNC = int(SymbolType.GNU_IFUNC)
_LOCAL, _UNIQUE, _DEFAULT = int(SymbolBind.LOCAL), int(SymbolBind.GNU_UNIQUE), int(Visibility.DEFAULT)


class Bound(NamedTuple):
    """The definition of a call of `name`: a guest address (0: nothing), its type (STT_*), and its image."""

    name: str
    version: str | None
    address: int
    type: int
    provider: Module | None
    is_host: bool = False  #: whether it is outside all images


class _Asked(NamedTuple):
    """The parts of a `SymbolRequest`, which is made only if a source is asked."""

    name: str
    version: str | None
    image: Module
    symbol: int


def bind_call(resolver: Resolver, image: Module, symbol: int, scope: LookupScope) -> Bound:
    """Bind the entry `symbol` of an image's symbol table for a call (`Use.CALL`), as `Resolver.bind` does."""
    if image.decoded.is_relocatable or not symbol:
        return _bound_in_batch(resolver, image, symbol, scope)
    asked, reference = _asked(image, symbol)
    if reference.own:
        return _defined(resolver, image, symbol, asked)
    for sources in (scope.before, resolver.before):
        if sources and (found := _ask_sources(resolver, sources, asked)) is not None:
            return found
    place = _definition(resolver, image, reference, scope)
    if place is not None:
        return _defined(resolver, *place, asked)
    for sources in (scope.after, resolver.after):
        if sources and (found := _ask_sources(resolver, sources, asked)) is not None:
            return found
    return Bound(asked.name, asked.version, 0, 0, None)


def bound_in_images(resolver: Resolver, image: Module, symbol: int, scope: LookupScope) -> Bound | None:
    """The answer of `bind_call`, for one that the images alone give and that changes nothing
    (STB_GNU_UNIQUE), and a function that can be called as it is; None elsewhere. No source is asked.
    """
    if image.decoded.is_relocatable or not symbol:
        return None
    asked, reference = _asked(image, symbol)
    place: tuple[Module, int] | None = (image, symbol)
    if not reference.own:
        if any(is_worth_asking(source, asked.name) for source in (*scope.before, *resolver.before)):
            return None
        place = _definition(resolver, image, reference, scope)
    if place is None:
        return None
    row = place[0].decoded.symbols.row(place[1])
    if row.bind == _UNIQUE or row.type in (_IFUNC, _TLS):
        return None
    return _defined(resolver, *place, asked)


def _asked(image: Module, symbol: int) -> tuple[_Asked, Reference]:
    table = image.decoded.symbols
    table.check_names()
    row = table.row(symbol)
    own = row.section != SHN_UNDEF and (row.bind == _LOCAL or row.visibility != _DEFAULT)
    name = table.strings.raw(row.name_at)
    text, version = name.decode("utf-8", "surrogateescape"), version_of(image.decoded, symbol)
    hash_ = 0 if own else gnu_hash_of(name)
    return _Asked(text, version, image, symbol), Reference(symbol, own, name, hash_, version, True)


def _definition(
    resolver: Resolver, image: Module, reference: Reference, scope: LookupScope
) -> tuple[Module, int] | None:
    """The definition of a reference in the images of a scope: an image, and an index in its symbol table."""
    images, index = scope.images, resolver.indices.of(scope.images)
    place = definition_in_scope(image, reference, images, resolver.versions, index, alone=True)
    if place is None or place[1] == NOT_DEFINED:
        return None
    return images[place[0] - 1] if place[0] else image, place[1]


def _ask_sources(resolver: Resolver, sources: Sequence[AnySource], asked: _Asked) -> Bound | None:
    for source in sources:
        if not is_worth_asking(source, asked.name):
            continue
        request = SymbolRequest(asked.name, asked.version, asked.image.name, asked.image, asked.symbol)
        definition = as_source(source).lookup(request)
        if definition is not None:
            value = resolver.valued(request, definition)
            if isinstance(value, SymbolDefinition):
                return _defined(resolver, value.image, value.index, asked)
            address, type_ = (value.offset, _TLS) if isinstance(value, ThreadLocal) else (value, _FUNC)
            type_ = _OBJECT if isinstance(value, DataAddress) else type_
            return Bound(asked.name, asked.version, address, type_, None, is_host=True)
    return None


def _defined(resolver: Resolver, image: Module, symbol: int, asked: _Asked) -> Bound:
    """The definition, or that of another image where its name is to have only one (STB_GNU_UNIQUE)."""
    table = image.decoded.symbols
    row = table.row(symbol)
    if row.bind == _UNIQUE:
        name = table.strings.raw(row.name_at).decode("utf-8", "surrogateescape")
        image, symbol = resolver.unique.setdefault(name, (image, symbol))
        row = image.decoded.symbols.row(symbol)
    address = row.value if row.section == SHN_ABS or row.type == _TLS else image.address_of(row.value)
    return Bound(asked.name, asked.version, address, row.type, image)


def _bound_in_batch(resolver: Resolver, image: Module, symbol: int, scope: LookupScope) -> Bound:
    found = resolver.bind(image, np.array([symbol], np.int64), scope, np.array([Use.CALL], np.uint8))
    number = int(found.provider[0])
    provider = None if number in (HOST, UNRESOLVED) else found.images[number]
    name, version = image.decoded.symbols.names.text(symbol), image.decoded.version_of(symbol)
    address, type_ = int(found.address[0]), int(found.type[0])
    return Bound(name, version, address, type_, provider, is_host=number == HOST)

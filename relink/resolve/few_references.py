"""Binding the references of an image that has few: each by itself, without the cost of arrays.

`Resolver.bind` binds batches, which cost some hundred array operations however few names they have. Most libraries
of a long list of dependencies have a handful of references. What the file says of these is kept with it (`Few`);
here they are bound by the same rules. Whatever is out of the ordinary (copies, unique symbols, PLT entries of an
executable, tables without DT_GNU_HASH) is left to the batches.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from relink.arrays import I64
from relink.elf import Decoded, Names
from relink.elf.constants import SHN_ABS, SHN_UNDEF, VERSYM_INDEX, SymbolBind, SymbolType, Visibility
from relink.module import Module
from relink.records.tuples import NamedTuple
from relink.resolve.bindings import NO_SYMBOL, UNRESOLVED, Bindings
from relink.resolve.definitions import NOT_DEFINED, VersionIds, definition_of, definitions
from relink.resolve.scope_index import ScopeIndex, ScopeIndices
from relink.resolve.scopes import LookupScope

_LOCAL, _UNIQUE, _TLS = int(SymbolBind.LOCAL), int(SymbolBind.GNU_UNIQUE), int(SymbolType.TLS)
_DEFAULT = int(Visibility.DEFAULT)


class Reference(NamedTuple):
    """What a file says of one reference."""

    symbol: int  #: index in its symbol table
    own: bool  #: local or not preemptible: bound to the image itself
    name: bytes
    gnu_hash: int
    version: str | None  #: the version it requires
    call: bool  #: whether it is only called


class Few:
    """The references of one image: those for addresses and calls, without symbol 0."""

    def __init__(self, decoded: Decoded, symbols: Sequence[int], calls: Sequence[bool]) -> None:
        table = decoded.symbols
        names = table.names_of(np.array(symbols, np.int64)) if symbols else Names.of(())
        hashes = names.gnu_hash.tolist()
        self.references = []
        for number, (symbol, call) in enumerate(zip(symbols, calls, strict=True)):
            row = table.row(symbol)
            own = row.section != SHN_UNDEF and (row.bind == _LOCAL or row.visibility != _DEFAULT)
            version = version_of(decoded, symbol)
            self.references.append(Reference(symbol, own, names.raw(number), hashes[number], version, call))
        self.asked: I64 = np.array([0, *symbols], np.int64)  #: the symbols of the elements of the bindings
        self.asked.flags.writeable = False


def version_of(decoded: Decoded, symbol: int) -> str | None:
    """The version that a reference requires, as the resolver reads it."""
    if not decoded.symbols.has_versions:
        return None
    index, names = int(decoded.symbols.version[symbol]) & VERSYM_INDEX, decoded.versions.names
    return names[index] if 1 < index < len(names) else None


class FewBound(NamedTuple):
    """The bindings of few references, symbol 0 first, and the elements that no image of the scope defines."""

    bindings: Bindings
    open: list[int]


def bind_few(
    image: Module, few: Few, scope: LookupScope, versions: VersionIds, indices: ScopeIndices
) -> FewBound | None:
    """Bind references in the images of a scope. None where a batch has to be made of them."""
    images, count = scope.images, len(few.references) + 1
    address, size, type_ = [0] * count, [0] * count, [0] * count
    provider, symbols, open_ = [UNRESOLVED] * count, [NO_SYMBOL] * count, list[int]()
    index = indices.of(images)
    for element, reference in enumerate(few.references, 1):
        found = definition_in_scope(image, reference, images, versions, index)
        if found is None:
            return None
        number, symbol = found
        if symbol == NOT_DEFINED:
            open_.append(element)
            continue
        owner = images[number - 1] if number else image
        row = owner.decoded.symbols.row(symbol)
        if row.section == SHN_UNDEF or row.bind == _UNIQUE:
            return None
        rebased = row.section != SHN_ABS and row.type != _TLS
        address[element] = row.value + owner.bias & int(owner.address_mask) if rebased else row.value
        size[element], type_[element], provider[element], symbols[element] = row.size, row.type, number, symbol
    bindings = Bindings(
        np.array(address, np.uint64),
        np.array(size, np.uint64),
        np.array(type_, np.uint8),
        np.array(provider, np.int32),
        np.array(symbols, np.int64),
        np.zeros(count, np.bool_),
        (image, *images),
        few.asked,
    )
    return FewBound(bindings, open_)


def definition_in_scope(
    image: Module,
    reference: Reference,
    images: Sequence[Module],
    versions: VersionIds,
    index: ScopeIndex | None,
    *,
    alone: bool = False,
) -> tuple[int, int] | None:
    """(number in the bindings, symbol) of the first definition in the images; NOT_DEFINED if there is none. None
    where a batch has to be made of it, unless it is `alone`.
    """
    if reference.own:
        return 0, reference.symbol
    required, name, hash_ = versions.of(reference.version), reference.name, reference.gnu_hash
    symbolic = image.decoded.is_symbolic
    places = range(len(images)) if index is None else index.worth_asking(hash_)
    for number in (0, *(place + 1 for place in places)) if symbolic else [place + 1 for place in places]:
        owner = images[number - 1] if number else image
        if symbolic and number and owner is image:
            continue
        symbol = definition_of(owner, name, hash_, required, versions, newest=False, call=reference.call)
        if symbol is None and alone:
            symbol = _definition_by_array(owner, name, required, versions, call=reference.call)
        if symbol is None:
            return None
        if index is not None and number:
            index.ask(number - 1)
        if symbol != NOT_DEFINED:
            return number, symbol
    return 0, NOT_DEFINED


def _definition_by_array(owner: Module, name: bytes, required: int, versions: VersionIds, *, call: bool) -> int:
    names, versions_required, calls = Names.of([name]), np.array([required], np.int64), np.array([call])
    _, found = definitions(owner, names, versions_required, calls, versions, newest=False)
    return int(found[0]) if len(found) else NOT_DEFINED

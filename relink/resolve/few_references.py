"""Binding the references of an image that has few: each by itself, without the cost of arrays.

`Resolver.bind` binds batches, which cost some hundred array operations however few names they have. Most libraries
of a long list of dependencies have a handful of references. What the file says of these is kept with it (`Few`);
here they are bound by the same rules. Whatever is out of the ordinary (copies, unique symbols, PLT entries of an
executable, tables without DT_GNU_HASH) is left to the batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import TypeAlias
from weakref import ref

import numpy as np

from relink.arrays import I64, U8
from relink.elf import Decoded, Names
from relink.elf.constants import SHN_ABS, SHN_UNDEF, VERSYM_INDEX, SymbolBind, SymbolType, Visibility
from relink.elf.contents import frozen
from relink.elf.names import NO_NAMES
from relink.memory.once import make_room
from relink.module import Module
from relink.records.tuples import NamedTuple
from relink.resolve.bindings import NO_SYMBOL, UNRESOLVED, Bindings
from relink.resolve.definitions import NOT_DEFINED, VersionIds, definition_of, definitions
from relink.resolve.scope_index import SMALLEST_SCOPE, ScopeIndex, ScopeIndices
from relink.resolve.scopes import LookupScope

_LOCAL, _UNIQUE, _TLS = int(SymbolBind.LOCAL), int(SymbolBind.GNU_UNIQUE), int(SymbolType.TLS)
_DEFAULT = int(Visibility.DEFAULT)
_UNBOUND = 0, 0, NO_SYMBOL, UNRESOLVED, 0, False  #: a row of `_COLUMNS`
_SYMBOL_0: I64 = frozen(np.zeros(1, np.int64))
_MOST_SCOPES = 8  #: for which what was found is kept, of each file
#: The files of a scope; 0 for the image itself.
Key: TypeAlias = "tuple[ref[Decoded] | int, ...]"


class Reference(NamedTuple):
    """One reference, as a file has it."""

    symbol: int  #: index in its symbol table
    own: bool  #: local or not preemptible: bound to the image itself
    name: bytes
    gnu_hash: int
    version: str | None  #: the version it requires
    call: bool  #: whether it is only called


_SYMBOL = itemgetter(0)
#: The columns of `Bindings` that follow from files, and an address that is to be replaced.
_COLUMNS = np.dtype([
    ("address", np.uint64), ("size", np.uint64), ("symbol", np.int64), ("provider", np.int32), ("type", np.uint8),
    ("canonical", np.bool_),
])  # fmt: skip


class Few:
    """The references of one image: those for addresses and calls, without symbol 0."""

    def __init__(self, decoded: Decoded, symbols: Sequence[int], calls: Sequence[bool]) -> None:
        self.references: list[Reference] = []
        table = decoded.symbols
        names = table.names_of(np.array(symbols, np.int64)) if symbols else NO_NAMES
        hashes = names.gnu_hash.tolist()
        for number, (symbol, call) in enumerate(zip(symbols, calls, strict=True)):
            row = table.row(symbol)
            own = row.section != SHN_UNDEF and (row.bind == _LOCAL or row.visibility != _DEFAULT)
            version = version_of(decoded, symbol)
            self.references.append(Reference(symbol, own, names.raw(number), hashes[number], version, call))
        self._set_asked()

    @classmethod
    def of(cls, references: list[Reference]) -> Few:
        """References that are known already."""
        made = cls.__new__(cls)
        made.references = references
        made._set_asked()
        return made

    def _set_asked(self) -> None:
        self.rows: list[int] = [0, *map(_SYMBOL, self.references)]  #: the symbols of the elements of the bindings
        self.asked: I64 = frozen(np.array(self.rows, np.int64)) if self.references else _SYMBOL_0
        #: What was found in scopes of these files; the last number is that of the image itself among them.
        self.known: dict[Key | None, Found] = {}

    def keep(self, key: Key, found: Found) -> None:
        """Keep what was found in a scope; the oldest goes."""
        make_room(self.known, _MOST_SCOPES)
        self.known[key] = found

    def open(self, elements: Sequence[int]) -> Open:
        """The names, uses and versions of some references, by which sources look them up."""
        asked = [self.references[element - 1] for element in elements]
        names = Names.of([reference.name for reference in asked])
        _ = names.known_texts
        uses = frozen(np.array([reference.call for reference in asked], np.uint8))  # `Use.CALL` is 1
        where = frozen(np.array(elements, np.int64))
        return Open(where, names, uses, tuple(reference.version for reference in asked))


def version_of(decoded: Decoded, symbol: int) -> str | None:
    """The version that a reference requires, as the resolver reads it."""
    if decoded.symbols.versym is None:
        return None
    index, names = int(decoded.symbols.version[symbol]) & VERSYM_INDEX, decoded.versions.names
    return names[index] if 1 < index < len(names) else None


class Open(NamedTuple):
    """References that no image of a scope defines: what sources need to look them up."""

    where: I64  #: the elements of the bindings
    names: Names
    uses: U8
    versions: tuple[str | None, ...]


class Found(NamedTuple):
    """The definitions of few references in a scope, as far as they follow from the files of its images."""

    #: (element, number of the image in the bindings, value, whether the load bias is added) of each
    places: tuple[tuple[int, int, int, bool], ...]
    bindings: Bindings  #: without addresses and images
    open: Open | None


class FewBound(NamedTuple):
    """The bindings of few references, symbol 0 first, and what is open. Without that the arrays cannot be written:
    other images have the same.
    """

    bindings: Bindings
    open: Open | None


def _bindings_of_nothing() -> Bindings:
    empty = Bindings.empty(1, ())
    for array in (empty.address, empty.size, empty.type, empty.provider, empty.symbol, empty.canonical):
        array.flags.writeable = False
    empty.asked = _SYMBOL_0
    return empty


BOUND_TO_NOTHING = _bindings_of_nothing()  #: of an image without references


def bind_few(
    image: Module, few: Few, scope: LookupScope, versions: VersionIds, indices: ScopeIndices
) -> FewBound | None:
    """Bind references, of which there are some, in the images of a scope. None where a batch has to be made of
    them.
    """
    images = scope.images
    key: Key | None = None
    if len(images) < SMALLEST_SCOPE:  # of larger ones there is an index, which counts what it is asked
        key = tuple([0 if each is image else ref(each.decoded) for each in images])
    found = few.known.get(key)
    if found is None:
        found = _found(image, few, images, versions, indices.of(images))
        if found is None:
            return None
        if key is not None:
            few.keep(key, found)
    address = [0] * (len(few.references) + 1)
    for element, number, value, rebased in found.places:
        owner = images[number - 1] if number else image
        address[element] = value + owner.bias & owner.architecture.address_mask if rebased else value
    bindings = found.bindings.copy() if found.open is not None else found.bindings.of_images(())
    bindings.address, bindings.images = np.array(address, np.uint64), (image, *images)
    return FewBound(bindings, found.open)


def _found(
    image: Module, few: Few, images: Sequence[Module], versions: VersionIds, index: ScopeIndex | None
) -> Found | None:
    """Search the images for all references. None where a batch has to be made of them."""
    rows: list[tuple[int, ...]] = [_UNBOUND] * len(few.rows)
    places: list[tuple[int, int, int, bool]] = []
    open_: list[int] = []
    own_table = image.decoded.symbols
    for element, reference in enumerate(few.references, 1):
        if reference.own:
            number, symbol = 0, reference.symbol
            _, value, size, info, _, section = own_table.numbers(symbol)
            bind, type_ = info >> 4, info & 15
        else:
            definition = definition_in_scope(image, reference, images, versions, index)
            if definition is None:
                return None
            number, symbol = definition
            if symbol == NOT_DEFINED:
                open_.append(element)
                continue
            table = images[number - 1].decoded.symbols if number else own_table
            _, value, size, section, bind, type_, _ = table.row(symbol)
        if section == SHN_UNDEF or bind == _UNIQUE:
            return None
        places.append((element, number, value, section != SHN_ABS and type_ != _TLS))
        rows[element] = 0, size, symbol, number, type_, False
    columns = frozen(np.array(rows, _COLUMNS))
    bindings = Bindings(
        columns["address"],
        columns["size"],
        columns["type"],
        columns["provider"],
        columns["symbol"],
        columns["canonical"],
        (),
        few.asked,
    )
    return Found(tuple(places), bindings, few.open(open_) if open_ else None)


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
    places: Iterator[int] = iter(range(len(images))) if index is None else index.worth_asking(hash_)
    for place in chain((-1,), places) if symbolic else places:
        number = place + 1
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
    wanted = np.array([required], np.int64)
    _, found = definitions(owner, Names.of([name]), lambda: wanted, np.array([call]), versions, newest=False)
    return int(found[0]) if len(found) else NOT_DEFINED

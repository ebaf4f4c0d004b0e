"""Finding an image's definition for a reference, by name, type, binding, visibility and version.

The rules are implemented twice: `definitions` for arrays of names, and `definition_of` for one name, which takes a
few microseconds instead of hundreds. Tests check that they agree. The version rules are those of glibc's
elf/dl-lookup.c (`check_match`).
"""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

import numpy as np

from relink.arrays import I64, Bools, anywhere
from relink.elf import Names, SymbolTable
from relink.elf.constants import LINKABLE_TYPES, SHN_ABS, SHN_UNDEF, SymbolBind, SymbolType, Visibility
from relink.elf.some_symbols import SomeSymbols
from relink.module import Module

#: The result for a name that the image does not define.
NOT_DEFINED = -1
NO_VERSION = -1
_LINKABLE = frozenset(map(int, LINKABLE_TYPES))
_GLOBAL = frozenset(map(int, (SymbolBind.GLOBAL, SymbolBind.WEAK, SymbolBind.GNU_UNIQUE)))
_SEEN = frozenset(map(int, (Visibility.DEFAULT, Visibility.PROTECTED)))
_TLS = int(SymbolType.TLS)
# Of each st_info, whether its type is linkable and its binding global, and whether it is TLS; of each st_other,
# whether other images see it.
_USABLE_INFO = np.array([info & 15 in _LINKABLE and info >> 4 in _GLOBAL for info in range(256)])
_IS_TLS = np.array([info & 15 == _TLS for info in range(256)])
_USABLE_OTHER = np.array([other & 3 in _SEEN for other in range(256)])


class VersionIds:
    """Interns version names as integers, for fast comparison."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._names: list[str] = []  #: by id, as far as they have been asked for
        self._of_image: WeakKeyDictionary[Module, I64] = WeakKeyDictionary()

    def of(self, name: str | None) -> int:
        if name is None:
            return NO_VERSION
        return self._ids.setdefault(name, len(self._ids))

    def name_of(self, number: int) -> str | None:
        """The version with an id; None for NO_VERSION."""
        if len(self._names) < len(self._ids):
            self._names = [*self._ids]
        return None if number == NO_VERSION else self._names[number]

    def of_image(self, image: Module) -> I64:
        """The id of each version index of an image; the last element is for undeclared indices."""
        known = self._of_image.get(image)
        if known is None:
            ids = self._ids
            of_all = [
                NO_VERSION if name is None else ids.setdefault(name, len(ids))
                for name in image.decoded.versions.names
            ]
            known = self._of_image[image] = np.array([*of_all, NO_VERSION], np.int64)
        return known


def definitions(
    provider: Module,
    names: Names,
    required: Callable[[], I64],
    calls: Bools,
    versions: VersionIds,
    *,
    newest: bool,
) -> tuple[I64, I64]:
    """(request, symbol): for each name at most one matching definition in `provider`.

    `required` returns the ids of the versions, and is called where the provider has a name. For a call (`calls`) a
    PLT entry for a function of another image does not match.
    """
    table = provider.decoded.symbols
    request, symbol = table.candidates(names)
    if not len(request):
        return request, symbol
    rows = SomeSymbols(table.records, symbol)
    usable = exported(rows)
    undefined = rows.section == SHN_UNDEF
    if anywhere(undefined):  # undefined with an address: that of a PLT entry
        usable &= ~undefined | (~calls[request] & (rows.type != _TLS))
    request, symbol = request[usable], symbol[usable]
    if table.has_versions and len(request):
        request, symbol = _matching_versions(provider, request, symbol, required(), versions, newest)
    first = np.ones(len(request), np.bool_)
    first[1:] = request[1:] != request[:-1]
    return request[first], symbol[first]


def exported(rows: SomeSymbols) -> Bools:
    """Which symbols can be bound to from elsewhere, if they are defined."""
    placed = (rows.value != 0) | (rows.section == SHN_ABS) | _IS_TLS.take(rows.info)
    usable: Bools = _USABLE_INFO.take(rows.info) & _USABLE_OTHER.take(rows.other) & placed
    return usable


def _matching_versions(
    provider: Module, request: I64, symbol: I64, required: I64, versions: VersionIds, newest: bool
) -> tuple[I64, I64]:
    """Keep the candidates whose version satisfies the request (glibc, `check_match`)."""
    raw = provider.decoded.symbols.version[symbol].astype(np.int64)
    index, hidden = raw & 0x7FFF, (raw & 0x8000) != 0
    ids = versions.of_image(provider)
    own = np.where(index > 1, ids[np.minimum(index, len(ids) - 1)], NO_VERSION)
    wanted = required[request]
    asked = wanted != NO_VERSION
    # A versioned request accepts its version, or an unversioned definition that is not hidden.
    accepted = asked & ((own == wanted) | ((own == NO_VERSION) & ~hidden))
    # An unversioned request accepts the base definition (for relocations also the oldest version) …
    accepted |= ~asked & (index < (2 if newest else 3))
    # … else the default version, if there is exactly one.
    satisfied = np.zeros(len(required), np.bool_)
    satisfied[request[accepted]] = True
    default = ~asked & ~hidden & ~satisfied[request]
    defaults = np.bincount(request[default], minlength=len(required))
    accepted |= default & (defaults[request] == 1)
    return request[accepted], symbol[accepted]


def definition_of(
    provider: Module, name: bytes, gnu_hash: int, required: int, versions: VersionIds, *, newest: bool, call: bool
) -> int | None:
    """`definitions` for one name: a symbol, or NOT_DEFINED; None when `definitions` must be used."""
    table = provider.decoded.symbols
    usable = usable_of(table, name, gnu_hash, call=call)
    if usable and table.versym is not None:
        usable = _of_version(provider, usable, required, versions, newest)
    return None if usable is None else usable[0] if usable else NOT_DEFINED


def usable_of(table: SymbolTable, name: bytes, gnu_hash: int, *, call: bool) -> list[int] | None:
    """The symbols of a table that may define a name, whatever its version; None where arrays must be used."""
    symbols = table.candidates_of(name, gnu_hash)
    if symbols is None:
        return None
    usable = []
    for symbol in symbols:
        row = table.row(symbol)
        if row.type not in _LINKABLE or row.bind not in _GLOBAL or row.visibility not in _SEEN:
            continue
        if row.value == 0 and row.section != SHN_ABS and row.type != _TLS:
            continue
        if row.section != SHN_UNDEF or not (call or row.type == _TLS):
            usable.append(symbol)
    return usable


def _of_version(
    provider: Module, symbols: list[int], required: int, versions: VersionIds, newest: bool
) -> list[int]:
    """`_matching_versions` for one name."""
    raw = [int(provider.decoded.symbols.version[symbol]) for symbol in symbols]
    if required == NO_VERSION:
        base = [symbol for symbol, word in zip(symbols, raw, strict=True) if word & 0x7FFF < (2 if newest else 3)]
        default = [symbol for symbol, word in zip(symbols, raw, strict=True) if not word & 0x8000]
        return base or (default if len(default) == 1 else [])
    ids = versions.of_image(provider)
    accepted = []
    for symbol, word in zip(symbols, raw, strict=True):
        index = word & 0x7FFF
        own = int(ids[min(index, len(ids) - 1)]) if index > 1 else NO_VERSION
        if own == required or (own == NO_VERSION and not word & 0x8000):
            accepted.append(symbol)
    return accepted

"""References of an image to its own exports, bound by the words of DT_GNU_HASH alone.

A big library refers to thousands of symbols that it exports itself. Each is bound to the library, unless an image
before it in the scope, or a source, defines the same name. The chain words of the hash tables (31 bits of each
name's hash) tell of nearly all of them that no other image has the name, so that no string is read. Only what is
certain is bound here; the resolver's walk answers for the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from relink.arrays import I64, Bools, anywhere, indices_where
from relink.elf import SymbolTable
from relink.elf.constants import VERSYM_HIDDEN, SymbolBind, Visibility
from relink.elf.hashes import GnuHash
from relink.elf.some_symbols import SomeSymbols
from relink.module import Module
from relink.records.tuples import NamedTuple
from relink.resolve.definitions import exported
from relink.resolve.sources import SymbolSource

#: What follows of references from the file alone, by what it is.
Kept: TypeAlias = dict[str, Any]
#: Fewer references are looked up as others are.
_WORTH = 64
# Numbers: an enum's member costs a microsecond each time it is named.
_DEFAULT, _VISIBILITY = np.uint8(Visibility.DEFAULT), np.uint8(3)
_GLOBAL = np.uint8((SymbolBind.LOCAL + 1) << 4)  #: st_info of the first that is not local


class Split(NamedTuple):
    """References of a file to some symbols, as far as it decides alone; arrays have one element per reference."""

    rows: SomeSymbols  #: the symbols
    own: Bools  #: whether it binds to the file itself: to a symbol that is local or not preemptible
    open: Bools  #: whether it has to be looked up; not so for symbol 0
    eligible: Bools  #: whether it may find the file's own definition, which one for COPY does not


def split(table: SymbolTable, symbols: I64, copies: Bools | None) -> Split:
    """The references to `symbols`, some of them for COPY."""
    rows = SomeSymbols(table.records, symbols)
    defined = rows.section != 0
    own = defined & ((rows.info < _GLOBAL) | (rows.other & _VISIBILITY != _DEFAULT))
    if copies is not None:
        own &= ~copies
    open_ = ~own & (symbols != 0)
    eligible = open_ & defined
    return Split(rows, own, open_, eligible if copies is None else eligible & ~copies)


def certainly_own(
    image: Module, symbols: I64, scope: Sequence[Module], before: Sequence[SymbolSource], kept: Kept
) -> tuple[Bools, int] | None:
    """Which references (`symbols`, indices in the image's table), of those that have to be looked up, bind to the
    image itself, and its number in the bindings; None if all have to be looked up image by image.

    `before` are the sources that are asked before all images. In `kept` is what was found of the same references,
    their `Split` at least.
    """
    table = image.decoded.symbols
    if len(symbols) < _WORTH or image.decoded.is_relocatable or not isinstance(table.hash_table, GnuHash):
        return None
    if not all(getattr(source, "is_idle", False) for source in before):
        return None
    if image.decoded.is_symbolic:
        number, earlier = 0, scope[:0]
    else:
        number = next((at for at, other in enumerate(scope, 1) if other is image), 0)
        if not number or number * _WORTH > len(symbols):
            return None
        earlier = scope[: number - 1]
    if "certain" not in kept:
        found: Split = kept["split"]
        kept["certain"] = _possibly(table, symbols, found.rows) & found.eligible
    own: Bools = kept["certain"]
    for other in earlier:
        if not anywhere(own):
            break
        chosen = indices_where(own)
        known = other.decoded.symbols.has_hashes(table.chain_words(symbols[chosen]))
        if known is None:
            return None
        if anywhere(known):
            own = own.copy()
            own[chosen[known]] = False
    return own, number


def _possibly(table: SymbolTable, symbols: I64, rows: SomeSymbols) -> Bools:
    """Which symbols a look-up of their names finds in this table, and no other."""
    own: Bools = table.only_of_their_hash(symbols) & exported(rows)
    if table.has_versions:  # a hidden one may have a version that is not declared: then nothing finds it
        own &= (table.version[symbols] & np.uint16(VERSYM_HIDDEN)) == 0
    return own

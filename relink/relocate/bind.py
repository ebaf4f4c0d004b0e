"""Binding the symbols of an image's relocations: one batch, each symbol once for each use.

The use of a reference matters (`relink.resolve.resolver.Use`): a function's address may be an executable's PLT
entry, but calls bind to the function itself, and COPY relocations to the definition after the executable's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import compress, count
from operator import not_, or_
from typing import cast

import numpy as np

from relink.arch import Architecture, Reloc, Role
from relink.arrays import I64, U8, U32, anywhere, indices_where
from relink.elf import Decoded, SymbolTable
from relink.elf.constants import SymbolBind, SymbolType, Visibility
from relink.elf.contents import frozen
from relink.errors import UnresolvedSymbol
from relink.memory.once import once_per_file
from relink.module import Module
from relink.relocate.references import References
from relink.relocate.result import Relocated
from relink.resolve.bindings import UNRESOLVED, Bindings
from relink.resolve.own_exports import Kept
from relink.resolve.resolver import Resolver, Use
from relink.resolve.scopes import LookupScope

_SYMBOL_LETTERS = frozenset("SMTZ")
# For `bytes.translate`: of st_info and of st_other.
_IS_WEAK = bytes([info >> 4 == SymbolBind.WEAK for info in range(256)])
_IS_STRONG = bytes(map(not_, _IS_WEAK))
_IS_TLS = bytes([info & 15 == SymbolType.TLS for info in range(256)])
_IS_HIDDEN = bytes([other & 3 in (Visibility.HIDDEN, Visibility.INTERNAL) for other in range(256)])
_MOST_KEPT = 1 << 18  #: symbols of a file, up to which what is asked is kept: some hundred bytes of each
_FEW = 8  #: symbols that are looked at one by one
_MOST_TEXTS = 16  #: groups of symbols whose names are kept with a file
_USE_COUNT = len(Use)
_NONE: I64 = frozen(np.zeros(0, np.int64))
_NO_ELEMENT: I64 = frozen(np.zeros(1, np.int64))


def use_of(reloc_type: Reloc) -> Use:
    """The use of the symbol in entries of this type."""
    role = reloc_type.role
    return Use.CALL if role is Role.JUMP_SLOT else Use.COPY if role is Role.COPY else Use.ADDRESS


def asks_for_symbol(reloc_type: Reloc) -> bool:
    """Whether the value of this type depends on the binding of its symbol."""
    return reloc_type.formula is not None and (
        reloc_type.slot is not None or bool(reloc_type.formula.letters & _SYMBOL_LETTERS)
    )


class SymbolsAsked:
    """The symbols of a file that its relocations refer to, by use, and what follows from the file alone."""

    def __init__(self, count: int, asked: Iterable[tuple[Use, U32]]) -> None:
        """`count` is the number of the file's symbols, `asked` are indices in its symbol table."""
        masks = np.zeros((_USE_COUNT, max(count, 1)), np.bool_)
        for use, indices in asked:
            masks[use][indices.astype(np.intp)] = True  # as they are, it takes three times as long
        addressed, called, copied = masks
        addressed[0], called[0], copied[0] = True, False, False
        symbols = indices_where(addressed | called)  # with 0, which is bound to nothing, as the first
        self.once = symbols[1:]
        self.uses: U8 = (~addressed[symbols]).view(np.uint8)  # `Use.ADDRESS` is 0, `Use.CALL` 1
        both = addressed & called
        self.both = indices_where(both[self.once]) if anywhere(both) else _NONE
        self.copies = indices_where(copied) if anywhere(copied) else _NONE
        self.by_address = np.zeros(len(addressed), np.int64)
        self.by_address[symbols] = np.arange(len(symbols))
        self.usual = self.elements(_NONE) if len(self.copies) else (symbols, self.uses)
        self.kept: Kept = {}  #: what the resolver has found of these in the file
        for array in (self.once, self.copies, self.uses, self.both, self.by_address, *self.usual):
            array.flags.writeable = False

    def elements(self, twice: I64) -> tuple[I64, U8]:
        """The symbol and use of each element of the bindings, with symbols that are bound for both uses."""
        symbols = np.concatenate((_NO_ELEMENT, self.once, twice, self.copies))
        uses, more = np.zeros(len(symbols), np.uint8), len(self.uses)
        uses[:more] = self.uses
        uses[more : more + len(twice)], uses[more + len(twice) :] = Use.CALL, Use.COPY
        return symbols, uses


def _symbols_asked(image: Module, asked: Callable[[], Iterable[tuple[Use, U32]]], *, same: bool) -> SymbolsAsked:
    decoded, key = image.decoded, id(image.architecture)
    known = _asked_of(decoded) if same else {}
    if key not in known:
        found = SymbolsAsked(len(decoded.symbols), asked())
        if len(found.once) > _MOST_KEPT:
            return found
        known[key] = image.architecture, found
    return known[key][1]


@once_per_file
def _asked_of(decoded: Decoded) -> dict[int, tuple[Architecture, SymbolsAsked]]:
    """The symbols asked by the identity of the architecture, as far as they have been."""
    return {}


def bind_references(
    image: Module,
    scope: LookupScope,
    resolver: Resolver,
    asked: Callable[[], Iterable[tuple[Use, U32]]],
    *,
    same: bool = False,
) -> References:
    """Bind the symbols in `asked` (indices in the image's symbol table), each once per use.

    What is asked is kept with the file where it is the `same` for each of its images.
    """
    found = _symbols_asked(image, asked, same=same)
    once, copies = found.once, found.copies
    symbols, uses = found.usual
    bindings = resolver.bind(image, symbols, scope, uses, found.kept)
    # A symbol that is called and whose address is taken has two bindings when its address is an executable's PLT
    # entry.
    both = found.both
    twice = once[both[bindings.canonical[both + 1]]] if len(both) else _NONE
    if len(twice):
        symbols, uses = found.elements(twice)
        bindings = resolver.bind(image, symbols, scope, uses)
    by_call = by_address = found.by_address
    if len(twice):
        by_call = by_address.copy()
        by_call[twice] = len(once) + np.arange(1, len(twice) + 1)
    by_copy = np.ndarray(by_address.shape, np.int64, _NO_ELEMENT, strides=(0,))  # as `np.broadcast_to`, at once
    if len(copies):
        by_copy = np.zeros_like(by_address)
        by_copy[copies] = len(once) + len(twice) + np.arange(1, len(copies) + 1)
    if len(twice) or len(copies):
        once = np.concatenate((once, twice, copies))
    return References(bindings, once, (by_address, by_call, by_copy))


def settle_unresolved(
    image: Module,
    references: References,
    unresolved: Callable[[Module, str], int | None],
    result: Relocated,
    *,
    allow_deferred: bool,
) -> dict[int, int]:
    """Handle unresolved references: weak symbols are 0 (gABI, "Symbol Table"); strong ones are errors unless the
    load allows them. Returns the allowed ones with their current address, if a later load can define them.
    """
    if not len(references.symbols):
        return {}
    symbols, bound = image.decoded.symbols, references.bindings
    open_ = _open_ones(bound)
    if not len(open_):
        return {}
    indices = references.symbols[open_ - 1]
    names = _texts_of(image.decoded, indices)
    copied = (references.binding_of[Use.COPY][indices] == open_).tobytes()
    is_weak, is_strong, is_thread_local, is_hidden = _kinds(symbols, indices)
    result.weak_unresolved += compress(names, is_weak)
    strong = [*compress(count(), is_strong)]
    addresses = _addresses(unresolved, image, [*compress(names, is_strong)])
    # A trap address cannot replace a thread-local variable or the contents for a COPY.
    untrapped = is_thread_local if 1 not in copied else bytes(map(or_, is_thread_local, copied))
    if None in addresses:
        found = dict(zip(strong, addresses, strict=True))
        for place in [place for place, address in found.items() if address is None]:
            if allow_deferred and not untrapped[place] and not is_hidden[place]:
                found[place] = 0
                continue
            del found[place]
            detail = "hidden: only the same image can define it" if is_hidden[place] else ""
            if allow_deferred and untrapped[place]:
                detail = "thread-local or copied: it cannot be deferred to a later load"
            version = image.decoded.version_of(int(indices[place]))
            result.errors.append(UnresolvedSymbol(image.name, names[place], version, detail=detail))
        strong, addresses = [*found], [*found.values()]
    result.unresolved += map(names.__getitem__, strong)
    if 1 in untrapped:
        found = {place: address for place, address in zip(strong, addresses, strict=True) if not untrapped[place]}
        strong, addresses = [*found], [*found.values()]
    known = cast("Sequence[int]", addresses)  # those without one are not among them any more
    bound.define_hosts(open_[strong], known)
    return dict(zip(indices[strong].tolist(), known, strict=True)) if allow_deferred else {}


def _addresses(
    unresolved: Callable[[Module, str], int | None], image: Module, names: Sequence[str]
) -> Sequence[int | None]:
    each: Callable[[Module, Sequence[str]], Sequence[int | None]] | None = getattr(unresolved, "each", None)
    return [unresolved(image, name) for name in names] if each is None else each(image, names)


def _texts_of(decoded: Decoded, symbols: I64) -> list[str]:
    """The names of some symbols. Those of few are kept: they are undefined in each load of the file."""
    if len(symbols) > _FEW:
        return decoded.symbols.names_of(symbols).texts()
    kept, key = _kept_texts(decoded), symbols.tobytes()
    known = kept.get(key)
    if known is None:
        if len(kept) >= _MOST_TEXTS:
            kept.clear()
        known = kept[key] = decoded.symbols.names_of(symbols).texts()
    return known


@once_per_file
def _kept_texts(decoded: Decoded) -> dict[bytes, list[str]]:
    return {}


def _open_ones(bound: Bindings) -> I64:
    """The unresolved references; of few without the cost of arrays."""
    if len(bound.provider) > _FEW:
        return indices_where(bound.provider[1:] == UNRESOLVED) + 1
    providers = bound.provider.tolist()
    if UNRESOLVED not in providers[1:]:
        return _NONE
    return np.array([number for number in range(1, len(providers)) if providers[number] == UNRESOLVED], np.int64)


def _kinds(symbols: SymbolTable, indices: I64) -> tuple[bytes, bytes, bytes, bytes]:
    """Which symbols are weak, strong, thread-local, and hidden: a byte of each, 0 for those that are not."""
    rows = symbols.records.take(indices)
    info, hidden = rows["info"].tobytes(), rows["other"].tobytes().translate(_IS_HIDDEN)
    return info.translate(_IS_WEAK), info.translate(_IS_STRONG), info.translate(_IS_TLS), hidden

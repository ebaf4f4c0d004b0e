"""Redirecting one image's references to a symbol after its load, and restoring them.

Every word of the image that a relocation has set to the symbol's address (GOT and PLT slots, pointers in data) is
rewritten. Other images, and copies of the address made by the program, are not changed; to change all callers,
replace the function itself (`emu.patch.functions`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast
from weakref import WeakKeyDictionary

import numpy as np

from emu.errors import PatchError
from emu.host.symbols import symbol_of
from emu.patch.functions import Patch, Patcher
from emu.patch.undoable import Undoable
from relink.arch import Role
from relink.arch.fields import Word
from relink.arrays import I64, AnyArray, distinct
from relink.elf import Decoded
from relink.image import Image, Symbol
from relink.memory.buffers import read_words

if TYPE_CHECKING:
    from emu.host.symbols import SymbolValue
    from emu.ports import Handle

_ADDRESSES = ("S", "S + A")  #: formulas that store a symbol's address


class Redirection(Undoable):
    """Redirected references. `undo`, or leaving the `with` block, restores them."""

    def __init__(self, name: str, words: list[Patch]) -> None:
        self.name = name  #: name of the symbol
        self.words = tuple(words)  #: one patch per word

    @property
    def active(self) -> bool:
        """Whether it is in force."""
        return any(word.active for word in self.words)

    def undo(self) -> None:
        """Restore the words. Raises PatchError while a later redirection of one of them is active."""
        for word in self.words:
            if word.active:
                word.patcher.check_top(word)
        for word in reversed(self.words):
            word.undo()


def redirect(patcher: Patcher, image: Image, name: str, replacement: Handle | Symbol | SymbolValue) -> Redirection:
    """See `Machine.redirect`."""
    image.check_open(name)
    if image.decoded.is_relocatable:
        raise PatchError(f"{image.name}: linked objects may call {name} directly: patch the function instead")
    places = list(_places(image, name))
    if not places:
        raise PatchError(f"{image.name}: no relocated word of it contains the address of {name}")
    traps: list[int] = []
    keeps: Image | None = None
    if (symbol := symbol_of(replacement)) is not None:
        target = cast("Handle | Symbol", replacement).address
        keeps = symbol.image if symbol.image is not image else None
    size = image.architecture.word_size
    words: list[Patch] = []
    try:
        if symbol is None:
            target = patcher.host_symbols.define(f"redirected {name}", cast("SymbolValue", replacement), traps)
        for address, addend in places:
            code = ((target + addend) & image.architecture.address_mask).to_bytes(size, "little")
            # The first one, which is undone last, has the resources of all.
            first = not words
            patch = Patch(
                name,
                address,
                target,
                b"",
                code,
                patcher,
                image,
                keeps=keeps if first else None,
                traps=traps if first else [],
            )
            patcher.apply(patch)
            words.append(patch)
    except BaseException:
        for patch in reversed(words):
            if patch.active:
                patch.undo()
        patcher.host_symbols.remove(traps)
        raise
    return Redirection(name, words)


def _places(image: Image, name: str) -> Iterator[tuple[int, int]]:
    """(guest address, addend) of every word that contains the address of the symbol."""
    arch, rows = image.architecture, image.decoded.symbols.names.rows_of(name)
    for table, order in zip(image.decoded.relocations, _by_symbol(image.decoded), strict=True):
        entries = _entries_of(table.symbol, order, rows)
        for number in distinct(table.type[entries]).tolist():
            row = arch.relocations.get(number)
            chosen = entries[table.type[entries] == number]
            if row is None or row.static or row.formula is None or row.formula.text not in _ADDRESSES:
                continue
            whole = isinstance(row.word, Word) and row.word.size == arch.word_size
            if not whole or row.role not in (Role.DATA, Role.JUMP_SLOT):
                continue
            offset = table.offset[chosen]
            addend = np.zeros(len(offset), np.uint64)
            if "A" in row.formula.letters:
                if table.addend is not None:
                    addend = table.addend[chosen].view(np.uint64)
                elif image.decoded.address is not None and image.already_initialised:
                    raise PatchError(
                        f"{image.name}: the addends of {name} have been overwritten: adopt it with its file"
                    )
                else:
                    addend = np.array([_addend_in_file(image, vaddr) for vaddr in offset.tolist()], np.uint64)
            for vaddr, extra in zip(offset.tolist(), addend.tolist(), strict=True):
                yield image.address_of(vaddr), extra


#: Cache per file: of each relocation table, its entries in the order of their symbols.
_BY_SYMBOL: WeakKeyDictionary[Decoded, list[I64]] = WeakKeyDictionary()


def _by_symbol(decoded: Decoded) -> list[I64]:
    found = _BY_SYMBOL.get(decoded)
    if found is None:
        found = [np.argsort(table.symbol, kind="stable") for table in decoded.relocations]
        _BY_SYMBOL[decoded] = found
    return found


def _entries_of(symbols: AnyArray, order: I64, rows: Sequence[int]) -> I64:
    """The entries that refer to some symbols, ascending; `order` sorts the symbols of all entries."""
    found = [np.zeros(0, np.int64)]
    for row in rows:
        first, end = (bisect(order, row, key=symbols.__getitem__) for bisect in (bisect_left, bisect_right))
        found.append(order[first:end])
    return np.sort(np.concatenate(found))


def _addend_in_file(image: Image, vaddr: int) -> int:
    size = image.architecture.word_size
    return int(read_words(image.decoded.bytes_at(vaddr, size), np.zeros(1, np.int64), size)[0])

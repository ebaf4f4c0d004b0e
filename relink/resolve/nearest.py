"""Finding the symbol that contains a guest address."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np

from relink.arrays import I64, U64
from relink.elf.constants import SHN_ABS, SymbolBind, SymbolType
from relink.module import Module

#: Types of symbols that name an address in the image.
_ADDRESSED = (SymbolType.NOTYPE, SymbolType.OBJECT, SymbolType.FUNC, SymbolType.GNU_IFUNC)
#: First characters of names that assemblers make up; 0: an empty name.
_ASSEMBLERS = tuple(b".$\0")
#: Cache per image: its symbols that have an address, and their values, sorted by value.
_by_value: WeakKeyDictionary[Module, tuple[I64, U64]] = WeakKeyDictionary()

#: Cache per image: the guest addresses of all its symbols, sorted, without the Thumb bit.
_all_values: WeakKeyDictionary[Module, U64] = WeakKeyDictionary()


def nearest_symbol(image: Module, address: int) -> tuple[str, int] | None:
    """(name, offset) of the dynamic symbol that contains a guest address, as in dladdr; None without one."""
    table = image.decoded.symbols
    known = _by_value.get(image)
    if known is None:
        known = _by_value[image] = _sorted_by_value(image)
    indices, values = known
    vaddr = (address - image.bias) & image.architecture.address_mask
    position = int(np.searchsorted(values, np.uint64(vaddr), side="right"))
    if not position:
        return None
    index, past = int(indices[position - 1]), vaddr - int(values[position - 1])
    # A symbol of unknown size extends to the next one; one of known size ends there.
    return (table.names.text(index), past) if past < int(table.size[index]) or not table.size[index] else None


def any_within(image: Module, low: int, high: int) -> bool:
    """Whether a symbol of any kind that the image defines has a value in [low, high), guest addresses."""
    values = _all_values.get(image)
    if values is None:
        table = image.decoded.symbols
        mask = np.uint64(image.architecture.code_address_mask)
        values = _all_values[image] = np.sort(table.value[table.section != 0] + image.bias_word & mask)
    return bool(np.searchsorted(values, np.uint64(low)) < np.searchsorted(values, np.uint64(high)))


def _sorted_by_value(image: Module) -> tuple[I64, U64]:
    table = image.decoded.symbols
    indices = np.flatnonzero((table.section != 0) & (table.section != SHN_ABS) & np.isin(table.type, _ADDRESSED))
    # Assembler labels (".L0") and mapping symbols ("$x") are not names from the source.
    initial = table.names.blob[table.names.start[indices]]
    indices = indices[(table.bind[indices] != SymbolBind.LOCAL) | ~np.isin(initial, _ASSEMBLERS)]
    functions = np.isin(table.type[indices], (SymbolType.FUNC, SymbolType.GNU_IFUNC))
    masks = image.architecture.code_address_mask, image.architecture.address_mask
    values = table.value[indices] & np.where(functions, *map(np.uint64, masks))
    # The last of several at one address is returned; symbols with a type are sorted last.
    order = np.lexsort((table.type[indices] != SymbolType.NOTYPE, values))
    return indices[order], values[order]

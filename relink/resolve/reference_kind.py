"""The kind of a reference (function, data, thread-local), from the symbol's type or else its relocations.

In relocatable objects undefined symbols have no type (STT_NOTYPE), and linkers often keep that. A PLT slot or call
relocation shows a function, a TLS relocation a thread-local variable.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from relink.arch import Role
from relink.arch.spec import Slot
from relink.arrays import U8, distinct
from relink.elf.constants import SymbolType
from relink.module import Module

if TYPE_CHECKING:
    from relink.arch import Reloc

_TLS_LETTERS = frozenset({"M", "T", "DTV"})
_TLS_SLOTS = (Slot.TLS_GD, Slot.TLS_IE, Slot.TLS_DESC)


class ReferenceKind(enum.Enum):
    """The kind of definition that a reference needs."""

    FUNCTION = "function"
    DATA = "data"
    THREAD_LOCAL = "thread-local variable"
    UNKNOWN = "unknown"  #: only its address is taken: a function or data


_KINDS = tuple(ReferenceKind)
_BY_TYPE = {
    SymbolType.FUNC: ReferenceKind.FUNCTION,
    SymbolType.GNU_IFUNC: ReferenceKind.FUNCTION,
    SymbolType.OBJECT: ReferenceKind.DATA,
    SymbolType.COMMON: ReferenceKind.DATA,
    SymbolType.TLS: ReferenceKind.THREAD_LOCAL,
}


_known: WeakKeyDictionary[Module, U8] = WeakKeyDictionary()


def reference_kind(image: Module, symbol: int) -> ReferenceKind:
    """The kind of an entry of an image's symbol table. The first call for an image reads its relocations."""
    known = _known.get(image)
    if known is None:
        known = _known[image] = _kinds(image)
    return _KINDS[int(known[symbol])]


def _kinds(image: Module) -> U8:
    """The index in `_KINDS` of each symbol's kind, uint8[n]."""
    table = image.decoded.symbols
    kinds = np.full(len(table), _KINDS.index(ReferenceKind.UNKNOWN), np.uint8)
    for relocations in image.decoded.relocations:
        for number in distinct(relocations.type).tolist():
            kind = _of_row(image.architecture.relocations.get(number))
            if kind is not ReferenceKind.UNKNOWN:
                kinds[relocations.symbol[relocations.type == number]] = _KINDS.index(kind)
    for number, kind in _BY_TYPE.items():
        kinds[table.type == number] = _KINDS.index(kind)
    return kinds


def _of_row(row: Reloc | None) -> ReferenceKind:
    if row is None:
        return ReferenceKind.UNKNOWN
    if row.slot in _TLS_SLOTS or (row.formula is not None and row.formula.letters & _TLS_LETTERS):
        return ReferenceKind.THREAD_LOCAL
    return ReferenceKind.FUNCTION if row.role in (Role.JUMP_SLOT, Role.BRANCH) else ReferenceKind.UNKNOWN

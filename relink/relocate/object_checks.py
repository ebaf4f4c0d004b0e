"""Checks of entries of relocatable objects whose values would fit but be wrong."""

from __future__ import annotations

import numpy as np

from relink.arch import Role
from relink.arrays import distinct
from relink.elf.constants import SymbolType
from relink.errors import RelocationError, UnsupportedRelocation
from relink.relocate.batch import Batch
from relink.relocate.state import Relocation
from relink.resolve.bindings import UNRESOLVED

#: Operands in the formula of an offset in a thread-local block or from the thread pointer.
_TLS_LETTERS = frozenset({"M", "T", "DTV"})
_OF_ADDRESSES = (Role.DATA, Role.HIGH, Role.BRANCH)
NO_ADDRESS = "the symbol is thread-local: its address differs in every thread"


def keep_own(relocation: Relocation, batch: Batch) -> None:
    """Refuse offsets in the image's TLS block (local dynamic) for symbols that are not in it."""
    places = distinct(batch.binding_index)
    images = relocation.bound.images
    provider = relocation.bound.provider[places].tolist()
    # An undefined strong symbol is already reported.
    own = np.array([p == UNRESOLVED or (p >= 0 and images[p] is relocation.image) for p in provider], np.bool_)
    usable = (batch.binding_index == 0) | np.isin(batch.binding_index, places[own])
    if not usable.all():
        problem = "an offset in this image's thread-local block, but the symbol is in another image"
        relocation.report_type(batch.table, batch.indices[~usable], batch.reloc_type, RelocationError, problem)
        batch.keep(usable)
    index = batch.binding_index
    odd = (index != 0) & (relocation.bound.provider[index] != UNRESOLVED)
    odd &= relocation.bound.type[index] != SymbolType.TLS
    if odd.any():
        from relink.relocate.diagnostics import tls_errors

        problem = "no thread-local definition"
        relocation.result.errors += tls_errors(
            relocation.image, batch.table, batch.indices[odd], batch.reloc_type, problem
        )
        batch.keep(~odd)


def refuse_thread_local(relocation: Relocation, batch: Batch) -> None:
    """Refuse entries that use a thread-local symbol's offset in its block as an address."""
    reloc_type = batch.reloc_type
    assert reloc_type.formula is not None
    letters = reloc_type.formula.letters
    if reloc_type.role not in _OF_ADDRESSES or "S" not in letters or letters & _TLS_LETTERS:
        return
    odd = relocation.bound.type[batch.binding_index] == SymbolType.TLS
    if odd.any():
        relocation.report_type(batch.table, batch.indices[odd], reloc_type, RelocationError, NO_ADDRESS)
        batch.keep(~odd)


def refuse_slot_addends(relocation: Relocation, batch: Batch) -> None:
    """Refuse addends: AAELF64's slots are for symbol plus addend (GDAT(S + A)), here they are for symbols."""
    if batch.table.addend is None:
        return
    odd = batch.table.addend[batch.entries] != 0
    if odd.any():
        problem = "a GOT slot for a symbol plus an addend"
        relocation.report_type(batch.table, batch.indices[odd], batch.reloc_type, UnsupportedRelocation, problem)

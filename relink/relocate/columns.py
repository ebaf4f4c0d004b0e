"""What a file says of few and simple entries, as columns: those of many files are put together by arrays."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from relink.arch import Architecture
from relink.arrays import I64, U64
from relink.elf import Decoded
from relink.memory import placement as place
from relink.relocate.dynamic_section import rebased_places
from relink.relocate.references import Entry
from relink.resolve.bindings import NO_SYMBOL, UNRESOLVED
from relink.resolve.exact_names import export
from relink.resolve.few_references import Few

_REL, _IN = 1, 2
#: Bits of a word's kind: the base is B, and no element; the addend is what the word holds.
RELATIVE, IN_PLACE = np.uint64(_REL), np.uint64(_IN)
_REBASED = _REL | _IN


class Columns(NamedTuple):
    """The entries of a file as columns, for those of many files to be put together."""

    names: tuple[bytes, ...]  #: of the references that are not bound to the image itself
    elements: I64  #: their elements in the bindings
    #: uint64[2, n], int64[4, n]: value and size; type, provider, symbol, and whether the value is rebased, of each
    #: element, as far as the file tells
    numbers: U64
    kinds: I64
    #: uint64[4, m]: of each word its index in the buffer, its element, its addend, and its kind
    words: U64


def columns_of(
    decoded: Decoded, arch: Architecture, few: Few, packed: Sequence[int], entries: Sequence[Entry]
) -> Columns | None:
    """The columns of a file whose references are all bound by name; None where the engine is needed."""
    table = decoded.symbols
    numbers, kinds = np.zeros((2, len(few.asked)), np.uint64), np.zeros((4, len(few.asked)), np.int64)
    kinds[1], kinds[2] = UNRESOLVED, NO_SYMBOL
    for element, reference in enumerate(few.references, 1):
        if not reference.own:
            continue
        own = export(table, reference.symbol)
        if own is None:
            return None
        numbers[:, element] = own.value, own.size
        kinds[:, element] = own.type, 0, own.symbol, own.rebased
    words = _words(decoded, arch, packed, entries)
    others = [element for element, reference in enumerate(few.references, 1) if not reference.own]
    if decoded.is_symbolic or words is None:
        return None
    names = tuple(few.references[element - 1].name for element in others)
    return Columns(names, np.array(others, np.int64), numbers, kinds, words)


def _words(decoded: Decoded, arch: Architecture, packed: Sequence[int], entries: Sequence[Entry]) -> U64 | None:
    """All words that relocation changes, those of the dynamic section too; None where their order matters."""
    runs, rows = place.contiguous(decoded), []
    rows += [(runs.index(vaddr), 0, 0, _REBASED) for vaddr in packed]
    for vaddr, element, addend in entries:
        kind = (_REL if element is None else 0) | (_IN if addend is None else 0)
        rows.append((runs.index(vaddr), element or 0, (addend or 0) & ((1 << 64) - 1), kind))
    rows += [(at, 0, 0, _REBASED) for at in rebased_places(decoded, arch, runs)]
    where = sorted(row[0] for row in rows)
    size = arch.word_size
    apart = all(after - before >= size for before, after in pairwise(where))
    if not apart or any(at % size for at in where):
        return None
    return np.array(rows, np.uint64).reshape(-1, 4).T.copy()

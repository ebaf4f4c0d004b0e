"""`References`: an image's references and their bindings; one entry as data."""

from __future__ import annotations

from relink.arrays import I64
from relink.records.tuples import NamedTuple
from relink.resolve.bindings import Bindings


class References:
    """The bindings of an image's references. Element 0 is symbol 0, with the value 0, which avoids special
    cases.
    """

    def __init__(self, bindings: Bindings, symbols: I64, binding_of: tuple[I64, I64, I64]) -> None:
        self.bindings = bindings
        self.symbols = symbols  #: the symbols of elements 1, 2, …
        self.binding_of = binding_of  #: for each `Use`: symbol index -> index in the bindings


class Entry(NamedTuple):
    """One entry: the word at `vaddr` becomes S (of an element of the bindings; None: B) + A (None: the word)."""

    vaddr: int
    element: int | None
    addend: int | None

"""`References`: an image's references and their bindings; one entry as data."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from relink.arrays import I64
from relink.records.tuples import NamedTuple
from relink.resolve.bindings import Bindings

#: For each `Use`: symbol index -> index in the bindings.
Numbers: TypeAlias = tuple[I64, I64, I64]


class References:
    """The bindings of an image's references. Element 0 is symbol 0, with the value 0, which avoids special
    cases.
    """

    def __init__(self, bindings: Bindings, symbols: I64, binding_of: Numbers | Callable[[], Numbers]) -> None:
        """`binding_of` may be a function that is called when it is first asked for."""
        self.bindings = bindings
        self.symbols = symbols  #: the symbols of elements 1, 2, …
        self._binding_of = binding_of

    @property
    def binding_of(self) -> Numbers:
        """For each `Use`: symbol index -> index in the bindings."""
        if callable(self._binding_of):
            self._binding_of = self._binding_of()
        return self._binding_of


class Entry(NamedTuple):
    """One entry: the word at `vaddr` becomes S (of an element of the bindings; None: B) + A (None: the word)."""

    vaddr: int
    element: int | None
    addend: int | None

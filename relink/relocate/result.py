"""The result of relocating an image: its bindings, the errors, and the ifunc resolvers still to call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from relink.arch import Reloc, Role
from relink.arrays import I64, U64
from relink.errors import LinkError, printable_lines
from relink.module import Module
from relink.records import dataclass, field
from relink.relocate.batch import evaluate
from relink.resolve.bindings import Bindings

if TYPE_CHECKING:
    from relink.relocate.lazy import BindMode, LazySlots
    from relink.relocate.references import References


@dataclass(frozen=True, slots=True)
class IfuncCalls:
    """Places whose value is the answer of a guest resolver function. Arrays have one element per place."""

    image: Module
    reloc_type: Reloc
    place: U64  #: guest addresses
    resolver: U64  #: guest addresses of the resolver functions
    addend: U64


def finish_ifuncs(calls: IfuncCalls, answers: U64) -> U64:
    """The words to store at `calls.place`, given the answers of the resolvers (uint64[n])."""
    if calls.reloc_type.role is Role.IRELATIVE:
        return answers
    return evaluate(calls.reloc_type, calls.image, S=answers, A=calls.addend, P=calls.place)


@dataclass(frozen=True, slots=True)
class Copied:
    """One variable that was copied into an executable. Sizes in bytes, guest addresses."""

    symbol: str
    provider: str | None  #: the library that defines it; None: the host's C library
    source: int
    destination: int
    size: int  #: st_size in the executable: the space there
    provided: int  #: st_size in the library
    protected: bool = False  #: the library continues to use its own variable

    @property
    def taken(self) -> int:
        """Bytes copied."""
        return min(self.size, self.provided)

    @property
    def differs(self) -> bool:
        """Whether the executable was linked against a variable of another size."""
        return self.size != self.provided

    def __str__(self) -> str:
        where = self.provider or "the C library"
        text = f"{self.symbol}: {self.taken} bytes copied from {where}"
        if self.differs:
            text += f", where it has {self.provided} bytes and not {self.size}: consider re-linking"
        if self.protected:
            text += ", where it is protected: the library continues to use its own variable"
        return printable_lines(text)


@dataclass(frozen=True, slots=True)
class Deferred:
    """Undefined strong symbols of an image that later loads may define (see `relink.relocate.deferred`)."""

    references: References  #: all of the image's
    binding: BindMode  #: when its jump slots are bound
    stand_ins: dict[int, int]  #: symbol index -> the address used until then


_NO_SYMBOLS: I64 = np.zeros(0, np.int64)
_NO_SYMBOLS.flags.writeable = False
#: Without `Counter.__init__`, which takes as long as that of a whole record.
_no_counts: Callable[[], Counter[str]] = partial(Counter.__new__, Counter)


@dataclass(slots=True)
class Relocated:
    """The result of relocating one image; empty for an image that was not relocated by this linker."""

    errors: list[LinkError] = field(default_factory=list)
    ifuncs: list[IfuncCalls] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=_no_counts)  #: entries applied, by full type name
    #: (section, full type name) -> numbers of entries: applied by the linker, claimed by a handler.
    entries: dict[tuple[str, str], int] = field(default_factory=dict)
    claimed: dict[tuple[str, str], int] = field(default_factory=dict)
    bindings: Bindings | None = None  #: element 0 is symbol 0, with the value 0
    symbols: I64 = field(default_factory=lambda: _NO_SYMBOLS)  #: the symbols of elements 1, 2, …
    lazy: LazySlots | None = None  #: lazily bound jump slots
    weak_unresolved: list[str] = field(default_factory=list)  #: undefined weak symbols, bound to 0 (gABI)
    unresolved: list[str] = field(default_factory=list)  #: undefined strong symbols that were allowed
    deferred: Deferred | None = None  #: those of them that later loads may define
    copies: list[Copied] = field(default_factory=list)  #: variables copied into an executable
    looked_up: list[Module] = field(default_factory=list)  #: images in which relocation handlers looked up symbols

    @property
    def providers(self) -> list[Module]:
        """The other images that references are bound to, including lazily bound ones."""
        found = list(self.looked_up)
        if self.lazy is not None:
            found += [slot.provider for slot in self.lazy.bound.values() if slot.provider is not None]
        return found if self.bindings is None else [*found, *self.bindings.providers]

"""What relocating an image comes to: what it bound to, what went wrong, and what the guest has yet to answer."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from relink.arch import Reloc, Role
from relink.arrays import I64, U64
from relink.errors import LinkError
from relink.module import Module
from relink.records import dataclass, field
from relink.relocate.batch import evaluate
from relink.resolve.bindings import Bindings

if TYPE_CHECKING:
    from relink.relocate.lazy import BindMode, LazySlots
    from relink.relocate.references import References


@dataclass(frozen=True, slots=True)
class IfuncCalls:
    """Places whose value a resolver function of the guest decides. Arrays of one element per place."""

    image: Module
    reloc_type: Reloc
    place: U64  #: guest addresses
    resolver: U64  #: guest addresses of the resolver functions
    addend: U64


def finish_ifuncs(calls: IfuncCalls, answers: U64) -> U64:
    """The words to store at `calls.place`, given what the resolvers answered (uint64[n])."""
    if calls.reloc_type.role is Role.IRELATIVE:
        return answers
    return evaluate(calls.reloc_type, calls.image, S=answers, A=calls.addend, P=calls.place)


@dataclass(frozen=True, slots=True)
class Copied:
    """One variable an executable took over. Sizes in bytes, addresses of the guest."""

    symbol: str
    provider: str | None  #: the library it is from; None: the host's own C library
    source: int
    destination: int
    size: int  #: st_size in the executable: the room there
    provided: int  #: st_size in the library
    protected: bool = False  #: the library goes on using its own

    @property
    def taken(self) -> int:
        """Bytes copied."""
        return min(self.size, self.provided)

    @property
    def differs(self) -> bool:
        """Whether the executable was linked against another layout of the variable."""
        return self.size != self.provided

    def __str__(self) -> str:
        where = self.provider or "the C library"
        text = f"{self.symbol}: {self.taken} bytes copied from {where}"
        if self.differs:
            text += f", where it has {self.provided} bytes and not {self.size}: consider re-linking"
        if self.protected:
            text += ", where it is protected: the library goes on using its own"
        return text


@dataclass(frozen=True, slots=True)
class Deferred:
    """Strong symbols that an image has left to later loads (see `relink.relocate.deferred`)."""

    references: References  #: all of the image's
    binding: BindMode  #: when its jump slots are bound
    stand_ins: dict[int, int]  #: symbol index -> what its references lead to until then


@dataclass(slots=True)
class Relocated:
    """What relocating one image came to; empty for an image that has not been relocated here."""

    errors: list[LinkError] = field(default_factory=list)
    ifuncs: list[IfuncCalls] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)  #: entries applied, by full type name
    #: (section, full type name) -> entries of it: those left to the linker, and those a handler claimed.
    entries: dict[tuple[str, str], int] = field(default_factory=dict)
    claimed: dict[tuple[str, str], int] = field(default_factory=dict)
    bindings: Bindings | None = None  #: element 0 is symbol 0: nothing, at 0
    symbols: I64 = field(default_factory=lambda: np.zeros(0, np.int64))  #: the symbols of elements 1, 2, …
    lazy: LazySlots | None = None  #: jump slots that are bound when first called
    weak_unresolved: list[str] = field(default_factory=list)  #: bound to 0, as the gABI says
    unresolved: list[str] = field(default_factory=list)  #: strong, and left open on request
    deferred: Deferred | None = None  #: of these, what later loads may define
    copies: list[Copied] = field(default_factory=list)  #: variables an executable took over
    looked_up: list[Module] = field(default_factory=list)  #: images that relocation handlers have found symbols in

    @property
    def providers(self) -> list[Module]:
        """The other images that references are bound to, those bound lazily included."""
        found = list(self.looked_up)
        if self.lazy is not None:
            found += [slot.provider for slot in self.lazy.bound.values() if slot.provider is not None]
        return found if self.bindings is None else [*found, *self.bindings.providers]

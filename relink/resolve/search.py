"""`Search`: a batch of references that `relink.resolve.resolver` looks up."""

from __future__ import annotations

from collections.abc import Sequence

from relink.arrays import I64, U8, Bools
from relink.elf import Names
from relink.module import Module
from relink.records import dataclass
from relink.resolve.bindings import Bindings
from relink.resolve.own_exports import Kept


@dataclass(frozen=True, slots=True)
class Search:
    """References to bind; arrays have one element per reference."""

    bindings: Bindings
    where: I64  #: their indices in `bindings`
    names: Names
    required: I64  #: ids of the versions they require
    uses: U8
    scope: Sequence[Module]
    image: Module | None  #: the referring image; None for a user's look-up, which prefers the newest version
    #: Which references cannot be bound to other images: undefined hidden symbols of objects (gABI, "Symbol
    #: Visibility"). A static linker refuses them; ld.so does not check.
    own_only: Bools | None = None
    kept: Kept | None = None  #: see `Resolver.bind`

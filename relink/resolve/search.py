"""`Search`: a batch of references that `relink.resolve.resolver` looks up."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from relink.arrays import I64, U8, Bools
from relink.elf import Names
from relink.module import Module
from relink.records import dataclass
from relink.resolve.bindings import Bindings
from relink.resolve.own_exports import Kept


@dataclass(slots=True)
class Search:
    """References to bind; arrays have one element per reference."""

    bindings: Bindings
    where: I64  #: their indices in `bindings`
    names: Names
    #: Ids of the versions they require, or a function that is called when these are first asked for: `versions`.
    required: I64 | Callable[[], I64]
    uses: U8
    scope: Sequence[Module]
    image: Module | None  #: the referring image; None for a user's look-up, which prefers the newest version
    #: Which references cannot be bound to other images: undefined hidden symbols of objects (gABI, "Symbol
    #: Visibility"). A static linker refuses them; ld.so does not check.
    own_only: Bools | None = None
    kept: Kept | None = None  #: see `Resolver.bind`

    def versions(self) -> I64:
        """The ids of the versions they require. Only where an image has a name are they asked for."""
        if callable(self.required):
            self.required = self.required()
        return self.required

"""Where objects are placed so that they reach what they refer to.

Code that is not position-independent refers to the data of others relative to itself, within 2 GiB. Images that
have to be in the lowest 2 GiB (an ET_EXEC, objects with 32-bit absolute addresses) are far from all others, so
objects that refer to one directly, or define what one has deferred, are placed there too.
"""

from __future__ import annotations

from collections.abc import Iterable

from relink.image import Image
from relink.load.state import LinkerState
from relink.objects.combined import combined
from relink.resolve.bindings import UNRESOLVED

_REACH = 1 << 31  #: bytes in either direction


def limit_for(image: Image, state: LinkerState) -> int | None:
    """The address that objects must end below, given what is loaded already; None when they may be anywhere."""
    objects = combined(image.decoded) if image.decoded.is_relocatable else None
    if objects is None or state.architecture.bits == 32:
        return None
    low = {other for other in state.images if other.region.end <= _REACH}
    if not low:
        return None
    names = objects.symbols.names
    near = low.intersection(_providers(names.take(objects.direct).texts(), state))
    own = set(names.take(objects.offered).texts())
    near.update(other for other in low if own.intersection(other.deferred))
    return min((other.base for other in near), default=0) + _REACH if near else None


def _providers(names: Iterable[str], state: LinkerState) -> Iterable[Image]:
    """The images that define the names, for the global scope."""
    for name in names:
        found = state.resolver.find(name, None, state.global_scope)
        if found.provider[0] != UNRESOLVED:
            yield state.global_scope[int(found.provider[0])]

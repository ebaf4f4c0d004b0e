"""Placing objects in range of the symbols they refer to.

Code that is not position-independent refers to data of other images relative to itself, within 2 GiB. Images that
must be in the lowest 2 GiB (an ET_EXEC, objects with 32-bit absolute addresses) are far from all others. So these
objects are placed there too:

- objects that refer directly to such an image;
- objects that define a symbol that such an image has deferred;
- objects that refer directly to an undefined weak symbol, whose address is 0.
"""

from __future__ import annotations

from relink.elf.constants import SymbolBind
from relink.image import Image, image_of
from relink.load.state import LinkerState
from relink.objects.combined import combined
from relink.resolve.bindings import UNRESOLVED

_REACH = 1 << 31  #: range in bytes in either direction


def limit_for(image: Image, state: LinkerState) -> int | None:
    """The address below which objects must end, given the loaded images; None without a limit."""
    objects = combined(image.decoded) if image.decoded.is_relocatable else None
    if objects is None or state.architecture.bits == 32:
        return None
    table = objects.symbols
    providers = [_provider(name, state) for name in table.names.take(objects.direct).texts()]
    weak = (table.bind[objects.direct] == SymbolBind.WEAK).tolist()
    near = {provider for provider in providers if provider is not None and provider.region.end <= _REACH}
    own = set(table.names.take(objects.offered).texts())
    near.update(i for i in state.images if i.region.end <= _REACH and own.intersection(i.deferred))
    if not near and not any(weak_ and p is None for weak_, p in zip(weak, providers, strict=True)):
        return None
    return min((other.base for other in near), default=0) + _REACH


def _provider(name: str, state: LinkerState) -> Image | None:
    """The image that defines a name, in the global scope."""
    found = state.resolver.find(name, None, state.global_scope)
    return None if found.provider[0] == UNRESOLVED else image_of(found.images[int(found.provider[0])])

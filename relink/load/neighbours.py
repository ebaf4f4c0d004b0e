"""Placing objects in range of the symbols they refer to.

Code that is not position-independent refers to data of other images relative to itself, within 2 GiB. Images that
must be in the lowest 2 GiB (an ET_EXEC, objects with 32-bit absolute addresses) are far from all others. So these
objects are placed there too:

- objects that refer directly to such an image;
- objects that define a symbol that such an image has deferred;
- objects that refer directly to an undefined weak symbol, whose address is 0;
- objects that define data for others and do not use the GOT, as compiled for an executable: objects that come
  later may refer to that data with 32-bit absolute addresses. Not when shared objects are loaded, which are far
  from there: objects that come later may refer directly to both.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from relink.arch.spec import Slot
from relink.elf.constants import SymbolBind
from relink.image import Image, image_of
from relink.load.state import LinkerState
from relink.resolve.bindings import UNRESOLVED

if TYPE_CHECKING:
    from relink.objects.combined import CombinedObjects

_ADDRESS = Slot.ADDRESS
_REACH = 1 << 31  #: range in bytes in either direction


def limit_for(objects: CombinedObjects, state: LinkerState) -> int | None:
    """The address below which objects of a 64-bit ISA must end, given the loaded images; None without a limit."""
    direct, deferring = objects.direct, state.known.deferring()
    if not (deferring or len(direct)):
        return None
    table, waiting = objects.symbols, [image for image in deferring if image.region.end <= _REACH]
    providers = [_provider(name, state) for name in table.names.take(direct).texts()] if len(direct) else []
    weak = (table.bind[direct] == SymbolBind.WEAK).tolist() if len(direct) else []
    near = {provider for provider in providers if provider is not None and provider.region.end <= _REACH}
    if waiting:
        own = set(table.names.take(objects.offered).texts())
        near.update(image for image in waiting if own.intersection(image.deferred))
    if not near and not any(weak_ and p is None for weak_, p in zip(weak, providers, strict=True)):
        return None
    return min((other.base for other in near), default=0) + _REACH


def low_if_possible(objects: CombinedObjects, state: LinkerState) -> int | None:
    """The address below which objects end if there is room: those that later ones may need there."""
    if not objects.offers_data or _ADDRESS in objects.slots:
        return None
    table = objects.symbols
    providers = map(partial(_provider, state=state), table.names.take(objects.direct).texts())
    far = any(provider is not None and provider.region.end > _REACH for provider in providers)
    own = set(table.names.take(objects.offered).texts())
    far |= any(i.region.end > _REACH and own.intersection(i.deferred) for i in state.known.deferring())
    shared = any(not i.decoded.is_relocatable and i.region.end > _REACH for i in state.images)
    return None if far or shared else _REACH


def _provider(name: str, state: LinkerState) -> Image | None:
    """The image that defines a name, in the global scope."""
    found = state.resolver.find(name, None, state.global_scope)
    return None if found.provider[0] == UNRESOLVED else image_of(found.images[int(found.provider[0])])

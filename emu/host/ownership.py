"""Objects of one machine given to another: refused by name, since their addresses mean something else there."""

from __future__ import annotations

from emu.calls.store import GuestStore, View
from emu.errors import ForeignObject
from emu.memory.guest_memory import GuestMemory
from relink.image import Image
from relink.linker import Linker
from relink.records import Assigned


class Owner(Assigned):
    """Tells what belongs to one machine: images of its linker and what comes from them, views of its memory."""

    def __init__(self, linker: Linker, memory: GuestMemory) -> None:
        self._resolver, self._memory, self._arch = linker.resolver, memory, memory.architecture.name

    def check(self, *values: object) -> None:
        """Raise ForeignObject for the first of `values` that belongs to another machine."""
        for value in values:
            if isinstance(value, Image):
                image: Image | None = value
            elif isinstance(value, View):
                store = value._store_
                if isinstance(store, GuestStore) and store.memory is not self._memory:
                    raise ForeignObject(repr(value), "", self._arch)
                continue
            else:
                image = _image_of(value)
            if image is not None and image.resolver is not self._resolver:
                raise ForeignObject(repr(value), image.architecture.name, self._arch)


def _image_of(value: object) -> Image | None:
    """The image that a value comes from: a Library, Symbol, Function or Variable."""
    described = getattr(value, "__dict__", {}).get("_symbol", value)
    image = getattr(described, "image", None)
    return image if isinstance(image, Image) else None

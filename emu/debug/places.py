"""Finding the guest address that a name, a handle or a number stands for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from emu.ports import Handle
from relink.elf.constants import SymbolType
from relink.errors import MachineError, UnresolvedSymbol
from relink.image import Image, Symbol, symbol_of
from relink.linker import Linker
from relink.resolve.local_symbols import local_symbols

#: An address, a symbol's name ("add", or "libm.so.6:add" for that of one image), a function, variable or symbol.
Place: TypeAlias = int | str | Handle | Symbol


class Found(NamedTuple):
    """Where a Place is."""

    address: int
    image: Image | None  #: None for a bare address
    size: int  #: of the symbol; 0: not known
    name: str


def find_place(linker: Linker, place: Place, address_mask: int) -> Found:
    """The address of a place. A name is looked up in each loaded image, in the order of loading: exported symbols
    of all first, then static ones.

    Raises UnresolvedSymbol, UseAfterUnload, and MachineError for a name with several static definitions, a
    thread-local variable, or something that is not a place.
    """
    if isinstance(place, bool) or not (isinstance(place, (int, str, Symbol)) or hasattr(place, "symbol")):
        raise MachineError(f"{place!r} is not an address, a name, a function or a variable")
    if isinstance(place, int):
        return Found(place, linker.image_at(place & address_mask), 0, hex(place))
    if isinstance(place, str):
        symbol = find_symbol(linker, place)
        return _of(symbol, symbol.address)
    symbol = place if isinstance(place, Symbol) else place.symbol
    return _of(symbol, place.address)


def _of(symbol: Symbol, address: int) -> Found:
    if symbol.type == SymbolType.TLS:
        raise MachineError(f"{symbol.name} is thread-local: give the address of one thread's")
    return Found(address, symbol.image, symbol.size, symbol.name)


def find_symbol(linker: Linker, text: str) -> Symbol:
    """The symbol that a name stands for; see `find_place`."""
    where, colon, name = text.rpartition(":")
    if not name or where.endswith(":"):  # a C++ name, without an image
        where, colon, name = "", "", text
    images = linker.images if not colon else images_named(linker.images, where)
    if colon and not images:
        raise MachineError(f"no image is called {where} (for {text})")
    for image in images:
        found = image.resolver.find(name, None, [image])
        if found.provider[0] >= 0:
            symbol = symbol_of(found, 0, name)
            if symbol.image is image:
                return symbol
    local = [(image, one) for image in images for one in local_symbols(image.decoded, name)]
    if len(local) == 1:
        image, one = local[0]
        return Symbol(name, image, one.row, image.address_of(one.value), one.size, one.type)
    if local:
        raise MachineError(f"{text} is the name of {len(local)} static symbols: give an address")
    raise UnresolvedSymbol(where or "the machine", name, None, detail=f"in {len(images)} loaded images")


def images_named(images: Iterable[Image], name: str) -> list[Image]:
    """The images with this path, file name or SONAME."""
    return [image for image in images if name in (image.name, image.short_name, image.soname)]

"""The C types that an image's own DWARF gives its symbols, looked up by address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relink.elf.debug_files import has_debug_info

if TYPE_CHECKING:
    from relink.image import Image, Symbol


def declared_prototype(symbol: Symbol, image: Image, address: int) -> str | None:
    """The prototype of the function at a guest address of `image`, as that of `symbol`; None where no DWARF covers
    it.

    For an ifunc, `image` and `address` are those of the implementation chosen. Raises DebugInfoError where DWARF
    describes it in a way that cannot be used.
    """
    if not has_debug_info(image.decoded):
        return None
    from relink.elf import dwarf  # whose parser takes a while to load

    vaddr = (address - image.bias) & image.architecture.address_mask & image.architecture.code_address_mask
    return dwarf.prototype(image.decoded, symbol.name, vaddr)


def declared_type(symbol: Symbol) -> str | None:
    """The C type of a variable; see `declared_prototype`."""
    image = symbol.image
    if not has_debug_info(image.decoded):
        return None
    from relink.elf import dwarf

    vaddr = (symbol.value - image.bias) & image.architecture.address_mask
    return dwarf.variable_type(image.decoded, symbol.name, vaddr)


def missing_debug_file(image: Image) -> str | None:
    """The name of the separate debug file an image refers to, where it was not found."""
    if image.decoded.debug_sections is not None or not has_debug_info(image.decoded):
        return None
    from relink.elf import dwarf

    return dwarf.debug_types(image.decoded).missing

"""The C types of an image's symbols from its DWARF, looked up by address."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from emu.isa.registry import convention
from relink.elf.debug_files import has_debug_info

if TYPE_CHECKING:
    from emu.calls.dwarf_types import DwarfTypes
    from emu.calls.types import CType, Prototype
    from relink.elf.decoded import Decoded
    from relink.image import Image, Symbol

_KNOWN: WeakKeyDictionary[Decoded, DwarfTypes] = WeakKeyDictionary()


def dwarf_types(image: Image) -> DwarfTypes | None:
    """The types in an image's debug information; None without any. Raises DebugInfoError."""
    return types_of(image.decoded, image.architecture.name)


def types_of(decoded: Decoded, arch: str) -> DwarfTypes | None:
    """The types in a file's debug information; None without any. Raises DebugInfoError."""
    if not has_debug_info(decoded):
        return None
    if decoded not in _KNOWN:
        from emu.calls.dwarf_types import DwarfTypes  # imported late: its parser is slow to import
        from relink.elf import dwarf

        data = convention(arch).data
        _KNOWN[decoded] = DwarfTypes(dwarf.debug_types(decoded), data, decoded.name)
    return _KNOWN[decoded]


def declared_prototype(symbol: Symbol, image: Image, address: int) -> Prototype | None:
    """The prototype of the function at a guest address of `image`, as that of `symbol`; None when no DWARF covers
    it. For an ifunc, `image` and `address` are those of the chosen implementation. Raises DebugInfoError when
    DWARF covers it but cannot be used.
    """
    types = dwarf_types(image)
    if types is None:
        return None
    vaddr = (address - image.bias) & image.architecture.address_mask & image.architecture.code_address_mask
    return types.prototype(symbol.name, vaddr)


def declared_type(symbol: Symbol) -> CType | None:
    """The C type of a variable; see `declared_prototype`."""
    image = symbol.image
    types = dwarf_types(image)
    if types is None:
        return None
    return types.variable(symbol.name, (symbol.value - image.bias) & image.architecture.address_mask)


def missing_debug_file(image: Image) -> str | None:
    """The name of the separate debug file of an image, if it was not found."""
    if image.decoded.debug_sections is not None or not has_debug_info(image.decoded):
        return None
    from relink.elf import dwarf

    return dwarf.debug_types(image.decoded).missing

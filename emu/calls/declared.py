"""The C types of an image's symbols from its DWARF, looked up by address."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from emu.isa.registry import ISAS, convention
from relink.elf.debug_files import has_debug_info
from relink.elf.debug_lock import forget_in_child
from relink.errors import UnresolvedSymbol
from relink.resolve.local_symbols import local_symbols

if TYPE_CHECKING:
    from emu.calls.dwarf_types import DwarfTypes
    from emu.calls.types import CType, Prototype
    from emu.isa.convention import CallingConvention
    from relink.elf.decoded import Decoded
    from relink.image import Image, Symbol

_KNOWN: WeakKeyDictionary[Decoded, DwarfTypes] = WeakKeyDictionary()
forget_in_child(_KNOWN)


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
    return types.prototype(symbol.name, _vaddr(image, address))


def check_convention(
    symbol: Symbol, prototype: Prototype, image: Image, address: int, rules: CallingConvention
) -> None:
    """Raise CallError for a function that its compiler does not call as the ABI says; see
    `emu.calls.entry_check`. Raises DebugInfoError too.
    """
    from emu.calls.entry_check import check_entry, warn_of_static

    types = dwarf_types(image)
    told = None if types is None else types.entry_places(symbol.name, _vaddr(image, address))
    if told is not None:
        check_entry(symbol.name, prototype, told, rules, ISAS[image.architecture.name].dwarf)
    elif is_static(image, symbol.name):
        warn_of_static(symbol.name, image.name)


def is_static(image: Image, name: str) -> bool:
    """Whether a name that other images cannot bind to is that of a static function."""
    try:
        image.symbol(name)
    except UnresolvedSymbol:
        found = local_symbols(image.decoded, name)
        return bool(found) and all(each.static for each in found)
    return False


def _vaddr(image: Image, address: int) -> int:
    return (address - image.bias) & image.architecture.address_mask & image.architecture.code_address_mask


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

"""Assembles code with keystone, for the ISAs it supports.

keystone is imported here alone, and only when text is to be assembled: it is large, and has no wheel for Linux on
AArch64 or macOS on arm64. Everything else works without it.
"""

from __future__ import annotations

from types import ModuleType

from emu.errors import AssemblerMissing, AssemblyError
from emu.isa.registry import ISAS
from relink.arch import Architecture


def assemble(arch: Architecture, text: str, address: int, *, thumb: bool = False) -> bytes:
    """Machine code for `text`, to lie at `address`. Intel syntax on x86; statements end with a newline or `;`.

    Raises AssemblyError for text that is no code, and for ISAs keystone does not know; AssemblerMissing where
    keystone is not installed.
    """
    known = ISAS[arch.name].instruction_set(int(thumb)).keystone
    if known is None:
        raise AssemblyError(f"no assembler for {arch.name} is at hand: give the code as bytes")
    keystone = _keystone()
    kind, mode = getattr(keystone, f"KS_ARCH_{known[0]}"), getattr(keystone, f"KS_MODE_{known[1]}")
    try:
        code, _ = keystone.Ks(kind, mode).asm(text, address, True)
    except keystone.KsError as error:
        raise AssemblyError(f"{text!r} is no {arch.name} assembly: {error.message}") from None
    if not code:
        raise AssemblyError(f"{text!r} assembles to nothing")
    return bytes(code)


def _keystone() -> ModuleType:
    try:
        import keystone
    except ImportError as error:  # its package is missing, or the library inside cannot be loaded
        raise AssemblerMissing(str(error)) from error
    return keystone  # type: ignore[no-any-return]

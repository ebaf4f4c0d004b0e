"""Assembling a piece of code with keystone, for the ISAs it knows."""

from __future__ import annotations

from emu.errors import AssemblyError
from relink.arch import Architecture

_KNOWN = ("x86_64", "i386", "aarch64", "arm")


def assemble(arch: Architecture, text: str, address: int, *, thumb: bool = False) -> bytes:
    """Machine code for `text`, to lie at `address`. Intel syntax on x86; statements end with a newline or `;`.

    Raises AssemblyError for text that is no code, and for ISAs keystone does not know.
    """
    if arch.name not in _KNOWN:
        raise AssemblyError(f"no assembler for {arch.name} is at hand: give the code as bytes")
    import keystone  # large, and few need it

    kind, mode = {
        "x86_64": (keystone.KS_ARCH_X86, keystone.KS_MODE_64),
        "i386": (keystone.KS_ARCH_X86, keystone.KS_MODE_32),
        "aarch64": (keystone.KS_ARCH_ARM64, keystone.KS_MODE_LITTLE_ENDIAN),
        "arm": (keystone.KS_ARCH_ARM, keystone.KS_MODE_THUMB if thumb else keystone.KS_MODE_ARM),
    }[arch.name]
    try:
        code, _ = keystone.Ks(kind, mode).asm(text, address, True)
    except keystone.KsError as error:
        raise AssemblyError(f"{text!r} is no {arch.name} assembly: {error.message}") from None
    if not code:
        raise AssemblyError(f"{text!r} assembles to nothing")
    return bytes(code)

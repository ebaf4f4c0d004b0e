"""Assembling code with keystone, for the ISAs it supports.

keystone is imported only here, and only for assembly text: it is large, and has no wheel for Linux on AArch64 or
macOS on arm64. Everything else works without it.
"""

from __future__ import annotations

import re
from types import ModuleType

from emu.errors import AssemblerMissing, AssemblyError
from emu.isa.registry import ISAS
from relink.arch import Architecture

#: Decimal numbers of several digits, which are not part of a name, another number or a label; or a string.
_DECIMAL = re.compile(r'"(?:[^"\\]|\\.)*"|(?<![\w.])([1-9]\d+)(?![\w.:])')


def assemble(arch: Architecture, text: str, address: int, *, thumb: bool = False) -> bytes:
    """Assemble `text` for `address`. Intel syntax on x86; statements end with a newline or `;`.

    Raises AssemblyError for invalid text and for ISAs that keystone does not support; AssemblerMissing when
    keystone is not installed.
    """
    known = ISAS[arch.name].instruction_set(int(thumb)).keystone
    if known is None:
        raise AssemblyError(f"there is no assembler for {arch.name}: give the code as bytes")
    keystone = _keystone()
    kind, mode = getattr(keystone, f"KS_ARCH_{known[0]}"), getattr(keystone, f"KS_MODE_{known[1]}")
    try:
        code, _ = keystone.Ks(kind, mode).asm(_in_one_radix(text), address, True)
    except keystone.KsError as error:
        raise AssemblyError(f"{text!r} is not {arch.name} assembly: {error.message}") from None
    if not code:
        raise AssemblyError(f"{text!r} assembles to nothing")
    return bytes(code)


def _in_one_radix(text: str) -> str:
    """`text` with hexadecimal numbers for decimal ones.

    keystone 0.9.2 looks up what digits alone mean in memory that it has not initialised: 264 may be 0x264.
    """
    return _DECIMAL.sub(lambda found: hex(int(found[1])) if found[1] else found[0], text)


def _keystone() -> ModuleType:
    try:
        import keystone
    except ImportError as error:  # the package is missing, or its native library cannot be loaded
        raise AssemblerMissing(str(error)) from error
    return keystone  # type: ignore[no-any-return]

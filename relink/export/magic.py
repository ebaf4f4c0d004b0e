"""The first bytes of files of device memory."""

from __future__ import annotations

import re
import struct

from relink.arrays import U8

UF2_FIRST, UF2_SECOND = 0x0A32_4655, 0x9E5D_5157
_HEX = rb"\s*:[0-9A-Fa-f]{10}"
_SREC = rb"\s*S[0-9][0-9A-Fa-f]{6}"
_LONGEST = 64  #: bytes that are looked at


def format_of(start: bytes) -> str | None:
    """The format of a file, by its first bytes; None for ELF and raw bytes."""
    if re.match(_HEX, start):
        return "hex"
    if re.match(_SREC, start):
        return "srec"
    return "uf2" if start[:8] == struct.pack("<II", UF2_FIRST, UF2_SECOND) else None


def is_firmware(data: U8) -> bool:
    """Whether a file has one of the formats that name addresses."""
    return len(data) > 0 and data[0] != 0x7F and format_of(data[:_LONGEST].tobytes()) is not None

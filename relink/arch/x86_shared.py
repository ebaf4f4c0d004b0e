"""Data shared by the pages of both x86 ISAs."""

from __future__ import annotations

#: Padding between functions as a regular expression: int3, nop and nopw/nopl with any operand, one to fifteen
#: bytes.
NOPS = rb"(?s:\xcc|[\x66\x2e]*(?:\x90|\x0f\x1f(?:\x00|\x40.|\x44..|\x80....|\x84.....)))*"

_LEVELS = ("x86-64-baseline", "x86-64-v2", "x86-64-v3", "x86-64-v4")
#: See `Architecture.property_names` (AMD64 psABI, "Program Property").
PROPERTIES = {
    0xC0000002: ("x86 feature", ("IBT", "SHSTK", "LAM_U48", "LAM_U57")),
    0xC0008002: ("x86 ISA needed", _LEVELS),
    0xC0010002: ("x86 ISA used", _LEVELS),
    0xC0010001: ("x86 feature used", ("x86", "x87", "MMX", "XMM", "YMM", "ZMM", "FXSR", "XSAVE")),
}

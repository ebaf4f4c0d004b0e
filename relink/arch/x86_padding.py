"""What assemblers put between functions of both x86 ISAs."""

from __future__ import annotations

#: int3, nop and nopw/nopl with any operand, of one byte to fifteen: a regular expression.
NOPS = rb"(?s:\xcc|[\x66\x2e]*(?:\x90|\x0f\x1f(?:\x00|\x40.|\x44..|\x80....|\x84.....)))*"

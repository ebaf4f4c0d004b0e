"""The page of helpers that Linux maps into every 32-bit Arm process, for code written for older cores.

Linux, Documentation/arch/arm/kernel_user_helpers.rst. Each helper lies at a fixed address, called like a function.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

ADDRESS = 0xFFFF_0000
_VERSION = 5  #: version of the set, at 0xffff0ffc: helpers 1 to 5 exist

#: Offset in the page -> instructions.
_HELPERS: Mapping[int, str] = {
    # __kuser_cmpxchg64: push {r4-r7}; ldrd r4, r5, [r0]; ldrd r6, r7, [r1]; 1: ldrexd r0, r1, [r2];
    # eors r3, r0, r4; eorseq r3, r1, r5; strexdeq r3, r6, r7, [r2]; teqeq r3, #1; beq 1b; rsbs r0, r3, #0;
    # pop {r4-r7}; bx lr
    0xF60: "e92d00f0 e1c040d0 e1c160d0 e1b20f9f e0303004 00313005 01a23f96 03330001 0afffff9 e2730000 e8bd00f0"
    " e12fff1e",
    # __kuser_memory_barrier: dmb ish; bx lr
    0xFA0: "f57ff05b e12fff1e",
    # __kuser_cmpxchg: 1: ldrex r3, [r2]; subs r3, r3, r0; strexeq r3, r1, [r2]; teqeq r3, #1; beq 1b;
    # rsbs r0, r3, #0; bx lr
    0xFC0: "e1923f9f e0533000 01823f91 03330001 0afffffa e2730000 e12fff1e",
    # __kuser_get_tls: mrc p15, 0, r0, c13, c0, 3; bx lr
    0xFE0: "ee1d0f70 e12fff1e",
}


def content() -> bytes:
    """The content of the page, 4096 bytes."""
    page = bytearray(4096)
    for offset, text in _HELPERS.items():
        code = struct.pack(f"<{len(text.split())}I", *(int(word, 16) for word in text.split()))
        page[offset : offset + len(code)] = code
    struct.pack_into("<I", page, 0xFFC, _VERSION)
    return bytes(page)

"""Assembly text means the same whatever is in the memory that keystone does not initialise."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from emu.patch.assemble import assemble
from relink.arch import ARCHITECTURES
from tests.grouping import each


@each(
    ("text", "given"),
    [
        ("mov eax, 264", "mov eax, 0x108"),
        ("add r0, r10, #-16; ldr r1, [r2], #12", "add r0, r10, #-0x10; ldr r1, [r2], #0xc"),
        ("tbnz x9, #63, #32764\nfmov d10, #12.5", "tbnz x9, #0x3f, #0x7ffc\nfmov d10, #12.5"),
        ("mov al, 10h; mov ah, 0x10; mov cl, 7", "mov al, 10h; mov ah, 0x10; mov cl, 7"),
        ("12: b 12b", "12: b 12b"),
        ('.ascii "12 \\" 34"; .byte 56', '.ascii "12 \\" 34"; .byte 0x38'),
    ],
)
def test_keystone_gets_no_decimal_number_of_several_digits(
    text: str, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes some for hexadecimal ones: those of one digit are the same."""
    seen = list[str]()

    class Engine:
        def __init__(self, *kind: int) -> None:
            pass

        def asm(self, text: str, *others: Any) -> tuple[bytes, int]:
            seen.append(text)
            return b"code", 1

    fake = SimpleNamespace(Ks=Engine, KS_ARCH_X86=1, KS_MODE_64=2, KsError=ValueError)
    monkeypatch.setattr("emu.patch.assemble._keystone", lambda: fake)
    assert assemble(ARCHITECTURES["x86_64"], text, 0) == b"code"
    assert seen == [given]

"""Arm objects linked by lld, and what the rows would write at every place.

lld's static base is the start of a segment, and it has neither LDC groups, NOI nor the 12-bit GOT and TLS types:
of those keystone's encodings are the only witness.
"""

from __future__ import annotations

import pytest

from relink.arch.arm import ARM
from relink.arch.spec import Slot
from tests.objects.linkers import Target, places

SLOTS = {
    Slot.ADDRESS: "GLOB_DAT",
    Slot.TLS_GD: "TLS_DTPMOD32",
    Slot.TLS_LD: "TLS_DTPMOD32",
    Slot.TLS_IE: "TLS_TPOFF32",
}
TARGET = Target(ARM, "armv7a-linux-gnueabihf", ("arm-linux-gnueabihf-ld",), SLOTS, (".got.plt", ".got"))

DEFINITIONS = """
    .section .data, "aw"
    .globl far, near
    .hidden near
far: .word 1, 2, 3
near: .word 4
    .section .tdata, "awT", %progbits
    .globl tvar, tlocal
    .hidden tlocal
    .balign 4
other: .word 1
tvar: .word 2
tlocal: .word 3
    .section .text.other, "ax", %progbits
    .balign 4
    .globl a_function, t_function
    .hidden a_function, t_function
    .type a_function, %function
    .type t_function, %function
    .arm
a_function: bx lr
    .thumb
    .thumb_func
t_function: bx lr
    .text
    .syntax unified
    .arm
"""


def one_each(lines: str) -> str:
    """`TYPE symbol instruction` a line → source with a `.reloc` at each instruction."""
    out = []
    for line in lines.strip().splitlines():
        kind, symbol, code = line.split(None, 2)
        out.append(f".reloc ., R_ARM_{kind}, {symbol}\n {code}")
    return "\n".join(out) + "\n"


A32_CODE = one_each("""
ABS32 far .word 4
ABS32 t_function .word 0
REL32 t_function .word 0
PREL31 t_function .word 0
PREL31 a_function .word 0x80000000
TARGET1 t_function .word 0
CALL a_function .inst 0xebfffffe
CALL t_function .inst 0xebfffffe
CALL a_function .inst 0xfafffffe
CALL t_function .inst 0xfafffffe
PC24 a_function .inst 0x1bfffffe
PLT32 a_function .inst 0xebfffffe
JUMP24 a_function .inst 0xeafffffe
JUMP24 a_function .inst 0x0afffffe
MOVW_ABS_NC t_function movw r1, #4
MOVT_ABS t_function movt r1, #4
MOVW_PREL_NC far movw r2, #0xfff8
MOVT_PREL far movt r2, #0xfff8
LDR_PC_G0 a_function ldr r1, [pc, #-8]
LDR_PC_G1 far ldr r1, [r2, #-4]
LDR_PC_G2 far ldr r1, [r2, #4]
LDRS_PC_G0 a_function ldrh r1, [pc, #-8]
LDRS_PC_G1 a_function ldrd r2, r3, [r4, #-8]
LDRS_PC_G2 far ldrh r1, [r2, #-8]
ALU_PC_G0 a_function sub r1, pc, #8
ALU_PC_G0_NC far sub r1, pc, #8
ALU_PC_G1_NC far sub r1, r1, #4
ALU_PC_G1 a_function sub r1, r1, #4
ALU_PC_G2 far sub r1, r1, #0
GOTOFF32 near .word 4
""")
T32_CODE = ".thumb\n" + one_each("""
THM_CALL t_function .inst.w 0xf7fffffe
THM_CALL a_function .inst.w 0xf7fffffe
THM_CALL t_function .inst.w 0xf7ffeffe
THM_CALL a_function .inst.w 0xf7ffeffe
THM_JUMP24 t_function .inst.w 0xf7ffbffe
THM_JUMP19 t_function .inst.w 0xf43faffe
THM_JUMP11 t_function .inst.n 0xe7fe
THM_CALL a_function .inst.w 0xf7fffffe
THM_JUMP8 t_function .inst.n 0xd0fe
THM_MOVW_ABS_NC t_function movw r1, #4
THM_MOVT_ABS t_function movt r1, #4
THM_MOVW_PREL_NC far movw r2, #0xfff8
THM_MOVT_PREL far movt r2, #0xfff8
THM_ALU_PREL_11_0 a_function .inst.w 0xf2af0104
THM_ALU_PREL_11_0 a_function .inst.w 0xf20f0108
THM_PC12 a_function .inst.w 0xf85f1004
THM_PC8 a_function .inst.n 0x48ff
THM_ALU_ABS_G3 far movs r1, #0
THM_ALU_ABS_G2_NC far adds r1, #0
THM_ALU_ABS_G1_NC far adds r1, #0
THM_ALU_ABS_G0_NC far adds r1, #0
""")
GOT_CODE = one_each("""
GOT_BREL far .word 0
GOT_PREL far .word -8
GOT_PREL near .word -8
TARGET2 far .word 0
BASE_PREL _GLOBAL_OFFSET_TABLE_ .word -8
GOTOFF32 near .word 0
TLS_GD32 tvar .word -8
TLS_IE32 tvar .word -8
TLS_LDO32 tlocal .word 4
""")
LAYOUT = ("-Ttext=0x10000", "--section-start=.text.other=0x10200", "--image-base=0x10000")
LINKS = {
    "a32": (A32_CODE, ("-Tdata=0x320678", *LAYOUT)),
    "t32": (T32_CODE, ("-Tdata=0x12345678", *LAYOUT)),
    "local_exec": (one_each("TLS_LE32 tvar .word 4\nTLS_LE32 tlocal .word 0"), ()),
    "got": (GOT_CODE, ("-shared",)),
}


@pytest.mark.parametrize("case", LINKS)
def test_lld_writes_the_same(case: str) -> None:
    code, flags = LINKS[case]
    got = places(TARGET, "lld", DEFINITIONS + code, "-m", "armelf_linux_eabi", "-e", "0", *flags)
    assert len(got) == code.count(".reloc")
    wrong = [f"{p.name} {p.symbol}: lld {p.theirs:#x}, here {p.ours:#x}" for p in got if p.ours != p.theirs]
    assert not wrong

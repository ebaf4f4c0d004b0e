"""Arm, 32-bit: A32 and Thumb, the hard-float EABI (armhf).

ELF for the Arm Architecture (AAELF32, 2024Q3), section 5.6 "Relocation", 5.6.1.6 "Dynamic relocations";
Addenda to, and Errata in, the ABI for the Arm Architecture, section 3 "Linux TLS".

REL throughout. What is odd: bit 0 of a function's address says Thumb (the document's `| T`); in a dynamic
symbol table st_value already carries it, so S needs nothing more. GLOB_DAT and JUMP_SLOT ignore what lies
in the place, as every ld.so does. A TLS descriptor keeps its argument in the *first* word. TLS is variant I
with a two-word TCB.
"""

from __future__ import annotations

from relink.arch.spec import NONE, Architecture, Reloc, Role, Tls, TlsVariant, reloc
from relink.fields import address32, word8, word16

RELOCATIONS: dict[int, Reloc] = {
    0: NONE,
    2: reloc("ABS32", "S + A", address32),
    3: reloc("REL32", "S + A - P", address32),
    5: reloc("ABS16", "S + A", word16),
    8: reloc("ABS8", "S + A", word8),
    13: reloc("TLS_DESC", "S + A + T", address32, Role.TLSDESC),
    17: reloc("TLS_DTPMOD32", "M", address32),
    18: reloc("TLS_DTPOFF32", "S + A - DTV", address32),
    19: reloc("TLS_TPOFF32", "S + A + T", address32),
    20: reloc("COPY", "S", address32, Role.COPY),
    21: reloc("GLOB_DAT", "S", address32),
    22: reloc("JUMP_SLOT", "S", address32, Role.JUMP_SLOT),
    23: reloc("RELATIVE", "B + A", address32, Role.RELATIVE),
    55: reloc("ABS32_NOI", "S + A", address32),
    56: reloc("REL32_NOI", "S + A - P", address32),
    160: reloc("IRELATIVE", "B + A", address32, Role.IRELATIVE),
}

EF_ARM_EABIMASK = 0xFF00_0000
EF_ARM_EABI_VER5 = 0x0500_0000
EF_ARM_ABI_FLOAT_SOFT = 0x200
EF_ARM_BE8 = 0x0080_0000


def flags_problem(flags: int) -> str | None:
    """AAELF32 section 5.2.1: which e_flags cannot be linked here."""
    if flags & EF_ARM_EABIMASK != EF_ARM_EABI_VER5:
        return f"Arm EABI version {flags >> 24} (only version 5 is supported)"
    if flags & EF_ARM_BE8:
        return "big-endian (BE8) Arm code is not supported"
    if flags & EF_ARM_ABI_FLOAT_SOFT:
        return "soft-float procedure calls (the armel ABI); only hard-float (armhf) is supported"
    return None


ARM = Architecture(
    name="arm",
    title="Arm (A32, Thumb)",
    psabi="AAELF32 2024Q3",
    machine=40,
    bits=32,
    prefix="R_ARM_",
    relocations=RELOCATIONS,
    tls=Tls(
        TlsVariant.I,
        tcb_size=8,
        descriptor_stub=bytes.fromhex("000090e5 1eff2fe1"),  # ldr r0, [r0]; bx lr
        # push {r1}; ldr r0, [r0]; mrc p15, 0, r1, c13, c0, 3; sub r0, r0, r1; pop {r1}; bx lr
        undefined_descriptor_stub=bytes.fromhex("04102de5 000090e5 701f1dee 010040e0 04109de4 1eff2fe1"),
        descriptor_argument=0,
        descriptor_holds_index=True,
    ),
    image_base=0x4000_0000,
    library_names=("lib/arm-linux-gnueabihf", "lib"),
    multiarch="arm-linux-gnueabihf",
    aliases=("armhf", "arm32", "armv7", "armv7l", "armv7a", "thumb", "thumb2"),
    platform="v7l",
    code_address_bits=1,
    flags_problem=flags_problem,
)

"""AArch64 (Arm 64-bit, LP64).

ELF for the Arm 64-bit Architecture (AAELF64, 2024Q3), section 5.7 "Relocation", 5.7.16 "Dynamic
relocations"; thread-local storage after section 5.7.15 and the glibc names of the two types the document
leaves to the platform (TLS_IMPDEF1 and 2: DTPMOD64 and DTPREL64).

RELA throughout. What is odd: descriptors (TLSDESC) are the default TLS dialect of every compiler, and the
type numbers of the dynamic ones start at 1024. TLS is variant I with a two-word TCB at the thread pointer.
"""

from __future__ import annotations

from relink.arch.spec import NONE, Architecture, Reloc, Role, Tls, TlsVariant, refused, reloc
from relink.fields import word16, word32, word64

_SIGNED_POINTERS = "pointer authentication (PAuth ABI) needs keys no portable CPU model shares"

RELOCATIONS: dict[int, Reloc] = {
    0: NONE,
    256: NONE,  # withdrawn, still produced
    257: reloc("ABS64", "S + A", word64),
    258: reloc("ABS32", "S + A", word32),
    259: reloc("ABS16", "S + A", word16),
    260: reloc("PREL64", "S + A - P", word64),
    261: reloc("PREL32", "S + A - P", word32),
    262: reloc("PREL16", "S + A - P", word16),
    580: refused("AUTH_ABS64", _SIGNED_POINTERS),
    1024: reloc("COPY", "S", word64, Role.COPY),
    1025: reloc("GLOB_DAT", "S + A", word64),
    1026: reloc("JUMP_SLOT", "S + A", word64, Role.JUMP_SLOT),
    1027: reloc("RELATIVE", "B + A", word64, Role.RELATIVE),
    1028: reloc("TLS_DTPMOD64", "M", word64),
    1029: reloc("TLS_DTPREL64", "S + A - DTV", word64),
    1030: reloc("TLS_TPREL64", "S + A + T", word64),
    1031: reloc("TLSDESC", "S + A + T", word64, Role.TLSDESC),
    1032: reloc("IRELATIVE", "B + A", word64, Role.IRELATIVE),
    1041: refused("AUTH_RELATIVE", _SIGNED_POINTERS),
}

AARCH64 = Architecture(
    name="aarch64",
    title="AArch64",
    psabi="AAELF64 2024Q3",
    machine=183,
    bits=64,
    prefix="R_AARCH64_",
    relocations=RELOCATIONS,
    tls=Tls(
        TlsVariant.I,
        tcb_size=16,
        descriptor_stub=bytes.fromhex("000440f9 c0035fd6"),  # ldr x0, [x0, #8]; ret
        # str x1, [sp, #-16]!; ldr x0, [x0, #8]; mrs x1, tpidr_el0; sub x0, x0, x1; ldr x1, [sp], #16; ret
        undefined_descriptor_stub=bytes.fromhex("e10f1ff8 000440f9 41d03bd5 000001cb e10741f8 c0035fd6"),
    ),
    image_base=0x40_0000_0000,
    library_names=("lib/aarch64-linux-gnu", "lib64", "lib"),
    multiarch="aarch64-linux-gnu",
    aliases=("arm64", "armv8", "aarch64_linux_gnu"),
    platform="aarch64",
)

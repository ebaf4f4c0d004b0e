"""x86-64 (AMD64).

System V Application Binary Interface, AMD64 Architecture Processor Supplement (x86-64 psABI, version 1.0),
section 4.4 "Relocation", table 4.10; thread-local storage after Drepper, "ELF Handling For Thread-Local
Storage" 0.21, section 4.4.6, and Oliva, "Thread-Local Storage Descriptors for IA32 and AMD64/EM64T".

RELA throughout. What is odd: the psABI defines GLOB_DAT and JUMP_SLOT as S alone, so their addend is not
looked at; 32-bit words exist in signed (32S) and unsigned (32) form and overflow differently. TLS is
variant II: %fs:0 holds the thread pointer itself and the blocks lie below it.
"""

from __future__ import annotations

from relink.arch.spec import NONE, Architecture, Reloc, Role, Tls, TlsVariant, reloc
from relink.fields import signed32, unsigned32, word8, word16, word64

RELOCATIONS: dict[int, Reloc] = {
    0: NONE,
    1: reloc("64", "S + A", word64),
    2: reloc("PC32", "S + A - P", signed32),
    5: reloc("COPY", "S", word64, Role.COPY),
    6: reloc("GLOB_DAT", "S", word64),
    7: reloc("JUMP_SLOT", "S", word64, Role.JUMP_SLOT),
    8: reloc("RELATIVE", "B + A", word64, Role.RELATIVE),
    10: reloc("32", "S + A", unsigned32),
    11: reloc("32S", "S + A", signed32),
    12: reloc("16", "S + A", word16),
    13: reloc("PC16", "S + A - P", word16),
    14: reloc("8", "S + A", word8),
    15: reloc("PC8", "S + A - P", word8),
    16: reloc("DTPMOD64", "M", word64),
    17: reloc("DTPOFF64", "S + A - DTV", word64),
    18: reloc("TPOFF64", "S + A + T", word64),
    21: reloc("DTPOFF32", "S + A - DTV", signed32),
    23: reloc("TPOFF32", "S + A + T", signed32),
    24: reloc("PC64", "S + A - P", word64),
    32: reloc("SIZE32", "Z + A", unsigned32),
    33: reloc("SIZE64", "Z + A", word64),
    36: reloc("TLSDESC", "S + A + T", word64, Role.TLSDESC),
    37: reloc("IRELATIVE", "B + A", word64, Role.IRELATIVE),
    38: reloc("RELATIVE64", "B + A", word64, Role.RELATIVE),
}

X86_64 = Architecture(
    name="x86_64",
    title="x86-64",
    psabi="x86-64 psABI 1.0",
    machine=62,
    bits=64,
    prefix="R_X86_64_",
    relocations=RELOCATIONS,
    tls=Tls(
        TlsVariant.II,
        tcb_size=0,
        descriptor_stub=bytes.fromhex("488b4008 c3"),  # mov 8(%rax), %rax; ret
        # mov 8(%rax), %rax; sub %fs:0, %rax; ret
        undefined_descriptor_stub=bytes.fromhex("488b4008 64482b042500000000 c3"),
    ),
    image_base=0x40_0000_0000,
    library_names=("lib/x86_64-linux-gnu", "lib64", "lib"),
    multiarch="x86_64-linux-gnu",
    aliases=("x64", "amd64", "x86_64_linux_gnu"),
    platform="x86_64",
)

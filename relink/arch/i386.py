"""Intel 386 (i386, 32-bit x86).

System V Application Binary Interface, Intel386 Architecture Processor Supplement (version 1.1), section 4.4
"Relocation", table 4.9; thread-local storage after Drepper, "ELF Handling For Thread-Local Storage" 0.21,
section 4.4.5, with the GNU types TPOFF32/DTPMOD32/DTPOFF32.

REL throughout: the addend is what lies in the place. That makes JUMP_SLOT odd: its place holds the address
of the PLT's lazy half, so the psABI's formula is S alone. Code that is not PIC keeps 32 and PC32 in its
text (DT_TEXTREL). TLS is variant II; TPOFF is added to the thread pointer, TPOFF32 (the older GNU type) is
subtracted from it, so its sign is the other way round.
"""

from __future__ import annotations

from relink.arch.spec import NONE, Architecture, Reloc, Role, Tls, TlsVariant, reloc
from relink.fields import address32, word8, word16

RELOCATIONS: dict[int, Reloc] = {
    0: NONE,
    1: reloc("32", "S + A", address32),
    2: reloc("PC32", "S + A - P", address32),
    5: reloc("COPY", "S", address32, Role.COPY),
    6: reloc("GLOB_DAT", "S", address32),
    7: reloc("JUMP_SLOT", "S", address32, Role.JUMP_SLOT),
    8: reloc("RELATIVE", "B + A", address32, Role.RELATIVE),
    14: reloc("TLS_TPOFF", "S + A + T", address32),
    20: reloc("16", "S + A", word16),
    21: reloc("PC16", "S + A - P", word16),
    22: reloc("8", "S + A", word8),
    23: reloc("PC8", "S + A - P", word8),
    35: reloc("TLS_DTPMOD32", "M", address32),
    36: reloc("TLS_DTPOFF32", "S + A - DTV", address32),
    37: reloc("TLS_TPOFF32", "A - S - T", address32),
    38: reloc("SIZE32", "Z + A", address32),
    41: reloc("TLS_DESC", "S + A + T", address32, Role.TLSDESC),
    42: reloc("IRELATIVE", "B + A", address32, Role.IRELATIVE),
}

I386 = Architecture(
    name="i386",
    title="x86 (i386)",
    psabi="i386 psABI 1.1",
    machine=3,
    bits=32,
    prefix="R_386_",
    relocations=RELOCATIONS,
    tls=Tls(
        TlsVariant.II,
        tcb_size=0,
        descriptor_stub=bytes.fromhex("8b4004 c3"),  # mov 4(%eax), %eax; ret
        # mov 4(%eax), %eax; sub %gs:0, %eax; ret
        undefined_descriptor_stub=bytes.fromhex("8b4004 652b0500000000 c3"),
    ),
    image_base=0x4000_0000,
    library_names=("lib/i386-linux-gnu", "lib32", "lib"),
    multiarch="i386-linux-gnu",
    aliases=("x86", "i486", "i586", "i686", "ia32"),
    platform="i686",
)

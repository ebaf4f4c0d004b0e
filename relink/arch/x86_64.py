"""x86-64 (AMD64).

System V Application Binary Interface, AMD64 Architecture Processor Supplement (x86-64 psABI, version 1.0),
section 4.4 "Relocation", table 4.10; thread-local storage after Drepper, "ELF Handling For Thread-Local
Storage" 0.21, section 4.4.6, and Oliva, "Thread-Local Storage Descriptors for IA32 and AMD64/EM64T".

RELA throughout. Peculiarities:

- The psABI defines GLOB_DAT and JUMP_SLOT as S, so their addend is ignored.
- 32-bit words are signed (32S) or unsigned (32) and overflow differently.
- TLS is variant II: %fs:0 holds the thread pointer itself, and the blocks are below it.
- Instructions contain whole words, so no field is scattered.
- Types named after the encoding before the place (REX_GOTPCRELX, CODE_4_… to CODE_6_… of APX) permit a linker to
  rewrite the instruction. That is optional; here they use the GOT like their plain form.
"""

from __future__ import annotations

from relink.arch.fields import Range, Word, signed32, unsigned32, word8, word16, word64
from relink.arch.spec import (
    NONE,
    Architecture,
    Detour,
    Plt,
    Reloc,
    Role,
    Slot,
    Stub,
    Tls,
    TlsVariant,
    hint,
    reloc,
    static,
)
from relink.arch.x86_shared import NOPS, PROPERTIES

#: The displacement of a short branch (jmp, loop, jrcxz) and of a 16-bit one.
SIGNED_8, SIGNED_16 = Word(1, Range.SIGNED), Word(2, Range.SIGNED)


def _slot32(name: str, slot: Slot) -> Reloc:
    """The distance from the place to a slot of the GOT."""
    return static(name, "G + GOT + A - P", signed32, slot=slot)


RELOCATIONS: dict[int, Reloc] = {
    0: NONE,
    1: reloc("64", "S + A", word64),
    2: reloc("PC32", "S + A - P", signed32),
    3: static("GOT32", "G + A", signed32, slot=Slot.ADDRESS),
    4: static("PLT32", "S + A - P", signed32, Role.BRANCH),
    5: reloc("COPY", "S", word64, Role.COPY),
    6: reloc("GLOB_DAT", "S", word64),
    7: reloc("JUMP_SLOT", "S", word64, Role.JUMP_SLOT),
    8: reloc("RELATIVE", "B + A", word64, Role.RELATIVE),
    9: _slot32("GOTPCREL", Slot.ADDRESS),
    10: reloc("32", "S + A", unsigned32),
    11: reloc("32S", "S + A", signed32),
    12: reloc("16", "S + A", word16),
    13: reloc("PC16", "S + A - P", SIGNED_16),
    14: reloc("8", "S + A", word8),
    15: reloc("PC8", "S + A - P", SIGNED_8),
    16: reloc("DTPMOD64", "M", word64),
    17: reloc("DTPOFF64", "S + A - DTV", word64),
    18: reloc("TPOFF64", "S + A + T", word64),
    19: _slot32("TLSGD", Slot.TLS_GD),
    20: _slot32("TLSLD", Slot.TLS_LD),
    21: reloc("DTPOFF32", "S + A - DTV", signed32),
    22: _slot32("GOTTPOFF", Slot.TLS_IE),
    23: reloc("TPOFF32", "S + A + T", signed32),
    24: reloc("PC64", "S + A - P", word64),
    25: static("GOTOFF64", "S + A - GOT", word64),
    26: static("GOTPC32", "GOT + A - P", signed32),
    27: static("GOT64", "G + A", word64, slot=Slot.ADDRESS),
    28: static("GOTPCREL64", "G + GOT + A - P", word64, slot=Slot.ADDRESS),
    29: static("GOTPC64", "GOT + A - P", word64),
    30: static("GOTPLT64", "G + A", word64, slot=Slot.ADDRESS),
    31: static("PLTOFF64", "S + A - GOT", word64, Role.BRANCH),
    32: reloc("SIZE32", "Z + A", unsigned32),
    33: reloc("SIZE64", "Z + A", word64),
    34: _slot32("GOTPC32_TLSDESC", Slot.TLS_DESC),
    35: hint("TLSDESC_CALL"),
    36: reloc("TLSDESC", "S + A + T", word64, Role.TLSDESC),
    37: reloc("IRELATIVE", "B + A", word64, Role.IRELATIVE),
    38: reloc("RELATIVE64", "B + A", word64, Role.RELATIVE),
    39: static("PC32_BND", "S + A - P", signed32),  # MPX was withdrawn: the two types mean the same as without it
    40: static("PLT32_BND", "S + A - P", signed32, Role.BRANCH),
    41: _slot32("GOTPCRELX", Slot.ADDRESS),
    42: _slot32("REX_GOTPCRELX", Slot.ADDRESS),
    43: _slot32("CODE_4_GOTPCRELX", Slot.ADDRESS),
    44: _slot32("CODE_4_GOTTPOFF", Slot.TLS_IE),
    45: _slot32("CODE_4_GOTPC32_TLSDESC", Slot.TLS_DESC),
    46: _slot32("CODE_5_GOTPCRELX", Slot.ADDRESS),
    47: _slot32("CODE_5_GOTTPOFF", Slot.TLS_IE),
    48: _slot32("CODE_5_GOTPC32_TLSDESC", Slot.TLS_DESC),
    49: _slot32("CODE_6_GOTPCRELX", Slot.ADDRESS),
    50: _slot32("CODE_6_GOTTPOFF", Slot.TLS_IE),
    51: _slot32("CODE_6_GOTPC32_TLSDESC", Slot.TLS_DESC),
    250: hint("GNU_VTINHERIT"),
    251: hint("GNU_VTENTRY"),
}

STUB = Stub(bytes.fromhex("ff2502000000 0f0b") + bytes(8), 8, 8)  # jmp *2(%rip); ud2; address
_ENDBR = bytes.fromhex("f30f1efa")  # endbr64

X86_64 = Architecture(
    name="x86_64",
    title="x86-64",
    psabi="x86-64 psABI 1.0",
    machine=62,
    bits=64,
    prefix="R_X86_64_",
    dwarf_stack_pointer=7,
    elftools_name="x64",
    relocations=RELOCATIONS,
    tls=Tls(
        TlsVariant.II,
        tcb_size=0,
        descriptor_stub=bytes.fromhex("488b4008 c3"),  # mov 8(%rax), %rax; ret
        # mov 8(%rax), %rax; sub %fs:0, %rax; ret
        undefined_descriptor_stub=bytes.fromhex("488b4008 64482b042500000000 c3"),
        descriptor_register="rax",
        descriptor_link=None,
    ),
    image_base=0x40_0000_0000,
    library_names=("lib/x86_64-linux-gnu", "lib64", "lib"),
    multiarch="x86_64-linux-gnu",
    aliases=("x64", "amd64", "x86_64_linux_gnu"),
    platform="x86_64",
    # The PLT entry pushes the entry's number, then the PLT header pushes the link map.
    plt=Plt(at=8, pushed=16),
    branch_bias={"": -4},
    large_common=0xFF02,  # SHN_X86_64_LCOMMON: here every section is placed in range (AMD64 psABI 4.1, 4.2)
    property_names=PROPERTIES,
    separate_float128=True,
    stub=STUB,
    executable_stack=True,
    nops=(b"\x90",),
    detours=(
        Detour(b"\xe9" + bytes(4), signed32, 1, -4, STUB, pads={_ENDBR: _ENDBR}, padding=NOPS, unit=16),  # jmp
    ),
)

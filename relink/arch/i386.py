"""Intel 386 (i386, 32-bit x86).

System V Application Binary Interface, Intel386 Architecture Processor Supplement (version 1.1), section 4.4
"Relocation", table 4.9; thread-local storage after Drepper, "ELF Handling For Thread-Local Storage" 0.21,
section 4.4.5, with the GNU types TPOFF32/DTPMOD32/DTPOFF32.

REL throughout: the addend is the content of the place.

- JUMP_SLOT is S without an addend, because its place holds the address of the PLT's lazy half.
- Code that is not PIC has 32 and PC32 relocations in its text (DT_TEXTREL).
- TLS is variant II. TPOFF is added to the thread pointer; TPOFF32 (the older GNU type) is subtracted, so its sign
  is inverted (TLS_LE and TLS_LE_32 likewise).
- Every 32-bit word wraps around, as addresses do, so every branch reaches. Stubs are only needed for ifuncs.
- GOT32X, and GOT32 except for LEA, have two meanings, which the instruction's ModRM byte selects.
"""

from __future__ import annotations

import numpy as np

from relink.arch.fields import Range, Word, address32, word8, word16
from relink.arch.spec import (
    NONE,
    Architecture,
    Detour,
    Plt,
    Reloc,
    Role,
    Sites,
    Slot,
    Stub,
    Tls,
    TlsVariant,
    hint,
    reloc,
    static,
    static_refused,
)
from relink.arch.special import reads
from relink.arch.x86_shared import NOPS, PROPERTIES
from relink.arrays import U64

_LEA = 0x8D  #: the opcode of `lea m, r32`
SIGNED_8 = Word(1, Range.SIGNED)  #: the displacement of a short branch (jmp, loop, jecxz)

_SUN = "it belongs to Sun's TLS sequences, which no compiler or assembler for Linux emits"


@reads(before=1)
def got32x(sites: Sites, slot_address: U64) -> U64:
    """The value of GOT32X: the slot's offset from the GOT, or its address (psABI, table 4.9, note).

    It is the address if the operand has no base register: ModRM, the byte before the place, has mod 00 and r/m
    101.
    """
    modrm = sites.buffer[np.maximum(sites.where - 1, 0)]
    absolute = ((modrm & 0xC7) == 0x05) & (sites.where > 0)
    return np.where(absolute, slot_address, sites.letters["G"] + sites.letters["A"])


@reads(before=2)
def got32(sites: Sites, slot_address: U64) -> U64:
    """The value of GOT32: by the psABI always the slot's offset from the GOT, but older tools use it where GOT32X
    is meant.

    GNU ld and lld write the slot's address for instructions that load from the slot without a base register. For
    LEA, which does not load, GNU ld, JITLink and this linker follow the psABI; lld writes the address.
    """
    opcode = sites.buffer[np.maximum(sites.where - 2, 0)]
    lea = (opcode == _LEA) & (sites.where > 1)
    return np.where(lea, sites.letters["G"] + sites.letters["A"], got32x(sites, slot_address))


RELOCATIONS: dict[int, Reloc] = {
    0: NONE,
    1: reloc("32", "S + A", address32),
    2: reloc("PC32", "S + A - P", address32),
    3: static("GOT32", "G + GOT + A", address32, slot=Slot.ADDRESS, special=got32),
    4: static("PLT32", "S + A - P", address32, Role.BRANCH),
    5: reloc("COPY", "S", address32, Role.COPY),
    6: reloc("GLOB_DAT", "S", address32),
    7: reloc("JUMP_SLOT", "S", address32, Role.JUMP_SLOT),
    8: reloc("RELATIVE", "B + A", address32, Role.RELATIVE),
    9: static("GOTOFF", "S + A - GOT", address32),
    10: static("GOTPC", "GOT + A - P", address32),
    11: static("32PLT", "S + A", address32, Role.BRANCH),
    14: reloc("TLS_TPOFF", "S + A + T", address32),
    15: static("TLS_IE", "G + GOT + A", address32, slot=Slot.TLS_IE),
    16: static("TLS_GOTIE", "G + A", address32, slot=Slot.TLS_IE),
    17: static("TLS_LE", "S + A + T", address32),
    18: static("TLS_GD", "G + A", address32, slot=Slot.TLS_GD),
    19: static("TLS_LDM", "G + A", address32, slot=Slot.TLS_LD),
    20: reloc("16", "S + A", word16),
    21: reloc("PC16", "S + A - P", word16),
    22: reloc("8", "S + A", word8),
    23: reloc("PC8", "S + A - P", SIGNED_8),
    24: static_refused("TLS_GD_32", _SUN),
    25: static_refused("TLS_GD_PUSH", _SUN),
    26: static_refused("TLS_GD_CALL", _SUN),
    27: static_refused("TLS_GD_POP", _SUN),
    28: static_refused("TLS_LDM_32", _SUN),
    29: static_refused("TLS_LDM_PUSH", _SUN),
    30: static_refused("TLS_LDM_CALL", _SUN),
    31: static_refused("TLS_LDM_POP", _SUN),
    32: static("TLS_LDO_32", "S + A - DTV", address32),
    33: static_refused(
        "TLS_IE_32", "its GOT slot holds a negated offset, as in Sun's TLS; the GNU type is TLS_IE"
    ),
    34: static("TLS_LE_32", "A - S - T", address32),
    35: reloc("TLS_DTPMOD32", "M", address32),
    36: reloc("TLS_DTPOFF32", "S + A - DTV", address32),
    37: reloc("TLS_TPOFF32", "A - S - T", address32),
    38: reloc("SIZE32", "Z + A", address32),
    39: static("TLS_GOTDESC", "G + A", address32, slot=Slot.TLS_DESC),
    40: hint("TLS_DESC_CALL"),
    41: reloc("TLS_DESC", "S + A + T", address32, Role.TLSDESC),
    42: reloc("IRELATIVE", "B + A", address32, Role.IRELATIVE),
    43: static("GOT32X", "G + GOT + A", address32, slot=Slot.ADDRESS, special=got32x),
    200: static_refused("USED_BY_INTEL_200", "the number is reserved for Intel's compilers"),
    250: hint("GNU_VTINHERIT"),
    251: hint("GNU_VTENTRY"),
}

STUB = Stub(bytes.fromhex("68 00000000 c3 0f0b"), 1, 4)  # push $address; ret; ud2
_ENDBR = bytes.fromhex("f30f1efb")  # endbr32

I386 = Architecture(
    name="i386",
    title="x86 (i386)",
    psabi="i386 psABI 1.1",
    machine=3,
    bits=32,
    prefix="R_386_",
    dwarf_stack_pointer=4,
    elftools_name="i386",
    relocations=RELOCATIONS,
    tls=Tls(
        TlsVariant.II,
        tcb_size=0,
        descriptor_stub=bytes.fromhex("8b4004 c3"),  # mov 4(%eax), %eax; ret
        # mov 4(%eax), %eax; sub %gs:0, %eax; ret
        undefined_descriptor_stub=bytes.fromhex("8b4004 652b0500000000 c3"),
        descriptor_register="eax",
        descriptor_link=None,
    ),
    image_base=0x4000_0000,
    library_names=("lib/i386-linux-gnu", "lib32", "lib"),
    multiarch="i386-linux-gnu",
    aliases=("x86", "i486", "i586", "i686", "ia32"),
    platform="i686",
    # As on x86-64, but the number is a byte offset into DT_JMPREL, whose entries have 8.
    plt=Plt(at=4, divisor=8, pushed=8),
    branch_bias={"": -4},
    property_names=PROPERTIES,
    separate_float128=True,
    stub=STUB,
    executable_stack=True,
    nops=(b"\x90",),
    detours=(
        Detour(b"\xe9" + bytes(4), address32, 1, -4, STUB, pads={_ENDBR: _ENDBR}, padding=NOPS, unit=16),  # jmp
    ),
)

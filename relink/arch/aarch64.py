"""AArch64 (Arm 64-bit, LP64).

ELF for the Arm 64-bit Architecture (AAELF64, 2024Q3), section 5.7 "Relocation", 5.7.16 "Dynamic
relocations"; thread-local storage after section 5.7.15 and the glibc names of the two types the document
leaves to the platform (TLS_IMPDEF1 and 2: DTPMOD64 and DTPREL64).

RELA throughout. Peculiarities: descriptors (TLSDESC) are the default TLS dialect of every compiler, and the type
numbers of the dynamic ones start at 1024. TLS is variant I with a two-word TCB at the thread pointer.

Types below 256 are those of ILP32 (R_AARCH64_P32_…): another ABI with ELF32 files, which is not supported.
PATCHINST and FUNCINIT64 are the document's structure protection extension.
"""

from __future__ import annotations

import numpy as np

from relink.arch.fields import Bits, Range, in_range, signed32, unsigned32, word16, word32, word64
from relink.arch.spec import (
    NONE,
    Architecture,
    Detour,
    Plt,
    Reloc,
    Role,
    Sites,
    Slot,
    SlotNamed,
    Stub,
    Tls,
    TlsVariant,
    hint,
    refused,
    reloc,
    static,
    static_refused,
)
from relink.arch.special import only_if_undefined
from relink.arrays import U64, Bools
from relink.records import dataclass, replace

_SIGNED_POINTERS = "pointer authentication (PAuth ABI) needs keys no portable CPU model shares"


@dataclass(frozen=True)
class SignedMove:
    """The imm16 of a MOVZ or MOVN that loads 16 bits of a signed value; MOVN is used for negative values (section
    5.7.5, notes). `group` n takes bits 16n+15 to 16n; its checks are for n + 1 groups and a sign, because MOVN
    extends its operand with ones.
    """

    group: int

    size = 4
    keeps_raw = True

    @property
    def description(self) -> str:
        return f"{self._bits} bits ({Range.SIGNED.value})"

    @property
    def _bits(self) -> int:
        return 16 * self.group + 17

    def read(self, raw: U64) -> U64:
        """The value that MOVZ or MOVN loads, in two's complement; bits of lower groups read as zero."""
        value = (raw >> np.uint64(5)) & np.uint64(0xFFFF)
        return np.where(raw & _MOVZ, value, ~value) << np.uint64(16 * self.group)

    def fits(self, value: U64) -> Bools | bool:
        return True if self._bits > 64 else in_range(value, self._bits, Range.SIGNED)

    def write(self, raw: U64, value: U64) -> U64:
        negative = (value >> np.uint64(63)).astype(np.bool_)
        part = (np.where(negative, ~value, value) >> np.uint64(16 * self.group)) & np.uint64(0xFFFF)
        kept = raw & np.uint64(0xFFFF_FFFF & ~(int(_MOVZ) | 0xFFFF << 5))
        return kept | np.where(negative, np.uint64(0), _MOVZ) | (part << np.uint64(5))


_MOVZ = np.uint64(1 << 30)  # the opcode bit that is set in MOVZ and clear in MOVN


# Immediates as the Architecture Reference Manual draws them (DDI 0487, chapter C6).
ADR = Bits("1 imm[1:0] 5 imm[20:2] 5", Range.SIGNED)
ADRP = Bits("1 imm[13:12] 5 imm[32:14] 5", Range.SIGNED)
ADRP_NC = Bits("1 imm[13:12] 5 imm[32:14] 5", Range.WRAP)
BRANCH_26 = Bits("6 imm[27:2]", Range.SIGNED)
BRANCH_19 = Bits("8 imm[20:2] 5", Range.SIGNED)
BRANCH_14 = Bits("13 imm[15:2] 5", Range.SIGNED)
LITERAL = BRANCH_19
ADD_HI12 = Bits("10 imm[23:12] 10", Range.UNSIGNED, drops_low=True)
ADD_LO12 = Bits("10 imm[11:0] 10", Range.UNSIGNED)
ADD_LO12_NC = Bits("10 imm[11:0] 10", Range.WRAP)
LOAD64_LO15 = Bits("10 imm[14:3] 10", Range.UNSIGNED)


def _move(group: int, range_: Range = Range.WRAP) -> Bits:
    """16 bits of a value in a MOVZ or MOVK."""
    return Bits(f"11 imm[{16 * group + 15}:{16 * group}] 5", range_, drops_low=True)


def _load_store(size: int, range_: Range = Range.WRAP) -> Bits:
    """The low 12 bits of an address in a load or store of `size` bits, scaled by the access size."""
    scale = (size // 8).bit_length() - 1
    return Bits(f"{10 + scale} imm[11:{scale}] 10", range_)


@only_if_undefined
def here_if_undefined(sites: Sites, value: U64) -> U64:
    """PC-relative types: an undefined weak symbol has the address of the place ("Weak References").

    Such a symbol is recognised by the value 0: no image has a definition at that address.
    """
    return np.where(sites.letters["S"] == 0, sites.letters["A"], value)


@only_if_undefined
def next_if_undefined(sites: Sites, value: U64) -> U64:
    """Branches: one to an undefined weak symbol goes to the next instruction ("Call and Jump relocations")."""
    return np.where(sites.letters["S"] == 0, np.uint64(4), value)


@only_if_undefined
def page_here_if_undefined(sites: Sites, value: U64) -> U64:
    """`here_if_undefined` for page addresses: an undefined weak symbol has the address of the place itself."""
    place, pages = sites.letters["P"], np.uint64(0xFFFF_FFFF_FFFF_F000)
    here = ((place + sites.letters["A"]) & pages) - (place & pages)
    return np.where(sites.letters["S"] == 0, here, value)


def patched_if_defined(sites: Sites, value: U64) -> U64:
    """PATCHINST replaces the instruction by an absolute symbol's value if the symbol is defined."""
    index = sites.where[:, None] + np.arange(4)
    there = np.ascontiguousarray(sites.buffer[index]).view("<u4")[:, 0].astype(np.uint64)
    return np.where(sites.letters["S"] == 0, there, value)


# Formulas for a GOT slot: its address, its distance from the place, and that distance in pages. In GDAT(S + A) the
# slot contains the addend, so only GOTPCREL32 adds the addend to the slot's address.
_SLOT, _FROM_HERE, _PAGES = "G + GOT", "G + GOT - P", "Page(G + GOT) - Page(P)"
_DISTANCE = "S + A - P"
_TPREL, _DTPREL = "S + A + T", "S + A - DTV"
_GD, _LD, _IE, _DESC = Slot.TLS_GD, Slot.TLS_LD, Slot.TLS_IE, Slot.TLS_DESC


def _near(name: str, word: Bits | SignedMove) -> Reloc:
    """The row of a PC-relative instruction field."""
    return static(name, _DISTANCE, word, special=here_if_undefined)


def _branch(name: str, word: Bits) -> Reloc:
    return static(name, _DISTANCE, word, Role.BRANCH, special=next_if_undefined)


RELOCATIONS: dict[int, Reloc] = {
    0: NONE,
    256: NONE,  # withdrawn, but still produced by tools
    257: reloc("ABS64", "S + A", word64),
    258: reloc("ABS32", "S + A", word32),
    259: reloc("ABS16", "S + A", word16),
    260: replace(reloc("PREL64", _DISTANCE, word64), special=here_if_undefined),
    261: replace(reloc("PREL32", _DISTANCE, word32), special=here_if_undefined),
    262: replace(reloc("PREL16", _DISTANCE, word16), special=here_if_undefined),
    263: static("MOVW_UABS_G0", "S + A", _move(0, Range.UNSIGNED)),
    264: static("MOVW_UABS_G0_NC", "S + A", _move(0)),
    265: static("MOVW_UABS_G1", "S + A", _move(1, Range.UNSIGNED)),
    266: static("MOVW_UABS_G1_NC", "S + A", _move(1)),
    267: static("MOVW_UABS_G2", "S + A", _move(2, Range.UNSIGNED)),
    268: static("MOVW_UABS_G2_NC", "S + A", _move(2)),
    269: static("MOVW_UABS_G3", "S + A", _move(3)),
    270: static("MOVW_SABS_G0", "S + A", SignedMove(0)),
    271: static("MOVW_SABS_G1", "S + A", SignedMove(1)),
    272: static("MOVW_SABS_G2", "S + A", SignedMove(2)),
    273: _near("LD_PREL_LO19", LITERAL),
    274: _near("ADR_PREL_LO21", ADR),
    275: static("ADR_PREL_PG_HI21", "Page(S + A) - Page(P)", ADRP, special=page_here_if_undefined),
    276: static("ADR_PREL_PG_HI21_NC", "Page(S + A) - Page(P)", ADRP_NC, special=page_here_if_undefined),
    277: static("ADD_ABS_LO12_NC", "S + A", ADD_LO12_NC),
    278: static("LDST8_ABS_LO12_NC", "S + A", _load_store(8)),
    279: _branch("TSTBR14", BRANCH_14),
    280: _branch("CONDBR19", BRANCH_19),
    282: _branch("JUMP26", BRANCH_26),
    283: _branch("CALL26", BRANCH_26),
    284: static("LDST16_ABS_LO12_NC", "S + A", _load_store(16)),
    285: static("LDST32_ABS_LO12_NC", "S + A", _load_store(32)),
    286: static("LDST64_ABS_LO12_NC", "S + A", _load_store(64)),
    287: _near("MOVW_PREL_G0", SignedMove(0)),
    288: _near("MOVW_PREL_G0_NC", _move(0)),
    289: _near("MOVW_PREL_G1", SignedMove(1)),
    290: _near("MOVW_PREL_G1_NC", _move(1)),
    291: _near("MOVW_PREL_G2", SignedMove(2)),
    292: _near("MOVW_PREL_G2_NC", _move(2)),
    293: _near("MOVW_PREL_G3", SignedMove(3)),
    299: static("LDST128_ABS_LO12_NC", "S + A", _load_store(128)),
    300: static("MOVW_GOTOFF_G0", "G", SignedMove(0), slot=Slot.ADDRESS),
    301: static("MOVW_GOTOFF_G0_NC", "G", _move(0), slot=Slot.ADDRESS),
    302: static("MOVW_GOTOFF_G1", "G", SignedMove(1), slot=Slot.ADDRESS),
    303: static("MOVW_GOTOFF_G1_NC", "G", _move(1), slot=Slot.ADDRESS),
    304: static("MOVW_GOTOFF_G2", "G", SignedMove(2), slot=Slot.ADDRESS),
    305: static("MOVW_GOTOFF_G2_NC", "G", _move(2), slot=Slot.ADDRESS),
    306: static("MOVW_GOTOFF_G3", "G", SignedMove(3), slot=Slot.ADDRESS),
    307: static("GOTREL64", "S + A - GOT", word64),
    308: static("GOTREL32", "S + A - GOT", signed32),
    309: static("GOT_LD_PREL19", _FROM_HERE, LITERAL, slot=Slot.ADDRESS),
    310: static("LD64_GOTOFF_LO15", "G", LOAD64_LO15, slot=Slot.ADDRESS),
    311: static("ADR_GOT_PAGE", _PAGES, ADRP, slot=Slot.ADDRESS),
    312: static("LD64_GOT_LO12_NC", _SLOT, _load_store(64), slot=Slot.ADDRESS),
    313: static("LD64_GOTPAGE_LO15", "G + GOT - Page(GOT)", LOAD64_LO15, slot=Slot.ADDRESS),
    314: static("PLT32", _DISTANCE, signed32, Role.BRANCH),
    315: static("GOTPCREL32", "G + GOT + A - P", signed32, slot=Slot.ADDRESS),
    316: static("PATCHINST", "S + A", unsigned32, special=patched_if_defined),
    317: static_refused(
        "FUNCINIT64", "a function in the object would have to be called before the object is relocated"
    ),
    512: static("TLSGD_ADR_PREL21", _FROM_HERE, ADR, slot=_GD),
    513: static("TLSGD_ADR_PAGE21", _PAGES, ADRP, slot=_GD),
    514: static("TLSGD_ADD_LO12_NC", _SLOT, ADD_LO12_NC, slot=_GD),
    515: static("TLSGD_MOVW_G1", "G", SignedMove(1), slot=_GD),
    516: static("TLSGD_MOVW_G0_NC", "G", _move(0), slot=_GD),
    517: static("TLSLD_ADR_PREL21", _FROM_HERE, ADR, slot=_LD),
    518: static("TLSLD_ADR_PAGE21", _PAGES, ADRP, slot=_LD),
    519: static("TLSLD_ADD_LO12_NC", _SLOT, ADD_LO12_NC, slot=_LD),
    520: static("TLSLD_MOVW_G1", "G", SignedMove(1), slot=_LD),
    521: static("TLSLD_MOVW_G0_NC", "G", _move(0), slot=_LD),
    522: static("TLSLD_LD_PREL19", _FROM_HERE, LITERAL, slot=_LD),
    523: static("TLSLD_MOVW_DTPREL_G2", _DTPREL, SignedMove(2)),
    524: static("TLSLD_MOVW_DTPREL_G1", _DTPREL, SignedMove(1)),
    525: static("TLSLD_MOVW_DTPREL_G1_NC", _DTPREL, _move(1)),
    526: static("TLSLD_MOVW_DTPREL_G0", _DTPREL, SignedMove(0)),
    527: static("TLSLD_MOVW_DTPREL_G0_NC", _DTPREL, _move(0)),
    528: static("TLSLD_ADD_DTPREL_HI12", _DTPREL, ADD_HI12),
    529: static("TLSLD_ADD_DTPREL_LO12", _DTPREL, ADD_LO12),
    530: static("TLSLD_ADD_DTPREL_LO12_NC", _DTPREL, ADD_LO12_NC),
    531: static("TLSLD_LDST8_DTPREL_LO12", _DTPREL, _load_store(8, Range.UNSIGNED)),
    532: static("TLSLD_LDST8_DTPREL_LO12_NC", _DTPREL, _load_store(8)),
    533: static("TLSLD_LDST16_DTPREL_LO12", _DTPREL, _load_store(16, Range.UNSIGNED)),
    534: static("TLSLD_LDST16_DTPREL_LO12_NC", _DTPREL, _load_store(16)),
    535: static("TLSLD_LDST32_DTPREL_LO12", _DTPREL, _load_store(32, Range.UNSIGNED)),
    536: static("TLSLD_LDST32_DTPREL_LO12_NC", _DTPREL, _load_store(32)),
    537: static("TLSLD_LDST64_DTPREL_LO12", _DTPREL, _load_store(64, Range.UNSIGNED)),
    538: static("TLSLD_LDST64_DTPREL_LO12_NC", _DTPREL, _load_store(64)),
    539: static("TLSIE_MOVW_GOTTPREL_G1", "G", SignedMove(1), slot=_IE),
    540: static("TLSIE_MOVW_GOTTPREL_G0_NC", "G", _move(0), slot=_IE),
    541: static("TLSIE_ADR_GOTTPREL_PAGE21", _PAGES, ADRP, slot=_IE),
    542: static("TLSIE_LD64_GOTTPREL_LO12_NC", _SLOT, _load_store(64), slot=_IE),
    543: static("TLSIE_LD_GOTTPREL_PREL19", _FROM_HERE, LITERAL, slot=_IE),
    544: static("TLSLE_MOVW_TPREL_G2", _TPREL, SignedMove(2)),
    545: static("TLSLE_MOVW_TPREL_G1", _TPREL, SignedMove(1)),
    546: static("TLSLE_MOVW_TPREL_G1_NC", _TPREL, _move(1)),
    547: static("TLSLE_MOVW_TPREL_G0", _TPREL, SignedMove(0)),
    548: static("TLSLE_MOVW_TPREL_G0_NC", _TPREL, _move(0)),
    549: static("TLSLE_ADD_TPREL_HI12", _TPREL, ADD_HI12),
    550: static("TLSLE_ADD_TPREL_LO12", _TPREL, ADD_LO12),
    551: static("TLSLE_ADD_TPREL_LO12_NC", _TPREL, ADD_LO12_NC),
    552: static("TLSLE_LDST8_TPREL_LO12", _TPREL, _load_store(8, Range.UNSIGNED)),
    553: static("TLSLE_LDST8_TPREL_LO12_NC", _TPREL, _load_store(8)),
    554: static("TLSLE_LDST16_TPREL_LO12", _TPREL, _load_store(16, Range.UNSIGNED)),
    555: static("TLSLE_LDST16_TPREL_LO12_NC", _TPREL, _load_store(16)),
    556: static("TLSLE_LDST32_TPREL_LO12", _TPREL, _load_store(32, Range.UNSIGNED)),
    557: static("TLSLE_LDST32_TPREL_LO12_NC", _TPREL, _load_store(32)),
    558: static("TLSLE_LDST64_TPREL_LO12", _TPREL, _load_store(64, Range.UNSIGNED)),
    559: static("TLSLE_LDST64_TPREL_LO12_NC", _TPREL, _load_store(64)),
    560: static("TLSDESC_LD_PREL19", _FROM_HERE, LITERAL, slot=_DESC),
    561: static("TLSDESC_ADR_PREL21", _FROM_HERE, ADR, slot=_DESC),
    562: static("TLSDESC_ADR_PAGE21", _PAGES, ADRP, slot=_DESC),
    563: static("TLSDESC_LD64_LO12", _SLOT, _load_store(64), slot=_DESC),
    564: static("TLSDESC_ADD_LO12", _SLOT, ADD_LO12_NC, slot=_DESC),
    565: static("TLSDESC_OFF_G1", "G", SignedMove(1), slot=_DESC),
    566: static("TLSDESC_OFF_G0_NC", "G", _move(0), slot=_DESC),
    567: hint("TLSDESC_LDR"),
    568: hint("TLSDESC_ADD"),
    569: hint("TLSDESC_CALL"),
    570: static("TLSLE_LDST128_TPREL_LO12", _TPREL, _load_store(128, Range.UNSIGNED)),
    571: static("TLSLE_LDST128_TPREL_LO12_NC", _TPREL, _load_store(128)),
    572: static("TLSLD_LDST128_DTPREL_LO12", _DTPREL, _load_store(128, Range.UNSIGNED)),
    573: static("TLSLD_LDST128_DTPREL_LO12_NC", _DTPREL, _load_store(128)),
    580: refused("AUTH_ABS64", _SIGNED_POINTERS),
    581: static_refused("AUTH_MOVW_GOTOFF_G0", _SIGNED_POINTERS),
    582: static_refused("AUTH_MOVW_GOTOFF_G0_NC", _SIGNED_POINTERS),
    583: static_refused("AUTH_MOVW_GOTOFF_G1", _SIGNED_POINTERS),
    584: static_refused("AUTH_MOVW_GOTOFF_G1_NC", _SIGNED_POINTERS),
    585: static_refused("AUTH_MOVW_GOTOFF_G2", _SIGNED_POINTERS),
    586: static_refused("AUTH_MOVW_GOTOFF_G2_NC", _SIGNED_POINTERS),
    587: static_refused("AUTH_MOVW_GOTOFF_G3", _SIGNED_POINTERS),
    588: static_refused("AUTH_GOT_LD_PREL19", _SIGNED_POINTERS),
    589: static_refused("AUTH_LD64_GOTOFF_LO15", _SIGNED_POINTERS),
    590: static_refused("AUTH_ADR_GOT_PAGE", _SIGNED_POINTERS),
    591: static_refused("AUTH_LD64_GOT_LO12_NC", _SIGNED_POINTERS),
    592: static_refused("AUTH_LD64_GOTPAGE_LO15", _SIGNED_POINTERS),
    593: static_refused("AUTH_GOT_ADD_LO12_NC", _SIGNED_POINTERS),
    594: static_refused("AUTH_GOT_ADR_PREL_LO21", _SIGNED_POINTERS),
    595: static_refused("AUTH_TLSDESC_ADR_PAGE21", _SIGNED_POINTERS),
    596: static_refused("AUTH_TLSDESC_LD64_LO12", _SIGNED_POINTERS),
    597: static_refused("AUTH_TLSDESC_ADD_LO12", _SIGNED_POINTERS),
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
    1042: refused("AUTH_GLOB_DAT", _SIGNED_POINTERS),
    1043: refused("AUTH_TLSDESC", _SIGNED_POINTERS),
    1044: refused("AUTH_IRELATIVE", _SIGNED_POINTERS),
}

STUB = Stub(bytes.fromhex("50000058 00021fd6") + bytes(8), 8, 8)  # ldr x16, 8; br x16; address
_BTI_C, _BTI_JC = bytes.fromhex("5f2403d5"), bytes.fromhex("df2403d5")
_PACIASP, _PACIBSP = bytes.fromhex("3f2303d5"), bytes.fromhex("7f2303d5")  # land like bti c, and sign lr
_LANDING_PADS = {_BTI_C: _BTI_C, _BTI_JC: _BTI_JC, _PACIASP: _BTI_C, _PACIBSP: _BTI_C}

AARCH64 = Architecture(
    name="aarch64",
    title="AArch64",
    psabi="AAELF64 2024Q3",
    machine=183,
    bits=64,
    prefix="R_AARCH64_",
    dwarf_stack_pointer=31,
    elftools_name="AARCH64",
    relocations=RELOCATIONS,
    tls=Tls(
        TlsVariant.I,
        tcb_size=16,
        descriptor_stub=bytes.fromhex("000440f9 c0035fd6"),  # ldr x0, [x0, #8]; ret
        # str x1, [sp, #-16]!; ldr x0, [x0, #8]; mrs x1, tpidr_el0; sub x0, x0, x1; ldr x1, [sp], #16; ret
        undefined_descriptor_stub=bytes.fromhex("e10f1ff8 000440f9 41d03bd5 000001cb e10741f8 c0035fd6"),
        descriptor_register="x0",
        descriptor_link="x30",
    ),
    image_base=0x40_0000_0000,
    library_names=("lib/aarch64-linux-gnu", "lib64", "lib"),
    multiarch="aarch64-linux-gnu",
    aliases=("arm64", "armv8", "aarch64_linux_gnu"),
    platform="aarch64",
    # stp x16, x30, [sp, #-16]!, with the slot's address in x16
    plt=Plt(named=SlotNamed.BY_ADDRESS, at=0, pushed=16, saved=("x30", 8), bound_at_once=0x80),
    mapping_symbols=b"xd",  # AAELF64 5.5.4
    # AAELF64, "Dynamic Section", "Program Header" and "Program Property".
    tag_names={0x70000001: "AARCH64_BTI_PLT", 0x70000003: "AARCH64_PAC_PLT", 0x70000005: "AARCH64_VARIANT_PCS"},
    segment_names={0x70000002: "AARCH64_MEMTAG_MTE"},
    property_names={0xC0000000: ("AArch64 feature", ("BTI", "PAC", "GCS"))},
    stub=STUB,
    nops=(bytes.fromhex("1f2003d5"),),
    detours=(Detour(bytes.fromhex("00000014"), BRANCH_26, 0, 0, STUB, pads=_LANDING_PADS),),  # b
    branch_reach=1 << 27,
)

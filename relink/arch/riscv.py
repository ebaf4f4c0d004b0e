"""RISC-V, 64 and 32 bit: one psABI, one page.

RISC-V ELF Specification (riscv-elf-psabi-doc 1.0 and its TLS descriptor addition), section "Relocations";
the calling conventions assumed are lp64d and ilp32d.

RELA throughout. Peculiarities: there is no GLOB_DAT, GOT entries have the plain word type (32 or 64); some types
exist in a 32-bit and a 64-bit form, and a dynamic linker only meets that of its own width; stored TLS offsets are
biased (TLS_DTV_OFFSET = 0x800), which doubles the range of 12-bit immediates. TLS is variant I with nothing
between the thread pointer and the first block: the TCB is below the thread pointer.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from relink.arch.fields import Bits, Field, Pair, Range, Word, address32, in_range, signed32, word32, word64
from relink.arch.spec import (
    NONE,
    Alignment,
    Architecture,
    Detour,
    FloatAbi,
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
from relink.arch.special import only_if_undefined
from relink.arrays import U64
from relink.records import replace


# Immediates as the unprivileged ISA manual draws them (section 2.3, "Immediate Encoding Variants"; chapter
# "C" for the compressed ones). A high part is rounded, for its low part is signed.
def _u_type(range_: Range) -> Bits:
    return Bits("imm[31:12] 12", range_, drops_low=True, rounding=0x800)


B_TYPE = Bits("imm[12|10:5] 13 imm[4:1|11] 7", Range.SIGNED)
J_TYPE = Bits("imm[20|10:1|11|19:12] 12", Range.SIGNED)
I_TYPE = Bits("imm[11:0] 20", Range.WRAP)
S_TYPE = Bits("imm[11:5] 13 imm[4:0] 7", Range.WRAP)
CB_TYPE = Bits("3 imm[8|4:3] 3 imm[7:6|2:1|5] 2", Range.SIGNED)
CJ_TYPE = Bits("3 imm[11|4|9:8|10|6|7|3:1|5] 2", Range.SIGNED)
LOW_6 = Bits("2 imm[5:0]", Range.WRAP)
WRAP_8, WRAP_16, WRAP_32 = Word(1), Word(2), Word(4)

_WITHDRAWN = "the psABI withdrew it: GNU ld uses it internally during relaxation, and objects do not contain it"
_CUSTOM = "its meaning is defined by the vendor in the preceding R_RISCV_VENDOR entry"


_OPCODE, _LUI = 0x7F, 0x37


@only_if_undefined
def absolute_if_undefined(sites: Sites, value: U64) -> U64:
    """An undefined weak symbol has the address 0, which may be out of auipc's range: auipc is then replaced by
    lui, as in GNU ld.
    """
    undefined = (sites.letters["S"] == 0) & ~np.asarray(in_range(value + np.uint64(0x800), 32, Range.SIGNED))
    if undefined.any():
        where = sites.where[undefined]
        sites.buffer[where] = sites.buffer[where] & ~np.uint8(_OPCODE) | np.uint8(_LUI)
    return np.where(undefined, sites.letters["A"], value)


def _relocations(own: Word) -> dict[int, Reloc]:
    """The table; `own` is the ISA's word, which the psABI calls wordclass."""
    narrow = own if own.size == 4 else word32
    distance = address32 if own.size == 4 else signed32
    u_type = _u_type(Range.WRAP if own.size == 4 else Range.SIGNED)  # 32-bit addresses wrap
    return {
        0: NONE,
        **_dynamic(own, narrow),
        **_addresses(u_type, special=absolute_if_undefined if own.size == 8 else None),
        **_sums(distance),
        **_compressed_and_later(own, distance, u_type),
        191: static_refused("VENDOR", "its symbol names the vendor that defines the next entry's meaning"),
        **{number: static_refused(f"CUSTOM{number}", _CUSTOM) for number in range(192, 256)},
    }


def _dynamic(own: Word, narrow: Field) -> dict[int, Reloc]:
    return {
        1: reloc("32", "S + A", narrow),
        2: reloc("64", "S + A", word64),
        3: reloc("RELATIVE", "B + A", own, Role.RELATIVE),
        4: reloc("COPY", "S", own, Role.COPY),
        5: reloc("JUMP_SLOT", "S", own, Role.JUMP_SLOT),
        6: reloc("TLS_DTPMOD32", "M", narrow),
        7: reloc("TLS_DTPMOD64", "M", word64),
        8: reloc("TLS_DTPREL32", "S + A - DTV", narrow),
        9: reloc("TLS_DTPREL64", "S + A - DTV", word64),
        10: reloc("TLS_TPREL32", "S + A + T", narrow),
        11: reloc("TLS_TPREL64", "S + A + T", word64),
        12: reloc("TLSDESC", "S + A + T", own, Role.TLSDESC),
    }


def _addresses(u_type: Bits, special: Callable[[Sites, U64], U64] | None) -> dict[int, Reloc]:
    """Branches, and the high and low parts of addresses and offsets."""
    call = Pair(u_type, I_TYPE)
    return {
        16: static("BRANCH", "S + A - P", B_TYPE),
        17: static("JAL", "S + A - P", J_TYPE, Role.BRANCH),
        18: static("CALL", "S + A - P", call, Role.BRANCH),
        19: static("CALL_PLT", "S + A - P", call, Role.BRANCH),
        20: static("GOT_HI20", "G + GOT + A - P", u_type, Role.HIGH, slot=Slot.ADDRESS),
        21: static("TLS_GOT_HI20", "G + GOT + A - P", u_type, Role.HIGH, slot=Slot.TLS_IE),
        22: static("TLS_GD_HI20", "G + GOT + A - P", u_type, Role.HIGH, slot=Slot.TLS_GD),
        23: static(
            "PCREL_HI20",
            "S + A - P",
            u_type,
            Role.HIGH,
            special=special,
        ),
        24: static("PCREL_LO12_I", "S", I_TYPE, Role.LOW),
        25: static("PCREL_LO12_S", "S", S_TYPE, Role.LOW),
        26: static("HI20", "S + A", u_type),
        27: static("LO12_I", "S + A", I_TYPE),
        28: static("LO12_S", "S + A", S_TYPE),
        29: static("TPREL_HI20", "S + A + T", u_type),
        30: static("TPREL_LO12_I", "S + A + T", I_TYPE),
        31: static("TPREL_LO12_S", "S + A + T", S_TYPE),
        32: hint("TPREL_ADD"),
    }


def _sums(distance: Field) -> dict[int, Reloc]:
    """Types that add to the place, and hints."""
    return {
        33: static("ADD8", "V + S + A", WRAP_8, Role.ADD),
        34: static("ADD16", "V + S + A", WRAP_16, Role.ADD),
        35: static("ADD32", "V + S + A", WRAP_32, Role.ADD),
        36: static("ADD64", "V + S + A", word64, Role.ADD),
        37: static("SUB8", "V - S - A", WRAP_8, Role.ADD),
        38: static("SUB16", "V - S - A", WRAP_16, Role.ADD),
        39: static("SUB32", "V - S - A", WRAP_32, Role.ADD),
        40: static("SUB64", "V - S - A", word64, Role.ADD),
        41: static("GOT32_PCREL", "G + GOT + A - P", distance, slot=Slot.ADDRESS),
        42: hint("GNU_VTENTRY"),
        43: static("ALIGN", "A", WRAP_32, Role.ALIGN),
    }


def _compressed_and_later(own: Word, distance: Field, u_type: Bits) -> dict[int, Reloc]:
    return {
        44: static("RVC_BRANCH", "S + A - P", CB_TYPE),
        45: static("RVC_JUMP", "S + A - P", CJ_TYPE, Role.BRANCH),
        46: static_refused("RVC_LUI", _WITHDRAWN),
        47: static_refused("GPREL_I", _WITHDRAWN),
        48: static_refused("GPREL_S", _WITHDRAWN),
        49: static_refused("TPREL_I", _WITHDRAWN),
        50: static_refused("TPREL_S", _WITHDRAWN),
        51: hint("RELAX"),
        52: static("SUB6", "V - S - A", LOW_6, Role.ADD),
        53: static("SET6", "S + A", LOW_6, Role.SET),
        54: static("SET8", "S + A", WRAP_8, Role.SET),
        55: static("SET16", "S + A", WRAP_16, Role.SET),
        56: static("SET32", "S + A", WRAP_32, Role.SET),
        57: reloc("32_PCREL", "S + A - P", distance),
        58: reloc("IRELATIVE", "B + A", own, Role.IRELATIVE),
        59: static("PLT32", "S + A - P", distance, Role.BRANCH),
        60: static("SET_ULEB128", "S + A", WRAP_8, Role.ULEB),
        61: static("SUB_ULEB128", "V - S - A", WRAP_8, Role.ULEB),
        62: static("TLSDESC_HI20", "G + GOT + A - P", u_type, Role.HIGH, slot=Slot.TLS_DESC),
        63: static("TLSDESC_LOAD_LO12", "S", I_TYPE, Role.LOW),
        64: static("TLSDESC_ADD_LO12", "S", I_TYPE, Role.LOW),
        65: hint("TLSDESC_CALL"),
    }


EF_RISCV_FLOAT_ABI = 0x6
EF_RISCV_RVE = 0x8
_FLOAT_ABIS = {0x0: FloatAbi.SOFT, 0x2: FloatAbi.SINGLE, 0x4: FloatAbi.HARD, 0x6: FloatAbi.QUAD}


def flags_problem(flags: int) -> str | None:
    """Why an image with these e_flags cannot be linked, None when it can (RISC-V ELF Specification, "File
    Header").
    """
    if flags & EF_RISCV_RVE:
        return "RV32E or RV64E, whose calling convention (RVE) is not supported"
    return None


def float_abi(flags: int, attributes: bytes) -> FloatAbi | None:
    """The floating-point ABI: EF_RISCV_FLOAT_ABI in e_flags (RISC-V ELF Specification, "File Header")."""
    return _FLOAT_ABIS[flags & EF_RISCV_FLOAT_ABI]


def alignment_request(addend: int, symbol: int) -> tuple[int, int, int]:
    """R_RISCV_ALIGN: the addend is the padding (RISC-V psABI, "Alignment")."""
    return 1 << (addend + 1).bit_length(), addend, addend


# auipc t1, 0; ld t1, 16(t1); jr t1; nop; address
STUB_64 = Stub(bytes.fromhex("17030000 03330301 67000300 13000000") + bytes(8), 16, 8)
# auipc t1, 0; lw t1, 12(t1); jr t1; address
STUB_32 = Stub(bytes.fromhex("17030000 0323c300 67000300") + bytes(4), 12, 4)
_NOPS = rb"(?:\x01\x00|\x00\x00)*"  # c.nop
_JAL = bytes.fromhex("6f000000")  # jal zero

RISCV64 = Architecture(
    name="riscv64",
    title="RISC-V 64",
    psabi="RISC-V ELF psABI 1.0",
    machine=243,
    bits=64,
    prefix="R_RISCV_",
    dwarf_stack_pointer=2,
    elftools_name="",
    relocations=_relocations(word64),
    tls=Tls(
        TlsVariant.I,
        tcb_size=0,
        dtv_bias=0x800,
        descriptor_stub=bytes.fromhex("03358500 67800200"),  # ld a0, 8(a0); jr t0
        # ld a0, 8(a0); sub a0, a0, tp; jr t0
        undefined_descriptor_stub=bytes.fromhex("03358500 33054540 67800200"),
        descriptor_register="a0",
        descriptor_link="t0",
    ),
    image_base=0x40_0000_0000,
    library_names=("lib/riscv64-linux-gnu", "lib64/lp64d", "lib64", "lib"),
    multiarch="riscv64-linux-gnu",
    aliases=("rv64", "rv64gc", "riscv64gc", "riscv"),
    branch_reach=1 << 20,  # jal
    # The PLT header passes the byte offset of the jump slot in t1 and the link map in t0.
    plt=Plt(link_map_word=1, resolver_word=0, at="t1", divisor=8),
    nops=(b"\x13\0\0\0", b"\x01\0"),  # nop, c.nop
    alignment=Alignment(alignment_request),
    mapping_symbols=b"xd",  # RISC-V psABI, "Mapping Symbol"
    mapping_names_isa=True,
    # RISC-V ELF Specification, "Dynamic Section", "Program Header Table" and "Program Property".
    tag_names={0x70000001: "RISCV_VARIANT_CC"},
    segment_names={0x70000003: "RISCV_ATTRIBUTES"},
    property_names={0xC0000000: ("RISC-V feature", ("Zicfilp unlabeled", "Zicfiss", "Zicfilp func-sig"))},
    stub=STUB_64,
    detours=(Detour(_JAL, J_TYPE, 0, 0, STUB_64, padding=_NOPS, unit=4),),
    flags_problem=flags_problem,
    plain_flags=0x5,  # RVC, double-precision floating-point ABI
    float_abi=float_abi,
    runs_init_fini=False,
    rebases_dynamic_section=False,
)

RISCV32 = replace(
    RISCV64,
    name="riscv32",
    title="RISC-V 32",
    bits=32,
    relocations=_relocations(address32),
    tls=replace(
        RISCV64.tls,
        descriptor_stub=bytes.fromhex("03254500 67800200"),  # lw a0, 4(a0); jr t0
        # lw a0, 4(a0); sub a0, a0, tp; jr t0
        undefined_descriptor_stub=bytes.fromhex("03254500 33054540 67800200"),
    ),
    image_base=0x4000_0000,
    library_names=("lib/riscv32-linux-gnu", "lib32/ilp32d", "lib"),
    multiarch="riscv32-linux-gnu",
    aliases=("rv32", "rv32gc", "riscv32gc"),
    plt=Plt(link_map_word=1, resolver_word=0, at="t1", divisor=4),
    stub=STUB_32,
    detours=(Detour(_JAL, J_TYPE, 0, 0, STUB_32, padding=_NOPS, unit=4),),
)

"""Arm, 32-bit: A32 and Thumb, the hard-float EABI (armhf).

ELF for the Arm Architecture (AAELF32, 2024Q3), section 5.6 "Relocation", 5.6.1.6 "Dynamic relocations";
Addenda to, and Errata in, the ABI for the Arm Architecture, section 3 "Linux TLS".

REL throughout. Peculiarities: bit 0 of a function's address is set for Thumb code (the document's `| T`); st_value
already includes this bit, and so does S. GLOB_DAT and JUMP_SLOT ignore the content of the place, as in every
ld.so. A TLS descriptor has its argument in the *first* word. TLS is variant I with a two-word TCB.

In relocatable objects:

- BL and BLX are converted into each other for the target's instruction set; any other branch to the other set goes
  through a stub, which has one entry per set. Only bit 0 of a function selects the set: a branch to another label
  stays in the set of its own instruction.
- The addend of an instruction is its immediate; the sign may be encoded in the opcode (`arm_fields`).
- Platform-defined types are as on Linux: TARGET1 is ABS32, TARGET2 is GOT_PREL. V4BX is not applied, because every
  core since Armv4T has BX.
- B(S), the value of a static base register, is the GOT for every symbol. The caller of code that uses such a
  register must set it.
- TLS descriptor sequences are converted to local-exec, since all thread-local storage is static here.
"""

from __future__ import annotations

from relink.arch.arm_attributes import SHT_ARM_ATTRIBUTES, float_calls, lacks_thumb2
from relink.arch.arm_fields import (
    LONG_OFFSET,
    ArmCall,
    BranchFuture,
    Forward,
    Part,
    Residual,
    Rotated,
    ThumbCall,
    ToThumb,
    UpDown,
)
from relink.arch.arm_values import (
    A32_TLS_CALL,
    A32_TLS_SEQUENCE,
    T16_TLS_SEQUENCE,
    T32_TLS_CALL,
    T32_TLS_SEQUENCE,
    call,
    descriptor,
    jump,
    no_interworking,
    short_jump,
    thumb_call,
    thumb_jump,
)
from relink.arch.fields import Bits, Range, address32, word8, word16
from relink.arch.spec import (
    NONE,
    Architecture,
    Detour,
    FloatAbi,
    Formula,
    Plt,
    Reloc,
    Role,
    Slot,
    SlotNamed,
    Stub,
    Tls,
    TlsVariant,
    hint,
    reloc,
    static,
    static_refused,
)

# Immediates as the Architecture Reference Manual draws them (DDI 0406C, chapters A6 and A8).
_U_BIT, _ADD, _SUB = 1 << 23, 1 << 23, 1 << 22
_WORD_OFFSET = Bits("20 imm[11:0]", Range.UNSIGNED)
_HALF_OFFSET = Bits("20 imm[7:4] 4 imm[3:0]", Range.UNSIGNED)
_COPROCESSOR_OFFSET = Bits("24 imm[9:2]", Range.UNSIGNED)
_T32_OFFSET = Bits("20 imm[11:0]", Range.UNSIGNED, halfwords=True)
_T32_SPLIT = Bits("5 imm[11] 11 imm[10:8] 4 imm[7:0]", Range.UNSIGNED, halfwords=True)
_A32_MOVE = Bits("12 imm[15:12] 4 imm[11:0]", Range.WRAP)
_T32_MOVE = Bits("5 imm[11] 6 imm[15:12] 1 imm[10:8] 4 imm[7:0]", Range.WRAP, halfwords=True)

LDR = UpDown(_WORD_OFFSET, _U_BIT, 0)
CALL, JUMP = ArmCall(), Bits("8 imm[25:2]", Range.SIGNED)
MOVW, MOVT, MOVW_CHECKED = Part(_A32_MOVE), Part(_A32_MOVE, 16), Part(_A32_MOVE, 0, Range.UNSIGNED)
T32_MOVW, T32_MOVT, T32_MOVW_CHECKED = Part(_T32_MOVE), Part(_T32_MOVE, 16), Part(_T32_MOVE, 0, Range.UNSIGNED)
T32_CALL, T32_JUMP = ThumbCall(), ToThumb(LONG_OFFSET)
T32_JUMP_19 = ToThumb(Bits("5 imm[20] 4 imm[17:12] 2 imm[18] 1 imm[19] imm[11:1]", Range.SIGNED, halfwords=True))
T32_LDR_LITERAL = UpDown(_T32_OFFSET, 1 << 7, 0)
T32_ADR = UpDown(_T32_SPLIT, 0, 0xA0)
T16_JUMP_11, T16_JUMP_8 = (ToThumb(Bits(d, Range.SIGNED)) for d in ("5 imm[11:1]", "8 imm[8:1]"))
T16_CBZ = ToThumb(Forward(Bits("6 imm[6] 1 imm[5:1] 3", Range.UNSIGNED)))
T16_LITERAL = Forward(Bits("8 imm[9:2]", Range.UNSIGNED))
T16_OFFSET = Bits("5 imm[6:2] 6", Range.UNSIGNED)
_T16_BYTE = Bits("8 imm[7:0]", Range.UNSIGNED)
PREL31 = Bits("1 imm[30:0]", Range.SIGNED)


def _alu(groups: int, checked: bool) -> UpDown:
    return UpDown(Residual(Rotated(checked), groups), _ADD, _SUB)


def _load(groups: int, offset: Bits) -> UpDown:
    return UpDown(Residual(offset, groups), _U_BIT, 0)


# ---------------------------------------------------------------- the table

_DEPRECATED = "deprecated, and no current document defines it"
_OBSOLETE = "obsolete: no current linker processes it"
_FDPIC = "belongs to the FDPIC ABI, whose function descriptors are not supported"
_DISTANCE, _SB_OFFSET = "S + A - P", "S + A - GOT"
_FROM_WORD = "S + A - P // 4 * 4"  # Pa, the place's address rounded down to a word
_THUMB_ENTRY = 4 + 1  # of both stubs


def _groups(first: int, base: str, formula: str) -> dict[int, Reloc]:
    """The thirteen or fourteen types of one base ("Group relocations"); LDR_PC_G0 has a separate number."""
    named = [
        *(
            (f"ALU_{base}_G{n}{'' if checked else '_NC'}", _alu(n, checked))
            for n, checked in ((0, False), (0, True), (1, False), (1, True), (2, True))
        ),
        *((f"LDR_{base}_G{n}", _load(n, _WORD_OFFSET)) for n in range(1 if base == "PC" else 0, 3)),
        *((f"LDRS_{base}_G{n}", _load(n, _HALF_OFFSET)) for n in range(3)),
        *((f"LDC_{base}_G{n}", _load(n, _COPROCESSOR_OFFSET)) for n in range(3)),
    ]
    return {first + i: static(name, formula, word) for i, (name, word) in enumerate(named)}


def _thumb_branch(name: str, word: ThumbCall | ToThumb) -> Reloc:
    special = thumb_call if isinstance(word, ThumbCall) else thumb_jump
    return static(name, _DISTANCE, word, Role.BRANCH, special=special, entry=_THUMB_ENTRY)


def _future(name: str, diagram: str) -> Reloc:
    word = BranchFuture(Bits(diagram, Range.SIGNED, halfwords=True))
    return static(name, _DISTANCE, word, special=short_jump)


RELOCATIONS: dict[int, Reloc] = {
    0: NONE,
    1: static("PC24", _DISTANCE, CALL, Role.BRANCH, special=call),
    2: reloc("ABS32", "S + A", address32),
    3: reloc("REL32", "S + A - P", address32),
    4: static("LDR_PC_G0", _DISTANCE, _load(0, _WORD_OFFSET)),
    5: reloc("ABS16", "S + A", word16),
    6: static("ABS12", "S + A", LDR),
    7: static("THM_ABS5", "S + A", T16_OFFSET),
    8: reloc("ABS8", "S + A", word8),
    9: static("SBREL32", _SB_OFFSET, address32),
    10: _thumb_branch("THM_CALL", T32_CALL),
    11: static("THM_PC8", _FROM_WORD, T16_LITERAL),
    12: static_refused("BREL_ADJ", "adjusts a dynamic static base, which is not supported"),
    13: reloc("TLS_DESC", "S + A + T", address32, Role.TLSDESC),
    14: static_refused("THM_SWI8", _OBSOLETE),
    15: static_refused("XPC25", _OBSOLETE),
    16: static_refused("THM_XPC22", _OBSOLETE),
    17: reloc("TLS_DTPMOD32", "M", address32),
    18: reloc("TLS_DTPOFF32", "S + A - DTV", address32),
    19: reloc("TLS_TPOFF32", "S + A + T", address32),
    20: reloc("COPY", "S", address32, Role.COPY),
    21: reloc("GLOB_DAT", "S", address32),
    22: reloc("JUMP_SLOT", "S", address32, Role.JUMP_SLOT),
    23: reloc("RELATIVE", "B + A", address32, Role.RELATIVE),
    24: static("GOTOFF32", "S + A - GOT", address32),
    25: static("BASE_PREL", "GOT + A - P", address32),
    26: static("GOT_BREL", "G + A", address32, slot=Slot.ADDRESS),
    27: static("PLT32", _DISTANCE, CALL, Role.BRANCH, special=call),
    28: static("CALL", _DISTANCE, CALL, Role.BRANCH, special=call),
    29: static("JUMP24", _DISTANCE, JUMP, Role.BRANCH, special=jump),
    30: _thumb_branch("THM_JUMP24", T32_JUMP),
    31: static("BASE_ABS", "GOT + A", address32),
    32: static_refused("ALU_PCREL_7_0", _OBSOLETE),
    33: static_refused("ALU_PCREL_15_8", _OBSOLETE),
    34: static_refused("ALU_PCREL_23_15", _OBSOLETE),
    35: static_refused("LDR_SBREL_11_0_NC", _DEPRECATED),
    36: static_refused("ALU_SBREL_19_12_NC", _DEPRECATED),
    37: static_refused("ALU_SBREL_27_20_CK", _DEPRECATED),
    38: static("TARGET1", "S + A", address32),
    39: static("SBREL31", _SB_OFFSET, PREL31),
    40: hint("V4BX"),
    41: static("TARGET2", "G + GOT + A - P", address32, slot=Slot.ADDRESS),
    42: static("PREL31", _DISTANCE, PREL31),
    43: static("MOVW_ABS_NC", "S + A", MOVW),
    44: static("MOVT_ABS", "S + A", MOVT),
    45: static("MOVW_PREL_NC", _DISTANCE, MOVW),
    46: static("MOVT_PREL", _DISTANCE, MOVT),
    47: static("THM_MOVW_ABS_NC", "S + A", T32_MOVW),
    48: static("THM_MOVT_ABS", "S + A", T32_MOVT),
    49: static("THM_MOVW_PREL_NC", _DISTANCE, T32_MOVW),
    50: static("THM_MOVT_PREL", _DISTANCE, T32_MOVT),
    51: _thumb_branch("THM_JUMP19", T32_JUMP_19),
    52: static("THM_JUMP6", _DISTANCE, T16_CBZ, special=short_jump),
    53: static("THM_ALU_PREL_11_0", _FROM_WORD, T32_ADR),
    54: static("THM_PC12", _FROM_WORD, T32_LDR_LITERAL),
    55: Reloc("ABS32_NOI", Formula("S + A"), address32, special=no_interworking),
    56: Reloc("REL32_NOI", Formula("S + A - P"), address32, special=no_interworking),
    **_groups(57, "PC", _DISTANCE),
    **_groups(70, "SB", _SB_OFFSET),
    84: static("MOVW_BREL_NC", _SB_OFFSET, MOVW),
    85: static("MOVT_BREL", _SB_OFFSET, MOVT),
    86: static("MOVW_BREL", _SB_OFFSET, MOVW_CHECKED),
    87: static("THM_MOVW_BREL_NC", _SB_OFFSET, T32_MOVW),
    88: static("THM_MOVT_BREL", _SB_OFFSET, T32_MOVT),
    89: static("THM_MOVW_BREL", _SB_OFFSET, T32_MOVW_CHECKED),
    90: static("TLS_GOTDESC", "S + T", address32),
    91: descriptor("TLS_CALL", A32_TLS_CALL),
    92: descriptor("TLS_DESCSEQ", A32_TLS_SEQUENCE),
    93: descriptor("THM_TLS_CALL", T32_TLS_CALL),
    94: static("PLT32_ABS", "S + A", address32),
    95: static("GOT_ABS", "G + GOT + A", address32, slot=Slot.ADDRESS),
    96: static("GOT_PREL", "G + GOT + A - P", address32, slot=Slot.ADDRESS),
    97: static("GOT_BREL12", "G + A", LDR, slot=Slot.ADDRESS),
    98: static("GOTOFF12", "S + A - GOT", LDR),
    99: hint("GOTRELAX"),
    100: hint("GNU_VTENTRY"),
    101: hint("GNU_VTINHERIT"),
    102: static("THM_JUMP11", _DISTANCE, T16_JUMP_11, special=short_jump),
    103: static("THM_JUMP8", _DISTANCE, T16_JUMP_8, special=short_jump),
    104: static("TLS_GD32", "G + GOT + A - P", address32, slot=Slot.TLS_GD),
    105: static("TLS_LDM32", "G + GOT + A - P", address32, slot=Slot.TLS_LD),
    106: static("TLS_LDO32", "S + A - DTV", address32),
    107: static("TLS_IE32", "G + GOT + A - P", address32, slot=Slot.TLS_IE),
    108: static("TLS_LE32", "S + A + T", address32),
    109: static("TLS_LDO12", "S + A - DTV", LDR),
    110: static("TLS_LE12", "S + A + T", LDR),
    111: static("TLS_IE12GP", "G + A", LDR, slot=Slot.TLS_IE),
    **{112 + n: static_refused(f"PRIVATE_{n}", "its meaning is defined by the platform") for n in range(16)},
    128: static_refused("ME_TOO", _OBSOLETE),
    129: descriptor("THM_TLS_DESCSEQ16", T16_TLS_SEQUENCE),
    130: descriptor("THM_TLS_DESCSEQ32", T32_TLS_SEQUENCE),
    131: static("THM_GOT_BREL12", "G + A", _T32_OFFSET, slot=Slot.ADDRESS),
    132: static("THM_ALU_ABS_G0_NC", "S + A", Part(_T16_BYTE)),
    133: static("THM_ALU_ABS_G1_NC", "S + A", Part(_T16_BYTE, 8)),
    134: static("THM_ALU_ABS_G2_NC", "S + A", Part(_T16_BYTE, 16)),
    135: static("THM_ALU_ABS_G3", "S + A", Part(_T16_BYTE, 24)),
    136: _future("THM_BF16", "11 imm[16:12] 4 imm[1|11:2] 1"),
    137: _future("THM_BF12", "15 imm[12] 4 imm[1|11:2] 1"),
    138: _future("THM_BF18", "9 imm[18:12] 4 imm[1|11:2] 1"),
    160: reloc("IRELATIVE", "B + A", address32, Role.IRELATIVE),
    161: static_refused("GOTFUNCDESC", _FDPIC),
    162: static_refused("GOTOFFFUNCDESC", _FDPIC),
    163: static_refused("FUNCDESC", _FDPIC),
    164: static_refused("FUNCDESC_VALUE", _FDPIC),
    165: static_refused("TLS_GD32_FDPIC", _FDPIC),
    166: static_refused("TLS_LDM32_FDPIC", _FDPIC),
    167: static_refused("TLS_IE32_FDPIC", _FDPIC),
    **{152 + n: static_refused(f"PRIVATE_{n}", "its meaning is defined by the platform") for n in range(16, 25)},
    249: static_refused("RXPC25", _OBSOLETE),
    250: static_refused("RSBREL32", _OBSOLETE),
    251: static_refused("THM_RPC22", _OBSOLETE),
    252: static_refused("RREL32", _OBSOLETE),
    253: static_refused("RABS32", _OBSOLETE),
    254: static_refused("RPC24", _OBSOLETE),
    255: static_refused("RBASE", _OBSOLETE),
}

EF_ARM_EABIMASK = 0xFF00_0000
EF_ARM_EABI_VER5 = 0x0500_0000
EF_ARM_ABI_FLOAT_SOFT = 0x200
EF_ARM_ABI_FLOAT_HARD = 0x400
EF_ARM_BE8 = 0x0080_0000


def flags_problem(flags: int) -> str | None:
    """Why an image with these e_flags cannot be linked, None when it can (AAELF32 section 5.2.1)."""
    if flags & EF_ARM_EABIMASK != EF_ARM_EABI_VER5:
        return f"Arm EABI version {flags >> 24} (only version 5 is supported)"
    if flags & EF_ARM_BE8:
        return "big-endian (BE8) Arm code is not supported"
    return None


def float_abi(flags: int, attributes: bytes) -> FloatAbi | None:
    """The floating-point ABI: from e_flags in linked files (AAELF32 section 5.2.1), from the build attributes in
    objects.
    """
    if flags & (EF_ARM_ABI_FLOAT_SOFT | EF_ARM_ABI_FLOAT_HARD):
        return FloatAbi.SOFT if flags & EF_ARM_ABI_FLOAT_SOFT else FloatAbi.HARD
    return float_calls(attributes)


ARM = Architecture(
    name="arm",
    title="Arm (A32, Thumb)",
    psabi="AAELF32 2024Q3",
    machine=40,
    bits=32,
    prefix="R_ARM_",
    dwarf_stack_pointer=13,
    elftools_name="ARM",
    relocations=RELOCATIONS,
    tls=Tls(
        TlsVariant.I,
        tcb_size=8,
        descriptor_stub=bytes.fromhex("000090e5 1eff2fe1"),  # ldr r0, [r0]; bx lr
        # push {r1}; ldr r0, [r0]; mrc p15, 0, r1, c13, c0, 3; sub r0, r0, r1; pop {r1}; bx lr
        undefined_descriptor_stub=bytes.fromhex("04102de5 000090e5 701f1dee 010040e0 04109de4 1eff2fe1"),
        descriptor_register="r0",
        descriptor_link="lr",
        descriptor_argument=0,
        descriptor_holds_index=True,
    ),
    image_base=0x4000_0000,
    library_names=("lib/arm-linux-gnueabihf", "lib"),
    multiarch="arm-linux-gnueabihf",
    aliases=("armhf", "arm32", "armv7", "armv7l", "armv7a", "thumb", "thumb2"),
    platform="v7l",
    code_address_bits=1,
    branch_reach=1 << 20,  # B<c>.W, the shortest branch that may be routed through a stub
    # str lr, [sp, #-4]!, with the slot's address in ip
    plt=Plt(named=SlotNamed.BY_ADDRESS, at="r12", pushed=4, saved=("lr", 0)),
    # A32: ldr pc, [pc]; T32: ldr.w pc, [pc]; address
    branch_bias={"": -8, "THM": -4},
    mapping_symbols=b"atd",  # AAELF32 5.5.5
    segment_names={0x70000001: "ARM_EXIDX"},  # AAELF32 5.2
    stub=Stub(bytes.fromhex("00f09fe5 dff800f0") + bytes(4), 8, 4),
    # A32: ldr pc, [pc, #4]; T16: push {r0, r1}; ldr r0, [pc, #4]; str r0, [sp, #4]; pop {r0, pc}; address
    is_baseline=lacks_thumb2,
    attributes_section=SHT_ARM_ATTRIBUTES,
    baseline_stub=Stub(bytes.fromhex("04f09fe5 03b4 0148 0190 01bd") + bytes(4), 12, 4),
    executable_stack=True,
    nops=(bytes.fromhex("0000a0e1"), bytes.fromhex("c046")),  # mov r0, r0; mov r8, r8
    detours=(
        Detour(bytes.fromhex("000000ea"), JUMP, 0, -8, Stub(bytes.fromhex("04f01fe5") + bytes(4), 4, 4)),  # b
        Detour(
            bytes.fromhex("00f000b8"),
            T32_JUMP,
            0,
            -4,
            Stub(bytes.fromhex("dff800f0") + bytes(4), 4, 4),  # b.w
            nop=bytes.fromhex("00bf"),
            entry=_THUMB_ENTRY,
            padding=rb"(?:\x00\xbf|\xc0\x46|\x00\x00)*",
            unit=4,
        ),
    ),
    flags_problem=flags_problem,
    plain_flags=EF_ARM_EABI_VER5,
    float_abi=float_abi,
)

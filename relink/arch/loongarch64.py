"""LoongArch64 (LA64, lp64d).

ELF for the LoongArch Architecture (laelf, LoongArch ABI v2.50), sections "Relocations" and "Code Models".

RELA throughout. Peculiarities:

- As on RISC-V there is no GLOB_DAT: GOT entries have the plain word type 64.
- The descriptor types were added late (13 and 14); a descriptor call returns through ra, like any call.
- TLS is variant I, with nothing between the thread pointer and the first block, and no dtv bias.
- Addresses are built by up to four instructions: pcalau12i (bits 31…12, relative to the page of the pc), addi.d or
  a load (11…0, signed), lu32i.d (51…32) and lu52i.d (63…52). The last two overwrite the sign extension of the
  first two, so their values correct for it. The psABI requires all four to be adjacent: the page is that of
  pcalau12i, two and three instructions back.
- Local-dynamic slots are the same as general-dynamic ones: there is no type for an offset in the block, and the
  call returns the symbol's address.
- Objects of ABI version 0 compute every field on a stack (`relink.arch.loongarch_stack`).
"""

from __future__ import annotations

import numpy as np

from relink.arch.fields import Bits, Field, Pair, Range, Word, sign_extended, signed32, unsigned32, word32, word64
from relink.arch.single import Single, of_field, signed
from relink.arch.spec import (
    NONE,
    Alignment,
    Architecture,
    Detour,
    FloatAbi,
    Formula,
    Plt,
    Reloc,
    Role,
    Sites,
    Slot,
    Stub,
    Tls,
    TlsVariant,
    hint,
    refused,
    reloc,
    static,
    static_refused,
)
from relink.arch.special import only_beyond, reads
from relink.arrays import U64, Bools
from relink.records import dataclass, replace

# ---------------------------------------------------------------- fields
# Immediates as the reference manual (volume 1, section 1.2, "Instruction encodings") names them: offs and si
# fields by the position of rd (bit 0), rj (5) and rk (10).

OFFS_16 = Bits("6 imm[17:2] 10", Range.SIGNED)  # beq, jirl
OFFS_21 = Bits("6 imm[17:2] 5 imm[22:18]", Range.SIGNED)  # beqz
OFFS_26 = Bits("6 imm[17:2] imm[27:18]", Range.SIGNED)  # b, bl
PCADDI = Bits("7 imm[21:2] 5", Range.SIGNED)
LOW_12 = Bits("10 imm[11:0] 10", Range.WRAP)  # addi.d, ori, loads and stores
LU32I = Bits("7 imm[51:32] 5", Range.WRAP, drops_low=True)
LU52I = Bits("10 imm[63:52] 10", Range.WRAP, drops_low=True)
HIGH_20 = Bits("7 imm[31:12] 5", Range.WRAP, drops_low=True)  # lu12i.w; lu32i.d may follow
HIGH_20_ROUNDED = Bits("7 imm[31:12] 5", Range.SIGNED, drops_low=True, rounding=0x800)
#: The same when lu32i.d does not follow; for pcalau12i the formula has already rounded.
HIGH_20_ALONE = Bits("7 imm[31:12] 5", Range.SIGNED, drops_low=True)
PCADDU18I = Bits("7 imm[37:18] 5", Range.SIGNED, drops_low=True, rounding=0x20000)
CALL36 = Pair(PCADDU18I, Bits("6 imm[17:2] 10", Range.WRAP))
#: The low part is unsigned: the six upper bits of jirl's immediate, which the assembler left zero, are kept.
CALL30 = Pair(HIGH_20_ALONE, Bits("12 imm[11:2] 10", Range.UNSIGNED))
WRAP_8, WRAP_16, WRAP_32 = Word(1), Word(2), Word(4)
LOW_6 = Bits("2 imm[5:0]", Range.WRAP)
#: A 24-bit field with the byte above it, which is kept.
WRAP_24 = Bits("8 imm[23:0]", Range.WRAP)


@dataclass(frozen=True)
class CallOrLow12:
    """R_LARCH_PCALA_LO12's field: si12 of an addi.d, load or store, or offs16 of a jirl, which counts words.

    The jirl is the second half of a call by pcalau12i and jirl in objects older than CALL36. The low two bits of
    the call's target are dropped.
    """

    description = "12 bits (any value, truncated to the field)"
    size = 4
    keeps_raw = True

    def read(self, raw: U64) -> U64:
        """The low part in the instruction, sign-extended."""
        return np.where(self._is_jirl(raw), OFFS_16.read(raw), LOW_12.read(raw))

    def fits(self, value: U64) -> Bools | bool:
        """Always true: the field is a low part."""
        return True

    def write(self, raw: U64, value: U64) -> U64:
        """The instruction with the low 12 bits of `value`."""
        return np.where(self._is_jirl(raw), OFFS_16.write(raw, sign_extended(value, 12)), LOW_12.write(raw, value))

    @staticmethod
    def _is_jirl(raw: U64) -> Bools:
        return np.asarray((raw >> np.uint64(26)) == 0b010011)

    def single(self) -> Single:
        """The field for Python's numbers (see `relink.arch.single`)."""
        call, low = of_field(OFFS_16), of_field(LOW_12)

        def write(raw: int, value: int) -> int:
            return call.write(raw, signed(value, 12)) if raw >> 26 == 0b010011 else low.write(raw, value)

        return Single(4, lambda raw: (call if raw >> 26 == 0b010011 else low).read(raw), lambda value: True, write)


LOW_12_OR_CALL = CallOrLow12()


# ---------------------------------------------------------------- what a formula cannot say


def _lu32i_follows(sites: Sites, instructions: range) -> Bools:
    """Whether one of the instructions at these distances (in instructions) is a lu32i.d, which overwrites bits 32
    and up.
    """
    found = np.zeros(len(sites.where), np.bool_)
    last = len(sites.buffer) - 4
    for number in instructions:
        after = sites.where + 4 * number
        opcode = sites.buffer[np.clip(after, 0, max(last, 0)) + 3] >> 1
        found |= (after <= last) & (opcode == 0b0001011)
    return found


@only_beyond(32)
@reads(behind=8)
def page_distance(sites: Sites, distance: U64) -> U64:
    """The value of pcalau12i in bytes, given the distance between the pages.

    In the extreme code model lu32i.d, two instructions later, has bits 32 and up, so they are truncated here.
    Otherwise the distance must fit (laelf, "Normal code model").
    """
    return np.where(_lu32i_follows(sites, range(2, 3)), sign_extended(distance, 32), distance)


@only_beyond(32)
@reads(behind=128)
def absolute(sites: Sites, address: U64) -> U64:
    """The value of lu12i.w; lu32i.d may follow with bits 32 and up.

    laelf does not require the two to be adjacent here, so a compiler may have moved lu32i.d by a few instructions.
    Without lu32i.d the address must fit: such code is for low addresses, and the image is placed there.
    """
    return np.where(_lu32i_follows(sites, range(1, 33)), sign_extended(address, 32), address)


# ---------------------------------------------------------------- rows

_SYMBOL, _SLOT = "S + A", "G + GOT + A"


def _page(name: str, target: str, slot: Slot | None = None) -> Reloc:
    """The row of pcalau12i. The low part is signed, so the page is the nearest one (rounding 0x800)."""
    formula = f"Page({target} + 0x800) - Page(P)"
    return static(name, formula, HIGH_20_ALONE, slot=slot, special=page_distance)


def _upper(name: str, target: str, back: int, slot: Slot | None = None) -> Reloc:
    """The row of lu32i.d or lu52i.d, `back` bytes behind their pcalau12i.

    0x80000000 corrects for the sign of pcalau12i's immediate. When bit 11 is set, addi.d leaves 0xfffff in bits
    31…12; the correction 0x800 * 0x1ffffe is 2^32 - 0x1000.
    """
    formula = f"Page({target}) - Page(P - {back}) + 0x80000000 - (({target}) & 0x800) * 0x1ffffe"
    return static(name, formula, LU32I if back == 8 else LU52I, slot=slot)


def _slot(name: str, field: Field, slot: Slot) -> Reloc:
    """A row for a part of a GOT slot's address."""
    return static(name, _SLOT, field, slot=slot)


def _address_slot(row: Reloc) -> Reloc:
    """A row for the slot of an address. For a thread-local symbol the slot is the pair of words for
    __tls_get_addr.
    """
    return replace(row, tls_slot=Slot.TLS_GD)


def _push(name: str, formula: str, slot: Slot | None = None) -> Reloc:
    return Reloc(name, Formula(formula), None, Role.STACK, slot=slot, static=True)


def _step(name: str) -> Reloc:
    return Reloc(name, None, None, Role.STACK, static=True)


def _pop(name: str, field: Field) -> Reloc:
    return Reloc(name, None, field, Role.STACK, static=True)


RELOCATIONS: dict[int, Reloc] = {
    0: NONE,
    1: reloc("32", "S + A", word32),
    2: reloc("64", "S + A", word64),
    3: reloc("RELATIVE", "B + A", word64, Role.RELATIVE),
    4: reloc("COPY", "S", word64, Role.COPY),
    5: reloc("JUMP_SLOT", "S", word64, Role.JUMP_SLOT),
    6: reloc("TLS_DTPMOD32", "M", word32),
    7: reloc("TLS_DTPMOD64", "M", word64),
    8: reloc("TLS_DTPREL32", "S + A - DTV", word32),
    9: reloc("TLS_DTPREL64", "S + A - DTV", word64),
    10: reloc("TLS_TPREL32", "S + A + T", word32),
    11: reloc("TLS_TPREL64", "S + A + T", word64),
    12: reloc("IRELATIVE", "B + A", word64, Role.IRELATIVE),
    13: refused("TLS_DESC32", "descriptors of two 32-bit words are for 32-bit LoongArch"),
    14: reloc("TLS_DESC64", "S + A + T", word64, Role.TLSDESC),
    20: hint("MARK_LA"),
    21: hint("MARK_PCREL"),
    22: _push("SOP_PUSH_PCREL", "S + A - P"),
    23: _push("SOP_PUSH_ABSOLUTE", "S + A"),
    24: _step("SOP_PUSH_DUP"),
    25: _push("SOP_PUSH_GPREL", "G", Slot.ADDRESS),
    26: _push("SOP_PUSH_TLS_TPREL", "S + A + T"),
    27: _push("SOP_PUSH_TLS_GOT", "G", Slot.TLS_IE),
    28: _push("SOP_PUSH_TLS_GD", "G", Slot.TLS_GD),
    29: _push("SOP_PUSH_PLT_PCREL", "S + A - P"),
    30: _step("SOP_ASSERT"),
    31: _step("SOP_NOT"),
    32: _step("SOP_SUB"),
    33: _step("SOP_SL"),
    34: _step("SOP_SR"),
    35: _step("SOP_ADD"),
    36: _step("SOP_AND"),
    37: _step("SOP_IF_ELSE"),
    38: _pop("SOP_POP_32_S_10_5", Bits("17 imm[4:0] 10", Range.SIGNED)),
    39: _pop("SOP_POP_32_U_10_12", Bits("10 imm[11:0] 10", Range.UNSIGNED)),
    40: _pop("SOP_POP_32_S_10_12", Bits("10 imm[11:0] 10", Range.SIGNED)),
    41: _pop("SOP_POP_32_S_10_16", Bits("6 imm[15:0] 10", Range.SIGNED)),
    42: _pop("SOP_POP_32_S_10_16_S2", OFFS_16),
    43: _pop("SOP_POP_32_S_5_20", Bits("7 imm[19:0] 5", Range.SIGNED)),
    44: _pop("SOP_POP_32_S_0_5_10_16_S2", OFFS_21),
    45: _pop("SOP_POP_32_S_0_10_10_16_S2", OFFS_26),
    46: _pop("SOP_POP_32_U", unsigned32),
    47: static("ADD8", "V + S + A", WRAP_8, Role.ADD),
    48: static("ADD16", "V + S + A", WRAP_16, Role.ADD),
    49: static("ADD24", "V + S + A", WRAP_24, Role.ADD),
    50: static("ADD32", "V + S + A", WRAP_32, Role.ADD),
    51: static("ADD64", "V + S + A", word64, Role.ADD),
    52: static("SUB8", "V - S - A", WRAP_8, Role.ADD),
    53: static("SUB16", "V - S - A", WRAP_16, Role.ADD),
    54: static("SUB24", "V - S - A", WRAP_24, Role.ADD),
    55: static("SUB32", "V - S - A", WRAP_32, Role.ADD),
    56: static("SUB64", "V - S - A", word64, Role.ADD),
    57: hint("GNU_VTINHERIT"),
    58: hint("GNU_VTENTRY"),
    64: static("B16", "S + A - P", OFFS_16, Role.BRANCH),
    65: static("B21", "S + A - P", OFFS_21, Role.BRANCH),
    66: static("B26", "S + A - P", OFFS_26, Role.BRANCH),
    67: static("ABS_HI20", "S + A", HIGH_20_ALONE, special=absolute),
    68: static("ABS_LO12", "S + A", LOW_12),
    69: static("ABS64_LO20", "S + A", LU32I),
    70: static("ABS64_HI12", "S + A", LU52I),
    71: _page("PCALA_HI20", _SYMBOL),
    72: static("PCALA_LO12", "S + A", LOW_12_OR_CALL),
    73: _upper("PCALA64_LO20", _SYMBOL, 8),
    74: _upper("PCALA64_HI12", _SYMBOL, 12),
    75: _address_slot(_page("GOT_PC_HI20", _SLOT, Slot.ADDRESS)),
    76: _address_slot(_slot("GOT_PC_LO12", LOW_12, Slot.ADDRESS)),
    77: _address_slot(_upper("GOT64_PC_LO20", _SLOT, 8, Slot.ADDRESS)),
    78: _address_slot(_upper("GOT64_PC_HI12", _SLOT, 12, Slot.ADDRESS)),
    79: _address_slot(_slot("GOT_HI20", HIGH_20, Slot.ADDRESS)),
    80: _address_slot(_slot("GOT_LO12", LOW_12, Slot.ADDRESS)),
    81: _address_slot(_slot("GOT64_LO20", LU32I, Slot.ADDRESS)),
    82: _address_slot(_slot("GOT64_HI12", LU52I, Slot.ADDRESS)),
    83: static("TLS_LE_HI20", "S + A + T", HIGH_20),
    84: static("TLS_LE_LO12", "S + A + T", LOW_12),
    85: static("TLS_LE64_LO20", "S + A + T", LU32I),
    86: static("TLS_LE64_HI12", "S + A + T", LU52I),
    87: _page("TLS_IE_PC_HI20", _SLOT, Slot.TLS_IE),
    88: _slot("TLS_IE_PC_LO12", LOW_12, Slot.TLS_IE),
    89: _upper("TLS_IE64_PC_LO20", _SLOT, 8, Slot.TLS_IE),
    90: _upper("TLS_IE64_PC_HI12", _SLOT, 12, Slot.TLS_IE),
    91: _slot("TLS_IE_HI20", HIGH_20, Slot.TLS_IE),
    92: _slot("TLS_IE_LO12", LOW_12, Slot.TLS_IE),
    93: _slot("TLS_IE64_LO20", LU32I, Slot.TLS_IE),
    94: _slot("TLS_IE64_HI12", LU52I, Slot.TLS_IE),
    95: _page("TLS_LD_PC_HI20", _SLOT, Slot.TLS_GD),
    96: _slot("TLS_LD_HI20", HIGH_20, Slot.TLS_GD),
    97: _page("TLS_GD_PC_HI20", _SLOT, Slot.TLS_GD),
    98: _slot("TLS_GD_HI20", HIGH_20, Slot.TLS_GD),
    99: reloc("32_PCREL", "S + A - P", signed32),
    100: hint("RELAX"),
    101: static_refused(
        "DELETE", "GNU ld uses it internally for deleting an instruction; objects must not contain it"
    ),
    102: static("ALIGN", "A", WRAP_32, Role.ALIGN),
    103: static("PCREL20_S2", "S + A - P", PCADDI),
    104: hint("CFA"),
    105: static("ADD6", "V + S + A", LOW_6, Role.ADD),
    106: static("SUB6", "V - S - A", LOW_6, Role.ADD),
    107: static("ADD_ULEB128", "V + S + A", WRAP_8, Role.ULEB),
    108: static("SUB_ULEB128", "V - S - A", WRAP_8, Role.ULEB),
    109: reloc("64_PCREL", "S + A - P", word64),
    110: static("CALL36", "S + A - P", CALL36, Role.BRANCH),
    111: _page("TLS_DESC_PC_HI20", _SLOT, Slot.TLS_DESC),
    112: _slot("TLS_DESC_PC_LO12", LOW_12, Slot.TLS_DESC),
    113: _upper("TLS_DESC64_PC_LO20", _SLOT, 8, Slot.TLS_DESC),
    114: _upper("TLS_DESC64_PC_HI12", _SLOT, 12, Slot.TLS_DESC),
    115: _slot("TLS_DESC_HI20", HIGH_20, Slot.TLS_DESC),
    116: _slot("TLS_DESC_LO12", LOW_12, Slot.TLS_DESC),
    117: _slot("TLS_DESC64_LO20", LU32I, Slot.TLS_DESC),
    118: _slot("TLS_DESC64_HI12", LU52I, Slot.TLS_DESC),
    119: hint("TLS_DESC_LD"),
    120: hint("TLS_DESC_CALL"),
    121: static("TLS_LE_HI20_R", "S + A + T", HIGH_20_ROUNDED),
    122: hint("TLS_LE_ADD_R"),
    123: static("TLS_LE_LO12_R", "S + A + T", LOW_12),
    124: static("TLS_LD_PCREL20_S2", "G + GOT + A - P", PCADDI, slot=Slot.TLS_GD),
    125: static("TLS_GD_PCREL20_S2", "G + GOT + A - P", PCADDI, slot=Slot.TLS_GD),
    126: static("TLS_DESC_PCREL20_S2", "G + GOT + A - P", PCADDI, slot=Slot.TLS_DESC),
    # For cores without pcalau12i (LA32R); 64-bit cores have these instructions too.
    127: static("CALL30", "S + A - P", CALL30, Role.BRANCH),
    128: static("PCADD_HI20", "S + A - P", HIGH_20_ROUNDED, Role.HIGH),
    129: static("PCADD_LO12", "S", LOW_12, Role.LOW),
    130: static("GOT_PCADD_HI20", "G + GOT + A - P", HIGH_20_ROUNDED, Role.HIGH, slot=Slot.ADDRESS),
    131: static("GOT_PCADD_LO12", "S", LOW_12, Role.LOW),
    132: static("TLS_IE_PCADD_HI20", "G + GOT + A - P", HIGH_20_ROUNDED, Role.HIGH, slot=Slot.TLS_IE),
    133: static("TLS_IE_PCADD_LO12", "S", LOW_12, Role.LOW),
    134: static("TLS_LD_PCADD_HI20", "G + GOT + A - P", HIGH_20_ROUNDED, Role.HIGH, slot=Slot.TLS_GD),
    135: static("TLS_LD_PCADD_LO12", "S", LOW_12, Role.LOW),
    136: static("TLS_GD_PCADD_HI20", "G + GOT + A - P", HIGH_20_ROUNDED, Role.HIGH, slot=Slot.TLS_GD),
    137: static("TLS_GD_PCADD_LO12", "S", LOW_12, Role.LOW),
    138: static("TLS_DESC_PCADD_HI20", "G + GOT + A - P", HIGH_20_ROUNDED, Role.HIGH, slot=Slot.TLS_DESC),
    139: static("TLS_DESC_PCADD_LO12", "S", LOW_12, Role.LOW),
}

EF_LOONGARCH_ABI_MODIFIER_MASK = 0x7
_FLOAT_ABIS = {0x1: FloatAbi.SOFT, 0x2: FloatAbi.SINGLE, 0x3: FloatAbi.HARD}


def flags_problem(flags: int) -> str | None:
    """Why an image with these e_flags cannot be linked, None when it can (laelf, "e_flags": base ABIs)."""
    if (modifier := flags & EF_LOONGARCH_ABI_MODIFIER_MASK) not in _FLOAT_ABIS:
        return f"a base ABI that laelf does not define (modifier {modifier})"
    return None


def float_abi(flags: int, attributes: bytes) -> FloatAbi | None:
    """The floating-point ABI: the base ABI modifier in e_flags (laelf, "e_flags")."""
    return _FLOAT_ABIS.get(flags & EF_LOONGARCH_ABI_MODIFIER_MASK)


def alignment_request(addend: int, symbol: int) -> tuple[int, int, int]:
    """R_LARCH_ALIGN: with a symbol, the low byte of the addend is log2 of the alignment, and the bits above are
    the maximum padding (laelf).
    """
    if symbol == 0:
        return addend + 4, addend, addend
    align = 1 << (addend & 0xFF)
    return align, align - 4, addend >> 8 or align


NOP = bytes.fromhex("00004003")
# pcaddu12i $t0, 0; ld.d $t0, $t0, 16; jr $t0; nop; address
STUB = Stub(bytes.fromhex("0c00001c 8c41c028 8001004c 00004003") + bytes(8), 16, 8)

LOONGARCH64 = Architecture(
    name="loongarch64",
    title="LoongArch64",
    psabi="LoongArch ELF psABI 2.50",
    machine=258,
    bits=64,
    prefix="R_LARCH_",
    dwarf_stack_pointer=3,
    elftools_name="LOONGARCH",
    relocations=RELOCATIONS,
    tls=Tls(
        TlsVariant.I,
        tcb_size=0,
        descriptor_stub=bytes.fromhex("8420c028 2000004c"),  # ld.d a0, a0, 8; ret
        # ld.d a0, a0, 8; sub.d a0, a0, tp; ret
        undefined_descriptor_stub=bytes.fromhex("8420c028 84881100 2000004c"),
        descriptor_register="a0",
        descriptor_link="ra",
    ),
    image_base=0x40_0000_0000,
    library_names=("lib/loongarch64-linux-gnu", "lib64", "lib"),
    multiarch="loongarch64-linux-gnu",
    aliases=("loong64", "la64", "loongarch", "loong"),
    platform="loongarch64",
    # The PLT header passes the byte offset of the jump slot in t1 and the link map in t0.
    plt=Plt(link_map_word=1, resolver_word=0, at="t1", divisor=8),
    nops=(NOP,),
    alignment=Alignment(alignment_request),
    stub=STUB,
    detours=(Detour(bytes.fromhex("00000050"), OFFS_26, 0, 0, STUB),),  # b
    branch_reach=1 << 27,
    flags_problem=flags_problem,
    plain_flags=0x43,  # object ABI v1, double-precision floating-point ABI
    float_abi=float_abi,
    runs_init_fini=False,
)

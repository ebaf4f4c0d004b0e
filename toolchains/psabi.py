"""The names of relocation types, static and dynamic, as each psABI spells them.

They are independent of `relink.arch`, which the fixtures test: the names come from pyelftools, completed and
corrected here from the psABIs.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from elftools.elf import enums


def _rows(prefix: str, text: str, first: int) -> dict[int, str]:
    """Consecutive numbers for the words of `text`; `-` leaves a number out."""
    return {number: f"{prefix}_{word}" for number, word in enumerate(text.split(), first) if word != "-"}


# RISC-V ELF psABI 1.0, "Relocations".
_RISCV = {
    **_rows(
        "R_RISCV",
        """NONE 32 64 RELATIVE COPY JUMP_SLOT TLS_DTPMOD32 TLS_DTPMOD64 TLS_DTPREL32 TLS_DTPREL64
        TLS_TPREL32 TLS_TPREL64 TLSDESC""",
        0,
    ),
    **_rows(
        "R_RISCV",
        """BRANCH JAL CALL CALL_PLT GOT_HI20 TLS_GOT_HI20 TLS_GD_HI20 PCREL_HI20 PCREL_LO12_I
        PCREL_LO12_S HI20 LO12_I LO12_S TPREL_HI20 TPREL_LO12_I TPREL_LO12_S TPREL_ADD ADD8 ADD16 ADD32 ADD64
        SUB8 SUB16 SUB32 SUB64 GOT32_PCREL - ALIGN RVC_BRANCH RVC_JUMP RVC_LUI""",
        16,
    ),
    **_rows(
        "R_RISCV",
        """RELAX SUB6 SET6 SET8 SET16 SET32 32_PCREL IRELATIVE PLT32 SET_ULEB128 SUB_ULEB128
        TLSDESC_HI20 TLSDESC_LOAD_LO12 TLSDESC_ADD_LO12 TLSDESC_CALL""",
        51,
    ),
}
# ELF for the Arm 64-bit Architecture 2024Q3, "Relocation": TLS descriptors, and the dynamic ones.
_AARCH64 = {
    0: "R_AARCH64_NONE",
    299: "R_AARCH64_LDST128_ABS_LO12_NC",
    313: "R_AARCH64_LD64_GOTPAGE_LO15",
    314: "R_AARCH64_PLT32",
    315: "R_AARCH64_GOTPCREL32",
    **_rows(
        "R_AARCH64",
        """TLSDESC_LD_PREL19 TLSDESC_ADR_PREL21 TLSDESC_ADR_PAGE21 TLSDESC_LD64_LO12
        TLSDESC_ADD_LO12 TLSDESC_OFF_G1 TLSDESC_OFF_G0_NC TLSDESC_LDR TLSDESC_ADD TLSDESC_CALL
        TLSLE_LDST128_TPREL_LO12 TLSLE_LDST128_TPREL_LO12_NC TLSLD_LDST128_DTPREL_LO12
        TLSLD_LDST128_DTPREL_LO12_NC""",
        560,
    ),
    **_rows("R_AARCH64", "TLS_DTPMOD TLS_DTPREL TLS_TPREL TLSDESC IRELATIVE", 1028),
}
# ELF for the Arm Architecture 2024Q3, "Relocation".
_ARM = {
    11: "R_ARM_THM_PC8",
    13: "R_ARM_TLS_DESC",
    **_rows("R_ARM", "TLS_GOTDESC TLS_CALL TLS_DESCSEQ THM_TLS_CALL", 90),
    **_rows(
        "R_ARM",
        """THM_TLS_DESCSEQ16 THM_TLS_DESCSEQ32 THM_GOT_BREL12 THM_ALU_ABS_G0_NC THM_ALU_ABS_G1_NC
        THM_ALU_ABS_G2_NC THM_ALU_ABS_G3 THM_BF16 THM_BF12 THM_BF18""",
        129,
    ),
    160: "R_ARM_IRELATIVE",
}
# System V ABI AMD64 1.0 and i386 1.1, "Relocation Types".
_X86_64 = {
    **_rows("R_X86_64", "SIZE32 SIZE64", 32),
    **_rows(
        "R_X86_64",
        """GOTPCRELX REX_GOTPCRELX CODE_4_GOTPCRELX CODE_4_GOTTPOFF CODE_4_GOTPC32_TLSDESC
        CODE_5_GOTPCRELX CODE_5_GOTTPOFF CODE_5_GOTPC32_TLSDESC CODE_6_GOTPCRELX CODE_6_GOTTPOFF
        CODE_6_GOTPC32_TLSDESC""",
        41,
    ),
}
_I386 = {38: "R_386_SIZE32", 43: "R_386_GOT32X"}
# LoongArch ELF psABI 2.30, "Relocations".
_LARCH = _rows(
    "R_LARCH",
    """CALL36 TLS_DESC_PC_HI20 TLS_DESC_PC_LO12 TLS_DESC64_PC_LO20 TLS_DESC64_PC_HI12
    TLS_DESC_HI20 TLS_DESC_LO12 TLS_DESC64_LO20 TLS_DESC64_HI12 TLS_DESC_LD TLS_DESC_CALL TLS_LE_HI20_R
    TLS_LE_ADD_R TLS_LE_LO12_R TLS_LD_PCREL20_S2 TLS_GD_PCREL20_S2 TLS_DESC_PCREL20_S2""",
    110,
)
_LARCH |= {13: "R_LARCH_TLS_DESC32", 14: "R_LARCH_TLS_DESC64"}


def _elftools(table: Mapping[str, object]) -> dict[int, str]:
    return {number: name for name, number in table.items() if isinstance(number, int) and name.startswith("R_")}


_KNOWN: Mapping[str, tuple[Mapping[str, object], Mapping[int, str]]] = {
    "x86_64": (enums.ENUM_RELOC_TYPE_x64, _X86_64),
    "i386": (enums.ENUM_RELOC_TYPE_i386, _I386),
    "aarch64": (enums.ENUM_RELOC_TYPE_AARCH64, _AARCH64),
    "arm": (enums.ENUM_RELOC_TYPE_ARM, _ARM),
    "riscv64": ({}, _RISCV),
    "riscv32": ({}, _RISCV),
    "loongarch64": (enums.ENUM_RELOC_TYPE_LOONGARCH, _LARCH),
}


@cache
def relocation_names(arch: str) -> Mapping[int, str]:
    """The psABI's name of each relocation number of `arch` (a canonical name), `R_<ARCH>_` included."""
    library, corrections = _KNOWN[arch]
    return {**_elftools(library), **corrections}


def relocation_name(arch: str, number: int) -> str:
    """The psABI's name, or `type N` for a number it does not list."""
    return relocation_names(arch).get(number, f"type {number}")

"""Which static relocation types each object fixture is there for, as the psABIs name them without prefix.

They are asserted after each build. Keys are those of a recipe's `…_on` mappings: a target, or a target with a
compiler where gcc and clang reach the same end by other types.
"""

from __future__ import annotations

from collections.abc import Mapping

from toolchains.recipe import ARM, LOONGARCH, RISCV, On


def _each(targets: tuple[str, ...], *types: str) -> On:
    return dict.fromkeys(targets, types)


_CALL: On = {
    "x86_64": ("PLT32",),
    "i386": ("PLT32",),
    "aarch64": ("CALL26", "JUMP26"),
    "arm": ("CALL", "JUMP24"),
    "thumb": ("THM_CALL", "THM_JUMP24"),
    **_each(RISCV, "CALL_PLT"),
    "loongarch64-clang": ("CALL36",),
    "loongarch64-gcc": ("B26",),
}
_GOT: On = {
    "x86_64": ("REX_GOTPCRELX",),
    "i386": ("GOT32X", "GOTPC"),
    "aarch64": ("ADR_GOT_PAGE", "LD64_GOT_LO12_NC"),
    **{f"{name}-clang": ("GOT_PREL",) for name in ARM},
    **{f"{name}-gcc": ("GOT_BREL", "BASE_PREL") for name in ARM},
    **_each(RISCV, "GOT_HI20", "PCREL_LO12_I"),
    "loongarch64": ("GOT_PC_HI20", "GOT_PC_LO12"),
}
_WORD: On = {
    "x86_64": ("64",),
    "i386": ("32",),
    "aarch64": ("ABS64",),
    **_each(ARM, "ABS32"),
    "riscv64": ("64",),
    "riscv32": ("32",),
    "loongarch64": ("64",),
}
_LARGE: On = {"x86_64": ("64", "GOT64", "GOTPC64")}
_ABSOLUTE: On = {
    "x86_64": ("32", "32S", "64"),
    "i386": ("32", "PC32"),
    "aarch64": ("ADR_PREL_PG_HI21", "LDST32_ABS_LO12_NC"),
    "arm": ("MOVW_ABS_NC", "MOVT_ABS"),
    "thumb": ("THM_MOVW_ABS_NC", "THM_MOVT_ABS"),
    **_each(RISCV, "HI20", "LO12_I", "LO12_S"),
    "loongarch64": ("PCALA_HI20", "PCALA_LO12"),
}
_RELAX = (*RISCV, *LOONGARCH)

HOLDS: Mapping[str, On] = {
    "pic/basic": _GOT,
    "pic/calls": _CALL,
    "pic/data": _WORD,
    "nopic/data": _WORD,
    "nopic/basic": _ABSOLUTE,
    "sections": _CALL,
    "commons": _GOT,
    "comdat_a": _WORD,
    "comdat_b": _WORD,
    "ctors": {**_WORD, **_each(ARM), **{f"{name}-clang": ("TARGET1",) for name in ARM}},
    "unwind": {
        "x86_64": ("PC32",),
        "i386": ("PC32",),
        "aarch64": ("PREL32",),
        **_each(ARM, "PREL31", "NONE"),
        **_each(_RELAX, "32_PCREL", "ADD32", "SUB32"),
    },
    "debug": {
        "x86_64": ("32", "64"),
        "aarch64": ("ABS32", "ABS64"),
        **_each(RISCV, "SET_ULEB128", "SUB_ULEB128"),
        "loongarch64": ("ADD_ULEB128", "SUB_ULEB128"),
    },
    "no_plt": {"x86_64": ("GOTPCRELX",), "i386": ("GOT32X",)},
    "long_calls": {"arm": ("MOVW_ABS_NC",), "thumb": ("THM_MOVW_ABS_NC",)},
    "tiny/basic": {"aarch64": ("ADR_PREL_LO21",)},
    "tiny/calls": {"aarch64": ("GOT_LD_PREL19",)},
    "small_pic/basic": {"aarch64-gcc": ("LD64_GOTPAGE_LO15",)},
    "kernel/basic": {"x86_64": ("32S",)},
    "large/basic": _LARGE,
    "large_absolute/basic": {"x86_64": ("64",), "aarch64-clang": ("MOVW_UABS_G3", "MOVW_UABS_G0_NC")},
    "medium/basic": {"loongarch64": ("CALL36",)},
    "normal/basic": {"loongarch64": ("B26",)},
    "extreme/basic": {"loongarch64": ("PCALA64_LO20", "PCALA64_HI12", "GOT64_PC_LO20", "GOT64_PC_HI12")},
    "medlow/basic": _each(RISCV, "HI20", "LO12_I"),
    "medany/basic": _each(RISCV, "PCREL_HI20", "PCREL_LO12_S"),
    "tls/general_dynamic": {
        "x86_64": ("TLSGD",),
        "i386": ("TLS_GD",),
        "aarch64": ("TLSGD_ADR_PAGE21", "TLSGD_ADD_LO12_NC"),
        **_each(ARM, "TLS_GD32"),
        **_each(RISCV, "TLS_GD_HI20"),
        "loongarch64": ("TLS_GD_PC_HI20",),
    },
    "tls/local_dynamic": {
        "x86_64": ("TLSLD", "DTPOFF32"),
        "i386": ("TLS_LDM", "TLS_LDO_32"),
        "loongarch64": ("TLS_LD_PC_HI20",),
        **{f"{name}-gcc": ("TLS_LDM32", "TLS_LDO32") for name in ARM},
    },
    "tls/initial_exec": {
        "x86_64": ("GOTTPOFF",),
        "i386": ("TLS_GOTIE",),
        "aarch64": ("TLSIE_ADR_GOTTPREL_PAGE21",),
        **_each(ARM, "TLS_IE32"),
        **_each(RISCV, "TLS_GOT_HI20"),
        "loongarch64": ("TLS_IE_PC_HI20",),
    },
    "tls/initial_exec_nopic": {"i386": ("TLS_IE",)},
    "tls/local_exec": {
        "x86_64": ("TPOFF32",),
        "i386": ("TLS_LE",),
        "aarch64": ("TLSLE_ADD_TPREL_HI12",),
        **_each(ARM, "TLS_LE32"),
        **_each(RISCV, "TPREL_HI20", "TPREL_ADD", "TPREL_LO12_I", "TPREL_LO12_S"),
        "loongarch64": ("TLS_LE_HI20_R", "TLS_LE_ADD_R", "TLS_LE_LO12_R"),
    },
    "tls/descriptors": {
        "x86_64": ("GOTPC32_TLSDESC", "TLSDESC_CALL"),
        "i386": ("TLS_GOTDESC", "TLS_DESC_CALL"),
        "aarch64": ("TLSDESC_ADR_PAGE21", "TLSDESC_LD64_LO12", "TLSDESC_ADD_LO12", "TLSDESC_CALL"),
        **_each(ARM, "TLS_GOTDESC"),
        "arm-gcc": ("TLS_CALL",),
        "thumb-gcc": ("THM_TLS_CALL",),
        **_each(RISCV, "TLSDESC_HI20", "TLSDESC_LOAD_LO12", "TLSDESC_ADD_LO12", "TLSDESC_CALL"),
        "loongarch64": ("TLS_DESC_PC_HI20", "TLS_DESC_PC_LO12", "TLS_DESC_LD", "TLS_DESC_CALL"),
    },
    "tls/size12": {"aarch64": ("TLSLE_ADD_TPREL_LO12",)},
    "tls/size48": {"aarch64": ("TLSLE_MOVW_TPREL_G2", "TLSLE_MOVW_TPREL_G1_NC", "TLSLE_MOVW_TPREL_G0_NC")},
    "tls/tiny_initial_exec": {"aarch64": ("TLSIE_LD_GOTTPREL_PREL19",)},
    "tls/instructions": {
        "aarch64": (
            *(
                f"TLS{model}_LDST{bits}_{kind}_LO12{check}"
                for model, kind in (("LE", "TPREL"), ("LD", "DTPREL"))
                for bits in (8, 16, 32, 64)
                for check in ("", "_NC")
            ),
            *(f"TLSLD_MOVW_DTPREL_{part}" for part in ("G0", "G0_NC", "G1", "G1_NC", "G2")),
            "TLSLE_MOVW_TPREL_G1",
            "TLSLD_ADD_DTPREL_HI12",
        ),
        "aarch64-gcc": (
            "TLSLD_ADR_PAGE21",
            "TLSLD_ADR_PREL21",
            "TLSLD_ADD_LO12_NC",
            "TLSGD_ADR_PREL21",
            "TLSDESC_ADR_PREL21",
            "TLSDESC_LD_PREL19",
        ),
    },
    "tls/extreme_initial_exec": {"loongarch64": ("TLS_IE64_PC_LO20", "TLS_IE64_PC_HI12")},
    "tls/extreme_descriptors": {"loongarch64": ("TLS_DESC64_PC_LO20", "TLS_DESC64_PC_HI12")},
    "words": {
        "x86_64": (
            "8",
            "16",
            "32",
            "64",
            "PC8",
            "PC16",
            "PC32",
            "PC64",
            "GOT32",
            "GOT64",
            "GOTOFF64",
            "GOTPCREL",
            "PLT32",
            "SIZE32",
            "SIZE64",
        ),
        "x86_64-gcc": ("GOTPC32", "GOTPC64"),
        "i386": ("8", "16", "32", "PC8", "PC16", "PC32", "GOT32", "GOTOFF", "PLT32"),
        "i386-gcc": ("SIZE32",),
        "aarch64": ("ABS16", "ABS32", "ABS64", "PREL16", "PREL32", "PREL64"),
        **_each(ARM, "ABS8", "ABS16", "ABS32", "REL32", "GOT_BREL", "GOTOFF32", "GOT_PREL", "TARGET1", "TARGET2"),
        **_each(_RELAX, "ADD8", "ADD16", "ADD32", "SUB8", "SUB16", "SUB32", "SUB_ULEB128"),
        **{f"{name}-clang": ("PLT32", "GOT32_PCREL", "SET16", "SET32") for name in RISCV},
        "riscv32-gcc": ("SET16", "SET32"),
        "riscv64-gcc": ("SET16", "SET32", "ADD64", "SUB64", "32_PCREL"),
        "loongarch64-gcc": ("ADD64", "SUB64", "ADD_ULEB128"),
    },
    "branches": {
        "x86_64": ("64", "PC32", "PLT32", "GOTPCRELX", "REX_GOTPCRELX"),
        "i386": ("32", "PC32", "GOT32X", "GOTOFF"),
        "aarch64": (
            "CONDBR19",
            "TSTBR14",
            "CALL26",
            "JUMP26",
            "ADR_PREL_LO21",
            "ADR_PREL_PG_HI21",
            "ADR_PREL_PG_HI21_NC",
            "LD_PREL_LO19",
            "ADR_GOT_PAGE",
            *(f"LDST{bits}_ABS_LO12_NC" for bits in (8, 16, 32, 64, 128)),
            *(f"MOVW_UABS_G{part}" for part in (0, 1, 2, 3)),
            *(f"MOVW_SABS_G{part}" for part in (0, 1, 2)),
            *(f"MOVW_PREL_G{part}_NC" for part in (0, 1, 2)),
            "MOVW_PREL_G3",
        ),
        "arm": ("CALL", "JUMP24", "MOVW_ABS_NC", "MOVT_ABS", "MOVW_PREL_NC", "MOVT_PREL"),
        "thumb": ("THM_CALL", "THM_JUMP24", "THM_JUMP19", "THM_MOVW_ABS_NC", "THM_MOVT_ABS", "THM_MOVW_PREL_NC"),
        "thumb-gcc": ("THM_JUMP11", "THM_JUMP8"),  # clang widens the branches
        **_each(RISCV, "JAL", "CALL", "CALL_PLT", "HI20", "LO12_I", "LO12_S", "PCREL_LO12_S", "GOT_HI20", "ALIGN"),
        "loongarch64": (
            "B16",
            "B21",
            "B26",
            "CALL36",
            "PCALA_HI20",
            "ABS_HI20",
            "ABS64_HI12",
            "PCREL20_S2",
            "GOT_HI20",
            "GOT64_HI12",
        ),
    },
}

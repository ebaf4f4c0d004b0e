"""LoongArch64 (LA64, lp64d).

ELF for the LoongArch Architecture (laelf, release 2.40 / LoongArch ABI v2.50), section "Relocations".

RELA throughout. What is odd: as on RISC-V there is no GLOB_DAT, a GOT entry gets the plain word type 64; the
descriptor types were added late (13 and 14) and a descriptor call returns through ra, like any call. TLS is
variant I with nothing between the thread pointer and the first block, and no dtv bias.
"""

from __future__ import annotations

from relink.arch.spec import NONE, Architecture, Reloc, Role, Tls, TlsVariant, reloc
from relink.fields import signed32, word32, word64

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
    14: reloc("TLS_DESC64", "S + A + T", word64, Role.TLSDESC),
    99: reloc("32_PCREL", "S + A - P", signed32),
    109: reloc("64_PCREL", "S + A - P", word64),
}

EF_LOONGARCH_ABI_MODIFIER_MASK = 0x7
EF_LOONGARCH_ABI_DOUBLE_FLOAT = 0x3
_FLOAT_ABIS = {0x1: "soft-float", 0x2: "single-float"}


def flags_problem(flags: int) -> str | None:
    """laelf, "e_flags": which base ABIs cannot be linked here."""
    if (modifier := flags & EF_LOONGARCH_ABI_MODIFIER_MASK) != EF_LOONGARCH_ABI_DOUBLE_FLOAT:
        name = _FLOAT_ABIS.get(modifier, f"unknown (modifier {modifier})")
        return f"the {name} calling convention; only the double-float one is supported"
    return None


LOONGARCH64 = Architecture(
    name="loongarch64",
    title="LoongArch64",
    psabi="LoongArch ELF psABI 2.50",
    machine=258,
    bits=64,
    prefix="R_LARCH_",
    relocations=RELOCATIONS,
    tls=Tls(
        TlsVariant.I,
        tcb_size=0,
        descriptor_stub=bytes.fromhex("8420c028 2000004c"),  # ld.d a0, a0, 8; ret
        # ld.d a0, a0, 8; sub.d a0, a0, tp; ret
        undefined_descriptor_stub=bytes.fromhex("8420c028 84881100 2000004c"),
    ),
    image_base=0x40_0000_0000,
    library_names=("lib/loongarch64-linux-gnu", "lib64", "lib"),
    multiarch="loongarch64-linux-gnu",
    aliases=("loong64", "la64", "loongarch", "loong"),
    platform="loongarch64",
    flags_problem=flags_problem,
    runs_init_fini=False,
)

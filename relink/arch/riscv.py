"""RISC-V, 64 and 32 bit: one psABI, one page.

RISC-V ELF Specification (riscv-elf-psabi-doc 1.0 and its TLS descriptor addition), section "Relocations";
the calling conventions assumed are lp64d and ilp32d.

RELA throughout. What is odd: there is no GLOB_DAT, a GOT entry gets the plain word type (32 or 64); types
exist in a 32- and a 64-bit numbering of which a dynamic linker sees its own width; stored TLS offsets are
biased (TLS_DTV_OFFSET = 0x800) so that 12-bit immediates reach twice as far. TLS is variant I with nothing
between the thread pointer and the first block: the TCB lies below.
"""

from __future__ import annotations

from relink.arch.spec import NONE, Architecture, Reloc, Role, Tls, TlsVariant, reloc
from relink.fields import Word, address32, signed32, word32, word64


def _relocations(own: Word) -> dict[int, Reloc]:
    """The table; `own` is the ISA's word, which the psABI calls wordclass."""
    narrow = own if own.size == 4 else word32
    return {
        0: NONE,
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
        57: reloc("32_PCREL", "S + A - P", address32 if own.size == 4 else signed32),
        58: reloc("IRELATIVE", "B + A", own, Role.IRELATIVE),
    }


#: What only a static linker meets, by number (42 and 46…50 are reserved).
_STATIC = """
16 BRANCH JAL CALL CALL_PLT GOT_HI20 TLS_GOT_HI20 TLS_GD_HI20 PCREL_HI20 PCREL_LO12_I PCREL_LO12_S
26 HI20 LO12_I LO12_S TPREL_HI20 TPREL_LO12_I TPREL_LO12_S TPREL_ADD
33 ADD8 ADD16 ADD32 ADD64 SUB8 SUB16 SUB32 SUB64 GOT32_PCREL
43 ALIGN RVC_BRANCH RVC_JUMP
51 RELAX SUB6 SET6 SET8 SET16 SET32
59 PLT32 SET_ULEB128 SUB_ULEB128 TLSDESC_HI20 TLSDESC_LOAD_LO12 TLSDESC_ADD_LO12 TLSDESC_CALL
"""
STATIC_NAMES = {
    int(first) + place: name
    for first, *names in map(str.split, _STATIC.strip().splitlines())
    for place, name in enumerate(names)
}

EF_RISCV_FLOAT_ABI = 0x6
EF_RISCV_FLOAT_ABI_DOUBLE = 0x4
EF_RISCV_RVE = 0x8
_FLOAT_ABIS = {0x0: "soft-float", 0x2: "single-float", 0x6: "quad-float"}


def flags_problem(flags: int) -> str | None:
    """RISC-V ELF Specification, "File Header": which e_flags cannot be linked here."""
    if flags & EF_RISCV_RVE:
        return "the RVE calling convention is not supported"
    if (float_abi := flags & EF_RISCV_FLOAT_ABI) != EF_RISCV_FLOAT_ABI_DOUBLE:
        return f"the {_FLOAT_ABIS[float_abi]} calling convention; only the double-float one is supported"
    return None


RISCV64 = Architecture(
    name="riscv64",
    title="RISC-V 64",
    psabi="RISC-V ELF psABI 1.0",
    machine=243,
    bits=64,
    prefix="R_RISCV_",
    relocations=_relocations(word64),
    tls=Tls(
        TlsVariant.I,
        tcb_size=0,
        dtv_bias=0x800,
        descriptor_stub=bytes.fromhex("03358500 67800200"),  # ld a0, 8(a0); jr t0
        # ld a0, 8(a0); sub a0, a0, tp; jr t0
        undefined_descriptor_stub=bytes.fromhex("03358500 33054540 67800200"),
    ),
    image_base=0x40_0000_0000,
    library_names=("lib/riscv64-linux-gnu", "lib64/lp64d", "lib64", "lib"),
    multiarch="riscv64-linux-gnu",
    aliases=("rv64", "rv64gc", "riscv64gc", "riscv"),
    flags_problem=flags_problem,
    static_names=STATIC_NAMES,
    runs_init_fini=False,
)

RISCV32 = Architecture(
    name="riscv32",
    title="RISC-V 32",
    psabi="RISC-V ELF psABI 1.0",
    machine=243,
    bits=32,
    prefix="R_RISCV_",
    relocations=_relocations(address32),
    tls=Tls(
        TlsVariant.I,
        tcb_size=0,
        dtv_bias=0x800,
        descriptor_stub=bytes.fromhex("03254500 67800200"),  # lw a0, 4(a0); jr t0
        # lw a0, 4(a0); sub a0, a0, tp; jr t0
        undefined_descriptor_stub=bytes.fromhex("03254500 33054540 67800200"),
    ),
    image_base=0x4000_0000,
    library_names=("lib/riscv32-linux-gnu", "lib32/ilp32d", "lib"),
    multiarch="riscv32-linux-gnu",
    aliases=("rv32", "rv32gc", "riscv32gc"),
    flags_problem=flags_problem,
    static_names=STATIC_NAMES,
    runs_init_fini=False,
)

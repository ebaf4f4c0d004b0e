"""The LSX instructions: those of the CPU's tables, and those its SLEIGH specification does by itself.

An operand is a letter and a place: `Vd`, `Vj`, `Vk`, `Va` vector registers, `Rd`, `Rj`, `Rk` integer ones, `Cd` a
condition flag (at bits 0, 5, 10, 15), `u3@10` and `i9@10` immediates of so many bits at bit 10. Memory is `Rj`
with what follows.
"""

from __future__ import annotations

from dataclasses import dataclass

from emu.cpu.loongarch64.lsx import Instruction, instructions, members

NATIVE = """
vld 2c000000 Vd Rj i12@10|vst 2c400000 Vd Rj i12@10|vldx 38400000 Vd Rj Rk|vstx 38440000 Vd Rj Rk
vldrepl.b 30800000 Vd Rj i12@10|vldrepl.h 30400000 Vd Rj i11@10|vldrepl.w 30200000 Vd Rj i10@10
vldrepl.d 30100000 Vd Rj i9@10
vstelm.b 31800000 Vd Rj i8@10 u4@18|vstelm.h 31400000 Vd Rj i8@10 u3@18|vstelm.w 31200000 Vd Rj i8@10 u2@18
vstelm.d 31100000 Vd Rj i8@10 u1@18
vldi 73e00000 Vd i13@5
vreplgr2vr.b 729f0000 Vd Rj|vreplgr2vr.h 729f0400 Vd Rj|vreplgr2vr.w 729f0800 Vd Rj|vreplgr2vr.d 729f0c00 Vd Rj
vinsgr2vr.b 72eb8000 Vd Rj u4@10|vinsgr2vr.h 72ebc000 Vd Rj u3@10|vinsgr2vr.w 72ebe000 Vd Rj u2@10
vinsgr2vr.d 72ebf000 Vd Rj u1@10
vpickve2gr.b 72ef8000 Rd Vj u4@10|vpickve2gr.h 72efc000 Rd Vj u3@10|vpickve2gr.w 72efe000 Rd Vj u2@10
vpickve2gr.d 72eff000 Rd Vj u1@10
vpickve2gr.bu 72f38000 Rd Vj u4@10|vpickve2gr.hu 72f3c000 Rd Vj u3@10|vpickve2gr.wu 72f3e000 Rd Vj u2@10
vpickve2gr.du 72f3f000 Rd Vj u1@10
vreplve.b 71220000 Vd Vj Rk|vreplve.h 71228000 Vd Vj Rk|vreplve.w 71230000 Vd Vj Rk|vreplve.d 71238000 Vd Vj Rk
vreplvei.b 72f78000 Vd Vj u4@10|vreplvei.h 72f7c000 Vd Vj u3@10|vreplvei.w 72f7e000 Vd Vj u2@10
vreplvei.d 72f7f000 Vd Vj u1@10
vand.v 71260000 Vd Vj Vk|vor.v 71268000 Vd Vj Vk|vxor.v 71270000 Vd Vj Vk|vnor.v 71278000 Vd Vj Vk
vandn.v 71280000 Vd Vj Vk|vorn.v 71288000 Vd Vj Vk
vandi.b 73d00000 Vd Vj u8@10|vori.b 73d40000 Vd Vj u8@10|vxori.b 73d80000 Vd Vj u8@10
vnori.b 73dc0000 Vd Vj u8@10|vbitseli.b 73c40000 Vd Vj u8@10|vbitsel.v 0d100000 Vd Vj Vk Va
vbsll.v 728e0000 Vd Vj u5@10|vbsrl.v 728e8000 Vd Vj u5@10
vseteqz.v 729c9800 Cd Vj|vsetnez.v 729c9c00 Cd Vj
vsetanyeqz.b 729ca000 Cd Vj|vsetanyeqz.h 729ca400 Cd Vj|vsetanyeqz.w 729ca800 Cd Vj|vsetanyeqz.d 729cac00 Cd Vj
vsetallnez.b 729cb000 Cd Vj|vsetallnez.h 729cb400 Cd Vj|vsetallnez.w 729cb800 Cd Vj|vsetallnez.d 729cbc00 Cd Vj
"""

#: Families that p-code does, in the form of the CPU's tables.
NATIVE_FAMILIES = """
vseq jk S:70000000 -
vsle jk S:70020000 U:70040000 -
vslt jk S:70060000 U:70080000 -
vseqi i5 S:72800000 -
vslei i5 S:72820000 -
vslei u5 U:72840000 -
vslti i5 S:72860000 -
vslti u5 U:72880000 -
vadd jk S:700a0000 -
vsub jk S:700c0000 -
vaddi u5 U:728a0000 -
vsubi u5 U:728c0000 -
vmax jk S:70700000 U:70740000 -
vmin jk S:70720000 U:70760000 -
vexth j WIDEN:729ee000 UWIDENU:729ef000 -
vsllwil us WIDEN:73080000 UWIDENU:730c0000 -
vslli us S:732c0000 -
vsrli us S:73300000 -
vsrai us S:73340000 -
vrotri us S:72a00000 -
vpackev jk S:71160000 -
vpackod jk S:71180000 -
vpickev jk S:711e0000 -
vpickod jk S:71200000 -
vilvl jk S:711a0000 -
vilvh jk S:711c0000 -
vshuf jka b:0d500000 -
vshuf jk h:717a8000 w:717b0000 -
vshuf4i u8 h:73940000 w:73980000 -
"""

#: Conditions of vfcmp, whose code is the same as fcmp's: 1 signaling, above it the set of conditions.
CONDITIONS = {0: "af", 2: "lt", 4: "eq", 6: "le", 8: "un", 10: "ult", 12: "ueq", 14: "ule", 16: "ne", 20: "or",
              24: "une"}  # fmt: skip

_OPERANDS = {
    "jk": ("Vd", "Vj", "Vk"), "jka": ("Vd", "Vj", "Vk", "Va"), "jkc": ("Vd", "Vj", "Vk"), "j": ("Vd", "Vj"),
    "jv": ("Vd", "Vj"), "u5": ("Vd", "Vj", "u5@10"), "i5": ("Vd", "Vj", "i5@10"), "u8": ("Vd", "Vj", "u8@10"),
}  # fmt: skip


@dataclass(frozen=True)
class VectorOpcode:
    """One instruction: `word` has every operand field zero. `source` is the kind of number its lanes hold."""

    name: str
    word: int
    operands: tuple[str, ...]
    source: str = "i"
    raises: bool = False

    @property
    def memory(self) -> bool:
        return self.name.startswith(("vld", "vst")) and self.name != "vldi"


def _native() -> list[VectorOpcode]:
    rows = (entry.split() for line in NATIVE.split("\n") for entry in line.split("|") if entry)
    return [VectorOpcode(name, int(word, 16), tuple(operands)) for name, word, *operands in rows]


def _of_tables(instruction: Instruction) -> list[VectorOpcode]:
    name, word = instruction.name, instruction.word
    kind = name.split(".")[-1]
    source = kind if (instruction.floats and kind in ("h", "s", "d")) or name.startswith("vfclass") else "i"
    if instruction.operands == "jkc":
        return [
            VectorOpcode(
                name.replace("vfcmp", f"vfcmp.{'cs'[quiet]}{condition}"),
                word | code + quiet << 15,
                _OPERANDS["jkc"],
                source,
                raises=True,
            )
            for code, condition in CONDITIONS.items()
            for quiet in (0, 1)
        ]
    if instruction.operands == "us":
        bits = instruction.sources[0].bits
        operands: tuple[str, ...] = ("Vd", "Vj", f"u{bits.bit_length() - 1}@10")
        if name.startswith("vsllwil.q"):
            name, operands = name.replace("vsllwil", "vextl"), ("Vd", "Vj")
        return [VectorOpcode(name, word, operands, source)]
    return [VectorOpcode(name, word, _OPERANDS[instruction.operands], source, raises=instruction.floats)]


OPCODES: tuple[VectorOpcode, ...] = (
    *_native(),
    *(
        opcode
        for instruction in (*members(NATIVE_FAMILIES, floats=False), *instructions())
        for opcode in _of_tables(instruction)
    ),
)
assert len({opcode.name for opcode in OPCODES}) == len(OPCODES)

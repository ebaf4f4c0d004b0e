"""LoongArch64's user-mode instructions: name, opcode, operands, one a line.

Facts of the LoongArch Reference Manual volume 1 (appendix B). The operands, with their lowest bit:

    d j k      integer registers at bits 0, 5, 10        D J K A    floating-point registers at 0, 5, 10, 15
    cd cj ca   condition flags at 0, 5, 15               hint code  ignored fields at 0 (5 and 15 bits)
    u2 u3      at 15     u5 u6 u12  at 10                i12 i14 i16 at 10    i20 at 5
    bw bd      a bit string: lsb at 10, msb at 16 (5 or 6 bits each)
    m12 m14    base register at 5 and an offset at 10    mx         base at 5 and index at 10    m0  base at 5
"""

from __future__ import annotations

from dataclasses import dataclass

INTEGER = """
clo.w 00001000 d j|clz.w 00001400 d j|cto.w 00001800 d j|ctz.w 00001c00 d j
clo.d 00002000 d j|clz.d 00002400 d j|cto.d 00002800 d j|ctz.d 00002c00 d j
revb.2h 00003000 d j|revb.4h 00003400 d j|revb.2w 00003800 d j|revb.d 00003c00 d j
revh.2w 00004000 d j|revh.d 00004400 d j
bitrev.4b 00004800 d j|bitrev.8b 00004c00 d j|bitrev.w 00005000 d j|bitrev.d 00005400 d j
ext.w.h 00005800 d j|ext.w.b 00005c00 d j
alsl.w 00040000 d j k u2|alsl.wu 00060000 d j k u2|alsl.d 002c0000 d j k u2
bytepick.w 00080000 d j k u2|bytepick.d 000c0000 d j k u3
add.w 00100000 d j k|add.d 00108000 d j k|sub.w 00110000 d j k|sub.d 00118000 d j k
slt 00120000 d j k|sltu 00128000 d j k|maskeqz 00130000 d j k|masknez 00138000 d j k
nor 00140000 d j k|and 00148000 d j k|or 00150000 d j k|xor 00158000 d j k
orn 00160000 d j k|andn 00168000 d j k
sll.w 00170000 d j k|srl.w 00178000 d j k|sra.w 00180000 d j k|sll.d 00188000 d j k
srl.d 00190000 d j k|sra.d 00198000 d j k|rotr.w 001b0000 d j k|rotr.d 001b8000 d j k
mul.w 001c0000 d j k|mulh.w 001c8000 d j k|mulh.wu 001d0000 d j k|mul.d 001d8000 d j k
mulh.d 001e0000 d j k|mulh.du 001e8000 d j k|mulw.d.w 001f0000 d j k|mulw.d.wu 001f8000 d j k
div.w 00200000 d j k|mod.w 00208000 d j k|div.wu 00210000 d j k|mod.wu 00218000 d j k
div.d 00220000 d j k|mod.d 00228000 d j k|div.du 00230000 d j k|mod.du 00238000 d j k
crc.w.b.w 00240000 d j k|crc.w.h.w 00248000 d j k|crc.w.w.w 00250000 d j k|crc.w.d.w 00258000 d j k
crcc.w.b.w 00260000 d j k|crcc.w.h.w 00268000 d j k|crcc.w.w.w 00270000 d j k|crcc.w.d.w 00278000 d j k
slli.w 00408000 d j u5|slli.d 00410000 d j u6|srli.w 00448000 d j u5|srli.d 00450000 d j u6
srai.w 00488000 d j u5|srai.d 00490000 d j u6|rotri.w 004c8000 d j u5|rotri.d 004d0000 d j u6
bstrins.w 00600000 d j bw|bstrpick.w 00608000 d j bw|bstrins.d 00800000 d j bd|bstrpick.d 00c00000 d j bd
slti 02000000 d j i12|sltui 02400000 d j i12|addi.w 02800000 d j i12|addi.d 02c00000 d j i12
lu52i.d 03000000 d j i12|andi 03400000 d j u12|ori 03800000 d j u12|xori 03c00000 d j u12
addu16i.d 10000000 d j i16|lu12i.w 14000000 d i20|lu32i.d 16000000 d i20
pcaddi 18000000 d i20|pcalau12i 1a000000 d i20|pcaddu12i 1c000000 d i20|pcaddu18i 1e000000 d i20
dbar 38720000 code|ibar 38728000 code|preld 2ac00000 hint m12|preldx 382c0000 hint mx
"""

MEMORY = """
ld.b 28000000 d m12|ld.h 28400000 d m12|ld.w 28800000 d m12|ld.d 28c00000 d m12
ld.bu 2a000000 d m12|ld.hu 2a400000 d m12|ld.wu 2a800000 d m12
st.b 29000000 d m12|st.h 29400000 d m12|st.w 29800000 d m12|st.d 29c00000 d m12
fld.s 2b000000 D m12|fst.s 2b400000 D m12|fld.d 2b800000 D m12|fst.d 2bc00000 D m12
ll.w 20000000 d m14|sc.w 21000000 d m14|ll.d 22000000 d m14|sc.d 23000000 d m14
ldptr.w 24000000 d m14|stptr.w 25000000 d m14|ldptr.d 26000000 d m14|stptr.d 27000000 d m14
ldx.b 38000000 d mx|ldx.h 38040000 d mx|ldx.w 38080000 d mx|ldx.d 380c0000 d mx
ldx.bu 38200000 d mx|ldx.hu 38240000 d mx|ldx.wu 38280000 d mx
stx.b 38100000 d mx|stx.h 38140000 d mx|stx.w 38180000 d mx|stx.d 381c0000 d mx
fldx.s 38300000 D mx|fldx.d 38340000 D mx|fstx.s 38380000 D mx|fstx.d 383c0000 D mx
amswap.w 38600000 d k m0|amswap.d 38608000 d k m0|amadd.w 38610000 d k m0|amadd.d 38618000 d k m0
amand.w 38620000 d k m0|amand.d 38628000 d k m0|amor.w 38630000 d k m0|amor.d 38638000 d k m0
amxor.w 38640000 d k m0|amxor.d 38648000 d k m0|ammax.w 38650000 d k m0|ammax.d 38658000 d k m0
ammin.w 38660000 d k m0|ammin.d 38668000 d k m0|ammax.wu 38670000 d k m0|ammax.du 38678000 d k m0
ammin.wu 38680000 d k m0|ammin.du 38688000 d k m0
amswap_db.w 38690000 d k m0|amswap_db.d 38698000 d k m0|amadd_db.w 386a0000 d k m0|amadd_db.d 386a8000 d k m0
amand_db.w 386b0000 d k m0|amand_db.d 386b8000 d k m0|amor_db.w 386c0000 d k m0|amor_db.d 386c8000 d k m0
amxor_db.w 386d0000 d k m0|amxor_db.d 386d8000 d k m0|ammax_db.w 386e0000 d k m0|ammax_db.d 386e8000 d k m0
ammin_db.w 386f0000 d k m0|ammin_db.d 386f8000 d k m0|ammax_db.wu 38700000 d k m0|ammax_db.du 38708000 d k m0
ammin_db.wu 38710000 d k m0|ammin_db.du 38718000 d k m0
"""

FLOAT = """
fadd.s 01008000 D J K|fadd.d 01010000 D J K|fsub.s 01028000 D J K|fsub.d 01030000 D J K
fmul.s 01048000 D J K|fmul.d 01050000 D J K|fdiv.s 01068000 D J K|fdiv.d 01070000 D J K
fmax.s 01088000 D J K|fmax.d 01090000 D J K|fmin.s 010a8000 D J K|fmin.d 010b0000 D J K
fmaxa.s 010c8000 D J K|fmaxa.d 010d0000 D J K|fmina.s 010e8000 D J K|fmina.d 010f0000 D J K
fscaleb.s 01108000 D J K|fscaleb.d 01110000 D J K|fcopysign.s 01128000 D J K|fcopysign.d 01130000 D J K
fabs.s 01140400 D J|fabs.d 01140800 D J|fneg.s 01141400 D J|fneg.d 01141800 D J
flogb.s 01142400 D J|flogb.d 01142800 D J|fclass.s 01143400 D J|fclass.d 01143800 D J
fsqrt.s 01144400 D J|fsqrt.d 01144800 D J|frecip.s 01145400 D J|frecip.d 01145800 D J
frsqrt.s 01146400 D J|frsqrt.d 01146800 D J|fmov.s 01149400 D J|fmov.d 01149800 D J
movgr2fr.w 0114a400 D j|movgr2fr.d 0114a800 D j|movgr2frh.w 0114ac00 D j
movfr2gr.s 0114b400 d J|movfr2gr.d 0114b800 d J|movfrh2gr.s 0114bc00 d J
movfr2cf 0114d000 cd J|movcf2fr 0114d400 D cj|movgr2cf 0114d800 cd j|movcf2gr 0114dc00 d cj
fcvt.s.d 01191800 D J|fcvt.d.s 01192400 D J
ftintrm.w.s 011a0400 D J|ftintrm.w.d 011a0800 D J|ftintrm.l.s 011a2400 D J|ftintrm.l.d 011a2800 D J
ftintrp.w.s 011a4400 D J|ftintrp.w.d 011a4800 D J|ftintrp.l.s 011a6400 D J|ftintrp.l.d 011a6800 D J
ftintrz.w.s 011a8400 D J|ftintrz.w.d 011a8800 D J|ftintrz.l.s 011aa400 D J|ftintrz.l.d 011aa800 D J
ftintrne.w.s 011ac400 D J|ftintrne.w.d 011ac800 D J|ftintrne.l.s 011ae400 D J|ftintrne.l.d 011ae800 D J
ftint.w.s 011b0400 D J|ftint.w.d 011b0800 D J|ftint.l.s 011b2400 D J|ftint.l.d 011b2800 D J
ffint.s.w 011d1000 D J|ffint.s.l 011d1800 D J|ffint.d.w 011d2000 D J|ffint.d.l 011d2800 D J
frint.s 011e4400 D J|frint.d 011e4800 D J
fmadd.s 08100000 D J K A|fmadd.d 08200000 D J K A|fmsub.s 08500000 D J K A|fmsub.d 08600000 D J K A
fnmadd.s 08900000 D J K A|fnmadd.d 08a00000 D J K A|fnmsub.s 08d00000 D J K A|fnmsub.d 08e00000 D J K A
fsel 0d000000 D J K ca
"""

#: fcmp's conditions; the odd code is the signaling one (s in place of c).
CONDITIONS = {0: "af", 2: "lt", 4: "eq", 6: "le", 8: "un", 10: "ult", 12: "ueq", 14: "ule", 16: "ne", 20: "or",
              24: "une"}  # fmt: skip


@dataclass(frozen=True)
class Opcode:
    """One instruction: `word` has every operand field zero."""

    name: str
    word: int
    operands: tuple[str, ...]

    @property
    def result_width(self) -> int:
        """Defined bits of a floating-point destination: the manual leaves the rest of the register undefined."""
        parts = self.name.split(".")
        if parts[0].startswith(("fcvt", "ffint", "ftint")):
            return 32 if parts[1] in ("s", "w") else 64
        return 32 if "D" in self.operands and parts[-1] in ("s", "w") and parts[0] != "movgr2frh" else 64

    @property
    def source(self) -> str:
        """What the floating-point operands hold: "s", "d", or "i" for integers."""
        parts = self.name.split(".")
        if parts[0] == "ffint" or not ({"J", "K"} & set(self.operands)) or parts[0].startswith("mov"):
            return "i"
        return parts[-1] if parts[-1] in ("s", "d") else "i"


def _parse(table: str) -> list[Opcode]:
    rows = (entry.split() for line in table.split("\n") for entry in line.split("|") if entry)
    return [Opcode(name, int(word, 16), tuple(operands)) for name, word, *operands in rows]


def _comparisons() -> list[Opcode]:
    return [
        Opcode(
            f"fcmp.{'cs'[signaling]}{name}.{'sd'[double]}",
            (0x0C200000 if double else 0x0C100000) | code + signaling << 15,
            ("cd", "J", "K"),
        )
        for double in (0, 1)
        for code, name in CONDITIONS.items()
        for signaling in (0, 1)
    ]


NON_FLOATING: tuple[Opcode, ...] = (*_parse(INTEGER), *_parse(MEMORY))
FLOATING: tuple[Opcode, ...] = (*_parse(FLOAT), *_comparisons())
OPCODES = NON_FLOATING + FLOATING
BY_NAME = {opcode.name: opcode for opcode in OPCODES}
assert len(BY_NAME) == len(OPCODES)

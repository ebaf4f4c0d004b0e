"""RISC-V instructions that capstone 5 does not know, as text: B, K, V, Zfh, Zicond, Zacas, Zabha, Zcb and others.

Source: RISC-V unprivileged ISA manual, the chapters of the extensions. This project's CPU refuses them
(docs/cpus.md), and a report names what was refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Final

_X: Final = (
    *"zero ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6".split(),
)
_OP, _OP_32, _OP_IMM, _OP_IMM_32 = 0x33, 0x3B, 0x13, 0x1B
_AMO, _FP, _V, _LOAD, _STORE = 0x2F, 0x53, 0x57, 0x07, 0x27

#: Bits 31 to 25 and 14 to 12, of register, register operations.
_REGISTERS: Final = """
0010000 010 sh1add    0010000 100 sh2add    0010000 110 sh3add    0100000 111 andn      0100000 110 orn
0100000 100 xnor      0000101 110 max       0000101 111 maxu      0000101 100 min       0000101 101 minu
0110000 001 rol       0110000 101 ror       0000101 001 clmul     0000101 010 clmulr    0000101 011 clmulh
0100100 001 bclr      0100100 101 bext      0110100 001 binv      0010100 001 bset      0000100 100 pack
0000100 111 packh     0010100 010 xperm4    0010100 100 xperm8    0000111 101 czero.eqz 0000111 111 czero.nez
0011101 000 aes64ds   0011111 000 aes64dsm  0011001 000 aes64es   0011011 000 aes64esm  0111111 000 aes64ks2
"""
_REGISTERS_32: Final = """
0000100 000 add.uw    0010000 010 sh1add.uw 0010000 100 sh2add.uw 0010000 110 sh3add.uw 0110000 001 rolw
0110000 101 rorw      0000100 100 packw
"""
#: Bits 31 to 20 and 14 to 12, of operations of one register.
_ONE: Final = """
600 001 clz     601 001 ctz     602 001 cpop    604 001 sext.b  605 001 sext.h  287 101 orc.b   6b8 101 rev8
698 101 rev8    687 101 brev8   08f 001 zip     08f 101 unzip   300 001 aes64im 100 001 sha256sum0
101 001 sha256sum1   102 001 sha256sig0   103 001 sha256sig1   104 001 sha512sum0   105 001 sha512sum1
106 001 sha512sig0   107 001 sha512sig1   108 001 sm3p0        109 001 sm3p1
"""
_ONE_32: Final = "600 001 clzw 601 001 ctzw 602 001 cpopw"
#: Bits 31 to 26 and 14 to 12, of operations with a shift amount.
_SHIFTS: Final = "011000 101 rori 010010 001 bclri 010010 101 bexti 011010 001 binvi 001010 001 bseti"
_SHIFTS_32: Final = "011000 101 roriw 000010 001 slli.uw"
_ATOMICS: Final = """
00000 amoadd 00001 amoswap 00100 amoxor 01100 amoand 01000 amoor 10000 amomin 10100 amomax 11000 amominu
11100 amomaxu 00101 amocas
"""
#: Bits 31 to 27, of half precision.
_HALF: Final = """
00000 fadd.h 00001 fsub.h 00010 fmul.h 00011 fdiv.h 01011 fsqrt.h 00100 fsgnj.h 00101 fmin.h 10100 fcmp.h
11000 fcvt.int.h 11010 fcvt.h.int 11100 fmv.x.h 11110 fmv.h.x 01000 fcvt.h
"""

#: Vectors: the six bits 31 to 26, by the three of 14 to 12: integers; integers of other shapes; floating point.
_INTEGERS: Final = """
000000 vadd     000010 vsub      000011 vrsub     000100 vminu    000101 vmin    000110 vmaxu    000111 vmax
001001 vand     001010 vor       001011 vxor      001100 vrgather 001110 vslideup 001111 vslidedown 010000 vadc
010001 vmadc    010010 vsbc      010011 vmsbc     010111 vmerge   011000 vmseq   011001 vmsne    011010 vmsltu
011011 vmslt    011100 vmsleu    011101 vmsle     011110 vmsgtu   011111 vmsgt   100000 vsaddu   100001 vsadd
100010 vssubu   100011 vssub     100101 vsll      100111 vsmul    101000 vsrl    101001 vsra     101010 vssrl
101011 vssra    101100 vnsrl     101101 vnsra     101110 vnclipu  101111 vnclip  110000 vwredsumu 110001 vwredsum
"""
_MULTIPLIES: Final = """
000000 vredsum  000001 vredand   000010 vredor    000011 vredxor  000100 vredminu 000101 vredmin 000110 vredmaxu
000111 vredmax  001000 vaaddu    001001 vaadd     001010 vasubu   001011 vasub   001110 vslide1up
001111 vslide1down 010000 vmv    010010 vext      010100 vmunary  010111 vcompress 011000 vmandn 011001 vmand
011010 vmor
011011 vmxor    011100 vmorn     011101 vmnand    011110 vmnor    011111 vmxnor  100000 vdivu    100001 vdiv
100010 vremu    100011 vrem      100100 vmulhu    100101 vmul     100110 vmulhsu 100111 vmulh    101001 vmadd
101011 vnmsub   101101 vmacc     101111 vnmsac    110000 vwaddu   110001 vwadd   110010 vwsubu   110011 vwsub
110100 vwaddu.w 110101 vwadd.w   110110 vwsubu.w  110111 vwsub.w  111000 vwmulu  111010 vwmulsu  111011 vwmul
111100 vwmaccu  111101 vwmacc    111110 vwmaccus  111111 vwmaccsu
"""
_FLOATS: Final = """
000000 vfadd    000001 vfredusum 000010 vfsub     000011 vfredosum 000100 vfmin  000101 vfredmin 000110 vfmax
000111 vfredmax 001000 vfsgnj    001001 vfsgnjn   001010 vfsgnjx  001110 vfslide1up 001111 vfslide1down 010000 vfmv
010010 vfcvt    010011 vfunary   010111 vfmerge   011000 vmfeq    011001 vmfle   011011 vmflt    011100 vmfne
011101 vmfgt    011111 vmfge     100000 vfdiv     100001 vfrdiv   100100 vfmul   100111 vfrsub   101000 vfmadd
101001 vfnmadd  101010 vfmsub    101011 vfnmsub   101100 vfmacc   101101 vfnmacc 101110 vfmsac   101111 vfnmsac
110000 vfwadd   110001 vfwredusum 110010 vfwsub   110011 vfwredosum 110100 vfwadd.w 110110 vfwsub.w 111000 vfwmul
111100 vfwmacc  111101 vfwnmacc  111110 vfwmsac   111111 vfwnmsac
"""
_SHAPES: Final = ("vv", "vv", "vv", "vi", "vx", "vf", "vx")
_WIDTHS: Final[Mapping[int, int]] = {0: 8, 5: 16, 6: 32, 7: 64}  #: bits 14 to 12 of vector loads and stores
_FIXED: Final[Mapping[int, str]] = {0x00D00073: "wrs.nto", 0x01D00073: "wrs.sto"}


def _pairs(text: str, base: int = 2) -> Iterator[tuple[int, str]]:
    words = text.split()
    return ((int(code, base), name) for code, name in zip(words[::2], words[1::2], strict=True))


@cache
def _triples(text: str, base: int = 2) -> dict[tuple[int, int], str]:
    words = text.split()
    rows = zip(words[::3], words[1::3], words[2::3], strict=True)
    return {(int(code, base), int(three, 2)): name for code, three, name in rows}


@cache
def _table(text: str) -> dict[int, str]:
    return dict(_pairs(text))


def instruction(word: int, address: int) -> str | None:
    """The 32-bit instruction of a word as text; None for one that is unknown here."""
    del address  # no such instruction is relative to it
    if word in _FIXED:
        return _FIXED[word]
    render = _BY_OPCODE.get(word & 0x7F)
    return render(word) if render is not None else None


def _x(word: int, low: int) -> str:
    return _X[word >> low & 31]


def _integer(two: str, one: str, shifts: str) -> Callable[[int], str | None]:
    def render(word: int) -> str | None:
        three, first = word >> 12 & 7, f"{_x(word, 7)}, {_x(word, 15)}"
        tables = ((two, 2, word >> 25), (one, 16, word >> 20), (shifts, 2, word >> 26))
        for table, base, code in tables:
            name = _triples(table, base).get((code, three)) if table else None
            if name is None:
                continue
            if table == two and not (name in ("pack", "packw") and not word >> 20 & 31):
                return f"{name} {first}, {_x(word, 20)}"
            if table == shifts:
                return f"{name} {first}, {word >> 20 & 63}"
            return f"{'zext.h' if table == two else name} {first}"
        return None

    return render


def _atomic(word: int) -> str | None:
    name, size = _table(_ATOMICS).get(word >> 27), word >> 12 & 7
    if name is None or size > 4:
        return None
    order = ("", ".rl", ".aq", ".aqrl")[word >> 25 & 3]
    return f"{name}.{'bhwdq'[size]}{order} {_x(word, 7)}, {_x(word, 20)}, ({_x(word, 15)})"


def _half(word: int) -> str | None:
    name = _table(_HALF).get(word >> 27)
    return name if word >> 25 & 3 == 2 or (name == "fcvt.h" and word >> 20 & 31 == 2) else None


def _vector(word: int) -> str | None:
    kind, code = word >> 12 & 7, word >> 26
    if kind == 7:
        sets = "vsetvli" if not word >> 31 else "vsetivli" if word >> 30 == 3 else "vsetvl"
        return f"{sets} {_x(word, 7)}, {word >> 15 & 31 if sets == 'vsetivli' else _x(word, 15)}"
    table = _FLOATS if kind in (1, 5) else _MULTIPLIES if kind in (2, 6) else _INTEGERS
    name = _table(table).get(code)
    if name is None:
        return None
    if kind == 0 and name == "vslideup":
        name = "vrgatherei16"
    of_masks = table is _MULTIPLIES and 0b011000 <= code < 0b100000
    shape = "vs" if "red" in name else "mm" if of_masks else _SHAPES[kind]
    if name.endswith(".w") or name.startswith(("vns", "vncl")):
        name, shape = name.removesuffix(".w"), f"w{shape[1]}"
    source = {"x": _x(word, 15), "i": str(word >> 15 & 31), "f": f"f{word >> 15 & 31}"}.get(shape[1])
    operand = source or f"v{word >> 15 & 31}"
    masked = "" if word >> 25 & 1 or name in ("vadc", "vmerge", "vsbc") else ", v0.t"
    return f"{name}.{shape} v{word >> 7 & 31}, v{word >> 20 & 31}, {operand}{masked}"


def _vector_memory(letter: str) -> Callable[[int], str | None]:
    def render(word: int) -> str | None:
        bits = _WIDTHS.get(word >> 12 & 7)
        if bits is None:
            return None
        ordered, fields = word >> 26 & 3, (word >> 29) + 1
        segments = f"seg{fields}" if fields > 1 else ""
        kind = (
            f"{letter}{segments}e",
            f"{letter}ux{segments}ei",
            f"{letter}s{segments}e",
            f"{letter}ox{segments}ei",
        )
        return f"v{kind[ordered]}{bits}.v v{word >> 7 & 31}, ({_x(word, 15)})"

    return render


_BY_OPCODE: Final[Mapping[int, Callable[[int], str | None]]] = {
    _OP: _integer(_REGISTERS, "", ""),
    _OP_32: _integer(_REGISTERS_32, "", ""),
    _OP_IMM: _integer("", _ONE, _SHIFTS),
    _OP_IMM_32: _integer("", _ONE_32, _SHIFTS_32),
    _AMO: _atomic,
    _FP: _half,
    _V: _vector,
    _LOAD: _vector_memory("l"),
    _STORE: _vector_memory("s"),
}

#: 16-bit codes of Zcb: bits that matter, their values.
_SHORT: Final = (
    (0xFC03, 0x8000, "c.lbu"), (0xFC43, 0x8400, "c.lhu"), (0xFC43, 0x8440, "c.lh"),
    (0xFC03, 0x8800, "c.sb"), (0xFC43, 0x8C00, "c.sh"), (0xFC7F, 0x9C61, "c.zext.b"),
    (0xFC7F, 0x9C65, "c.sext.b"), (0xFC7F, 0x9C69, "c.zext.h"), (0xFC7F, 0x9C6D, "c.sext.h"),
    (0xFC7F, 0x9C71, "c.zext.w"), (0xFC7F, 0x9C75, "c.not"), (0xFC63, 0x9C41, "c.mul"),
)  # fmt: skip


def short(half: int) -> str | None:
    """A 16-bit instruction as text."""
    first, second = _X[8 + (half >> 7 & 7)], _X[8 + (half >> 2 & 7)]
    name = next((name for mask, value, name in _SHORT if half & mask == value), None)
    if name is None:
        return None
    if half & 3 == 1:
        return f"{name} {first}, {second}" if name == "c.mul" else f"{name} {first}"
    return f"{name} {second}, ({first})"

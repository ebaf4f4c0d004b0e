"""The semantics of the LSX instructions: one line per family.

A line is `name  operands  kinds:opcode …  expression`. A family has a member for each suffix of its *kinds*
(below), with consecutive opcodes from the one given, which has every operand field zero. Operands, in the
instruction word: `j`, `jk`, `jka` are vector registers at bits 5, 10 and 15; `jkc` has the condition of a
comparison at 15; `u5`, `i5` and `u8` are j and an immediate at bit 10; `us` is j and an immediate as long as the
source lane's bit numbers, at bit 10 under a marking 1 that tells the lane (8 | u3, 16 | u4 … 128 | u7). `jv` is j,
with one number as the result.

Families that are missing here are implemented in p-code, by vector.sinc. The expression gives one lane of the
result as a Python integer of any size, which is then truncated to the lane:

    j k a d      the lane of the operands and of the old destination that corresponds; J K A D all of their lanes
    u            the immediate            i, n   the number of this lane, and how many there are
    N, S, mask   bits in a lane of the result, of the sources; 2**S - 1: `j & mask` is j without its sign
    sat(x)       x brought into the range of the result's lane       rounded(x, s)   x / 2**s, ties upwards

A result of half the sources' width has j's lanes below and zeros above (`jk`), or j's lanes below and those of
the old destination above (`us`). Where two lanes make one, J and K are indexed.

Source: LoongArch Reference Manual volume 2 (draft), as its opcodes appear in binutils and LLVM; behaviour as
QEMU has it where no manual is published.
"""

from __future__ import annotations

#: Suffixes of the members of a family, in the order of their opcodes: result, then sources (j, k) if they
#: differ. b h w d q: signed integers of 8 to 128 bits, `u` after them: unsigned. l: 64 bits beside floats.
KINDS: dict[str, str] = {
    "S": "b h w d",
    "U": "bu hu wu du",
    "BH": "b h",
    "B": "b",
    "W": "w",
    "D": "d",
    "DWHB": "d w h b",
    "Q": "q",
    "F": "s d",
    "FI": "w.s l.d",
    "FU": "wu.s lu.d",
    "WIDEN": "h.b w.h d.w q.d",
    "WIDENU": "h.bu w.hu d.wu q.du",
    "WIDENUS": "h.bu.b w.hu.h d.wu.w q.du.d",
    "UWIDENU": "hu.bu wu.hu du.wu qu.du",
    "NARROW": "b.h h.w w.d",
    "NARROWU": "bu.h hu.w wu.d",
    "NARROWQ": "b.h h.w w.d d.q",
    "NARROWUQ": "bu.h hu.w wu.d du.q",
}

INTEGERS = """
vadd       jk   Q:712d0000                                      j + k
vsub       jk   Q:712d8000                                      j - k
vneg       j    S:729c3000                                      -j
vsadd      jk   S:70460000 U:704a0000                           sat(j + k)
vssub      jk   S:70480000 U:704c0000                           sat(j - k)
vhaddw     jk   WIDEN:70540000 UWIDENU:70580000                 J[2 * i + 1] + K[2 * i]
vhsubw     jk   WIDEN:70560000 UWIDENU:705a0000                 J[2 * i + 1] - K[2 * i]
vaddwev    jk   WIDEN:701e0000 WIDENU:702e0000 WIDENUS:703e0000  J[2 * i] + K[2 * i]
vaddwod    jk   WIDEN:70220000 WIDENU:70320000 WIDENUS:70400000  J[2 * i + 1] + K[2 * i + 1]
vsubwev    jk   WIDEN:70200000 WIDENU:70300000                   J[2 * i] - K[2 * i]
vsubwod    jk   WIDEN:70240000 WIDENU:70340000                   J[2 * i + 1] - K[2 * i + 1]
vavg       jk   S:70640000 U:70660000                           j + k >> 1
vavgr      jk   S:70680000 U:706a0000                           j + k + 1 >> 1
vabsd      jk   S:70600000 U:70620000                           abs(j - k)
vadda      jk   S:705c0000                                      abs(j) + abs(k)
vmaxi      i5   S:72900000                                      max(j, u)
vmaxi      u5   U:72940000                                      max(j, u)
vmini      i5   S:72920000                                      min(j, u)
vmini      u5   U:72960000                                      min(j, u)
vsigncov   jk   S:712e0000                                      ((j > 0) - (j < 0)) * k

vmul       jk   S:70840000                                      j * k
vmuh       jk   S:70860000 U:70880000                           j * k >> N
vmulwev    jk   WIDEN:70900000 WIDENU:70980000 WIDENUS:70a00000  J[2 * i] * K[2 * i]
vmulwod    jk   WIDEN:70920000 WIDENU:709a0000 WIDENUS:70a20000  J[2 * i + 1] * K[2 * i + 1]
vmadd      jk   S:70a80000                                      d + j * k
vmsub      jk   S:70aa0000                                      d - j * k
vmaddwev   jk   WIDEN:70ac0000 WIDENU:70b40000 WIDENUS:70bc0000  d + J[2 * i] * K[2 * i]
vmaddwod   jk   WIDEN:70ae0000 WIDENU:70b60000 WIDENUS:70be0000  d + J[2 * i + 1] * K[2 * i + 1]
vdiv       jk   S:70e00000 U:70e40000                           quotient(j, k)
vmod       jk   S:70e20000 U:70e60000                           j - k * quotient(j, k) if k else 0

vsat       us   S:73240000                                      max(-1 << u, min(j, (1 << u) - 1))
vsat       us   U:73280000                                      min(j, (2 << u) - 1)
vmskltz    jv   S:729c4000                                      sum((x < 0) << at for at, x in enumerate(J))
vmskgez    jv   B:729c5000                                      sum((x >= 0) << at for at, x in enumerate(J))
vmsknz     jv   B:729c6000                                      sum((x != 0) << at for at, x in enumerate(J))

vsll       jk   S:70e80000                                      j << k % N
vsrl       jk   S:70ea0000                                      (j & mask) >> k % N
vsra       jk   S:70ec0000                                      j >> k % N
vrotr      jk   S:70ee0000                                      (j & mask) * (mask + 2) >> k % N
vsrlr      jk   S:70f00000                                      rounded(j & mask, k % N)
vsrar      jk   S:70f20000                                      rounded(j, k % N)
vsrlri     us   S:72a40000                                      rounded(j & mask, u)
vsrari     us   S:72a80000                                      rounded(j, u)
vsrln      jk   NARROW:70f48000                                 (j & mask) >> k % S
vsran      jk   NARROW:70f68000                                 j >> k % S
vsrlrn     jk   NARROW:70f88000                                 rounded(j & mask, k % S)
vsrarn     jk   NARROW:70fa8000                                 rounded(j, k % S)
vssrln     jk   NARROW:70fc8000 NARROWU:71048000                sat((j & mask) >> k % S)
vssran     jk   NARROW:70fe8000 NARROWU:71068000                sat(j >> k % S)
vssrlrn    jk   NARROW:71008000 NARROWU:71088000                sat(rounded(j & mask, k % S))
vssrarn    jk   NARROW:71028000 NARROWU:710a8000                sat(rounded(j, k % S))
vsrlni     us   NARROWQ:73400000                                (j & mask) >> u
vsrani     us   NARROWQ:73580000                                j >> u
vsrlrni    us   NARROWQ:73440000                                rounded(j & mask, u)
vsrarni    us   NARROWQ:735c0000                                rounded(j, u)
vssrlni    us   NARROWQ:73480000 NARROWUQ:734c0000              sat((j & mask) >> u)
vssrani    us   NARROWQ:73600000 NARROWUQ:73640000              sat(j >> u)
vssrlrni   us   NARROWQ:73500000 NARROWUQ:73540000              sat(rounded(j & mask, u))
vssrarni   us   NARROWQ:73680000 NARROWUQ:736c0000              sat(rounded(j, u))

vclo       j    S:729c0000                                      N - (~j & mask).bit_length()
vclz       j    S:729c1000                                      N - (j & mask).bit_length()
vpcnt      j    S:729c2000                                      (j & mask).bit_count()
vfclass    j    F:729cd400                                      classify(j & mask, N)
vbitclr    jk   S:710c0000                                      j & ~(1 << k % N)
vbitset    jk   S:710e0000                                      j | 1 << k % N
vbitrev    jk   S:71100000                                      j ^ 1 << k % N
vbitclri   us   S:73100000                                      j & ~(1 << u)
vbitseti   us   S:73140000                                      j | 1 << u
vbitrevi   us   S:73180000                                      j ^ 1 << u
vfrstp     jk   BH:712b0000                                     first_negative(J) if i == K[0] % n else d
vfrstpi    u5   BH:729a0000                                     first_negative(J) if i == u % n else d

vshuf      jk   D:717b8000                                      (K + J)[d % (2 * n)]
vshuf4i    u8   B:73900000                                      J[i & ~3 | u >> 2 * (i & 3) & 3]
vshuf4i    u8   D:739c0000                                      (D + J)[u >> 2 * i & 3]
vpermi     u8   W:73e40000                                      (J if i < 2 else D)[u >> 2 * i & 3]
vextrins   u8   DWHB:73800000                                   J[u % n] if i == (u >> 4) % n else d
"""

#: As INTEGERS, but every expression gives a lane and the exceptions raised. Besides, `f` is the format of the
#: sources (of the result, if those are integers), `m` the rounding mode of fcsr; a result of half the sources'
#: width has k's lanes below and j's above.
FLOATS = """
vfadd      jk   F:71308000                  f.add(j, k, m)
vfsub      jk   F:71328000                  f.subtract(j, k, m)
vfmul      jk   F:71388000                  f.multiply(j, k, m)
vfdiv      jk   F:713a8000                  f.divide(j, k, m)
vfmadd     jka  F:09100000                  f.multiply_add(j, k, a, m, negate_z=False, negate=False)
vfmsub     jka  F:09500000                  f.multiply_add(j, k, a, m, negate_z=True, negate=False)
vfnmadd    jka  F:09900000                  f.multiply_add(j, k, a, m, negate_z=False, negate=True)
vfnmsub    jka  F:09d00000                  f.multiply_add(j, k, a, m, negate_z=True, negate=True)
vfmax      jk   F:713c8000                  f.choose(j, k, greatest=True, by_magnitude=False)
vfmin      jk   F:713e8000                  f.choose(j, k, greatest=False, by_magnitude=False)
vfmaxa     jk   F:71408000                  f.choose(j, k, greatest=True, by_magnitude=True)
vfmina     jk   F:71428000                  f.choose(j, k, greatest=False, by_magnitude=True)
vflogb     j    F:729cc400                  f.log_b(j)
vfsqrt     j    F:729ce400                  f.square_root(j, m)
vfrecip    j    F:729cf400                  f.divide(f.one, j, m)
vfrsqrt    j    F:729d0400                  inverse_root(f, j, m)
vfcmp      jkc  F:0c500000                  compare(f, j, k, u)

vfcvtl     j    s.h:729de800 d.s:729df000   widened(f, J[i], N)
vfcvth     j    s.h:729dec00 d.s:729df400   widened(f, J[n + i], N)
vfcvt      jk   h.s:71460000                HALF.convert(j, f, m)
vfcvt      jk   s.d:71468000                SINGLE.convert(j, f, m)
vfrint     j    F:729d3400                  f.to_integral(j, m)
vfrintrm   j    F:729d4400                  f.to_integral(j, DOWN)
vfrintrp   j    F:729d5400                  f.to_integral(j, UP)
vfrintrz   j    F:729d6400                  f.to_integral(j, TO_ZERO)
vfrintrne  j    F:729d7400                  f.to_integral(j, NEAREST_EVEN)
vftint     j    FI:729e3000                 f.to_integer(j, N, m)
vftintrm   j    FI:729e3800                 f.to_integer(j, N, DOWN)
vftintrp   j    FI:729e4000                 f.to_integer(j, N, UP)
vftintrz   j    FI:729e4800                 f.to_integer(j, N, TO_ZERO)
vftintrne  j    FI:729e5000                 f.to_integer(j, N, NEAREST_EVEN)
vftint     j    FU:729e5800                 to_unsigned(f, j, N, m)
vftintrz   j    FU:729e7000                 to_unsigned(f, j, N, TO_ZERO)
vftint     jk   w.d:71498000                f.to_integer(j, N, m)
vftintrm   jk   w.d:714a0000                f.to_integer(j, N, DOWN)
vftintrp   jk   w.d:714a8000                f.to_integer(j, N, UP)
vftintrz   jk   w.d:714b0000                f.to_integer(j, N, TO_ZERO)
vftintrne  jk   w.d:714b8000                f.to_integer(j, N, NEAREST_EVEN)
vftintl    j    l.s:729e8000                f.to_integer(J[i], N, m)
vftinth    j    l.s:729e8400                f.to_integer(J[n + i], N, m)
vftintrml  j    l.s:729e8800                f.to_integer(J[i], N, DOWN)
vftintrmh  j    l.s:729e8c00                f.to_integer(J[n + i], N, DOWN)
vftintrpl  j    l.s:729e9000                f.to_integer(J[i], N, UP)
vftintrph  j    l.s:729e9400                f.to_integer(J[n + i], N, UP)
vftintrzl  j    l.s:729e9800                f.to_integer(J[i], N, TO_ZERO)
vftintrzh  j    l.s:729e9c00                f.to_integer(J[n + i], N, TO_ZERO)
vftintrnel j    l.s:729ea000                f.to_integer(J[i], N, NEAREST_EVEN)
vftintrneh j    l.s:729ea400                f.to_integer(J[n + i], N, NEAREST_EVEN)
vffint     j    s.w:729e0000 s.wu:729e0400  f.from_integer(j, m)
vffint     j    d.l:729e0800 d.lu:729e0c00  f.from_integer(j, m)
vffintl    j    d.w:729e1000                f.from_integer(J[i], m)
vffinth    j    d.w:729e1400                f.from_integer(J[n + i], m)
vffint     jk   s.l:71480000                f.from_integer(j, m)
"""

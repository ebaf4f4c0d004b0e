"""Machine code for the host that sets the flag "denormal operand" of x86, which Unicorn does not know.

It takes the place of functions of QEMU's software floating point that have the operands and the flags
(`emu.cpu.unicorn.denormal_operands`). The flag is set in the byte where the other flags of arithmetic are
(`emu.cpu.unicorn.float_state`), unless an operand is a NaN, or the operation is invalid or a division by zero, or
MXCSR takes denormals as zero (Intel SDM volume 1, 4.9.2; volume 2, each instruction's exceptions).

Behind 64 KiB, where the addresses of the original functions are, is what GCC 12 (-Os) makes of:

    typedef unsigned long u64;
    typedef unsigned u32;
    typedef unsigned __int128 u128;
    struct status { char tininess, rounding; unsigned char flags; char precision, flush, inputs_are_zero; };
    enum { DENORMAL = 2 };

    static inline __attribute__((always_inline)) int denormal32(u32 a) { return 2 * a - 1 < 0xffffff; }
    static inline __attribute__((always_inline)) int denormal64(u64 a) { return 2 * a - 1 < 0x1fffffffffffff; }
    static inline __attribute__((always_inline)) int denormal80(u64 a, u64 top) { return !(top & 0x7fff) && a; }
    static inline __attribute__((always_inline)) int nan32(u32 a) { return 2 * a > 0xff000000; }
    static inline __attribute__((always_inline)) int nan64(u64 a) { return 2 * a > 0xffe0000000000000; }
    static inline __attribute__((always_inline)) int nan80(u64 a, u64 top)
    {
        return ((top & 0x7fff) == 0x7fff && a << 1) || ((top & 0x7fff) && !(a >> 63));
    }
    static void found(struct status *status, int invalid);
    static void found32(u32 a, u32 b, struct status *status, int invalid);
    static void found64(u64 a, u64 b, struct status *status, int invalid);
    static void found80(u64 a, u64 a_top, u64 b, u64 b_top, struct status *status, int invalid);

    #define ORIGINAL(name) extern typeof(name) *original_##name __attribute__((visibility("hidden")));
    #define RARELY(condition) if (__builtin_expect(condition, 0))
    #define TWO(bits, name, more)                                                        \\
        u64 float##bits##_##name(u64 a, u64 b, struct status *status);                   \\
        ORIGINAL(float##bits##_##name)                                                   \\
        u64 float##bits##_##name(u64 a, u64 b, struct status *status)                    \\
        {                                                                                \\
            RARELY (denormal##bits(a) | denormal##bits(b))                               \\
                found##bits(a, b, status, more);                                         \\
            return original_float##bits##_##name(a, b, status);                          \\
        }
    #define ONE(type, bits, name, invalid)                                               \\
        type name(u64 a, struct status *status);                                         \\
        ORIGINAL(name)                                                                   \\
        type name(u64 a, struct status *status)                                          \\
        {                                                                                \\
            RARELY (denormal##bits(a))                                                   \\
                found(status, invalid);                                                  \\
            return original_##name(a, status);                                           \\
        }
    #define TWO80(name, more)                                                            \\
        u128 floatx80_##name(u64 a, u64 a_top, u64 b, u64 b_top, struct status *status); \\
        ORIGINAL(floatx80_##name)                                                        \\
        u128 floatx80_##name(u64 a, u64 a_top, u64 b, u64 b_top, struct status *status)  \\
        {                                                                                \\
            RARELY (denormal80(a, a_top) | denormal80(b, b_top))                         \\
                found80(a, a_top, b, b_top, status, more);                               \\
            return original_floatx80_##name(a, a_top, b, b_top, status);                 \\
        }
    #define ONE80(name, invalid, new_top)                                                \\
        u128 floatx80_##name(u64 a, u64 top, struct status *status);                     \\
        ORIGINAL(floatx80_##name)                                                        \\
        u128 floatx80_##name(u64 a, u64 top, struct status *status)                      \\
        {                                                                                \\
            RARELY (denormal80(a, top))                                                  \\
                found(status, invalid);                                                  \\
            return original_floatx80_##name(a, new_top, status);                         \\
        }

    /* a NaN of the other format is quiet */
    #define WIDER(bits)                                                                  \\
        u128 float##bits##_to_floatx80(u64 a, struct status *status);                    \\
        ORIGINAL(float##bits##_to_floatx80)                                              \\
        u128 float##bits##_to_floatx80(u64 a, struct status *status)                     \\
        {                                                                                \\
            RARELY (denormal##bits(a))                                                   \\
                found(status, 0);                                                        \\
            u128 result = original_float##bits##_to_floatx80(a, status);                 \\
            return nan##bits(a) ? result | 1ul << 62 : result;                           \\
        }
    #define NARROWER(bits, infinity, lost)                                               \\
        u64 floatx80_to_float##bits(u64 a, u64 top, struct status *status);              \\
        ORIGINAL(floatx80_to_float##bits)                                                \\
        u64 floatx80_to_float##bits(u64 a, u64 top, struct status *status)               \\
        {                                                                                \\
            if ((top & 0x7fff) != 0x7fff || !(a << 1) || !(a >> 63))                     \\
                return original_floatx80_to_float##bits(a, top, status);                 \\
            status->flags |= !(a >> 62 & 1);                                             \\
            return (top >> 15 & 1) << (bits - 1) | infinity | (a << 1 | 1ul << 63) >> lost;\\
        }

    TWO(32, add, 0) TWO(32, sub, 0) TWO(32, mul, 0) TWO(32, div, !(2 * (u32)b))
    TWO(32, lt, 0) TWO(32, le, 0) TWO(32, eq_quiet, 0) TWO(32, unordered_quiet, 0)
    TWO(32, compare, 0) TWO(32, compare_quiet, 0) ONE(u64, 32, float32_sqrt, a >> 31 & 1)
    TWO(64, add, 0) TWO(64, sub, 0) TWO(64, mul, 0) TWO(64, div, !(2 * b))
    TWO(64, lt, 0) TWO(64, le, 0) TWO(64, eq_quiet, 0) TWO(64, unordered_quiet, 0)
    TWO(64, compare, 0) TWO(64, compare_quiet, 0) ONE(u64, 64, float64_sqrt, a >> 63)
    ONE(u64, 32, float32_to_float64, 0) ONE(u64, 64, float64_to_float32, 0)
    WIDER(32) WIDER(64)
    NARROWER(32, 0x7f800000, 41) NARROWER(64, 0x7ff0000000000000, 12)
    TWO80(add, 0) TWO80(sub, 0) TWO80(mul, 0) TWO80(div, !b && !(b_top & 0x7fff))
    TWO80(compare, 0) TWO80(compare_quiet, 0) ONE80(sqrt, top >> 15 & 1, top) ONE80(round_to_int, 0, top | a >> 63)

    #define FOUND __attribute__((noinline)) static void
    FOUND found(struct status *status, int invalid)
    {
        if (!invalid && !status->inputs_are_zero)
            status->flags |= DENORMAL;
    }
    FOUND found32(u32 a, u32 b, struct status *status, int invalid)
    {
        found(status, invalid | nan32(a) | nan32(b));
    }
    FOUND found64(u64 a, u64 b, struct status *status, int invalid)
    {
        found(status, invalid | nan64(a) | nan64(b));
    }
    FOUND found80(u64 a, u64 a_top, u64 b, u64 b_top, struct status *status, int invalid)
    {
        found(status, invalid | nan80(a, a_top) | nan80(b, b_top));
    }
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from emu.cpu.hooks.stop_hook import HostCode

#: The functions, without the "_x86_64" they end in in Unicorn.
NAMES: Final = """
float32_add float32_sub float32_mul float32_div float32_lt float32_le float32_eq_quiet
float32_unordered_quiet float32_compare float32_compare_quiet float32_sqrt float64_add float64_sub
float64_mul float64_div float64_lt float64_le float64_eq_quiet float64_unordered_quiet
float64_compare float64_compare_quiet float64_sqrt float32_to_float64 float64_to_float32
float32_to_floatx80 float64_to_floatx80 floatx80_to_float32 floatx80_to_float64 floatx80_add
floatx80_sub floatx80_mul floatx80_div floatx80_compare floatx80_compare_quiet floatx80_sqrt
floatx80_round_to_int
""".split()

#: What `uname -m` says -> where the functions begin, in the order of their names, and machine code.
CODE: Final[Mapping[str, HostCode]] = {
    "x86_64": HostCode(
        (
            0,
            69,
            138,
            207,
            280,
            349,
            418,
            487,
            556,
            625,
            694,
            742,
            828,
            914,
            1000,
            1093,
            1179,
            1265,
            1351,
            1437,
            1523,
            1609,
            1673,
            1718,
            1774,
            1865,
            1969,
            2045,
            2126,
            2229,
            2332,
            2435,
            2558,
            2661,
            2764,
            2832,
        ),
        bytes.fromhex("""
558d4436ff4889f5534889fb4883ec183dfeffff00760b8d443fff3dfeffff00771131c94889542408e8390b0000488b5424084883c41848
89ee4889df5b5dff25bbfffeff558d4436ff4889f5534889fb4883ec183dfeffff00760b8d443fff3dfeffff00771131c94889542408e8f4
0a0000488b5424084883c4184889ee4889df5b5dff257efffeff558d4436ff4889f5534889fb4883ec183dfeffff00760b8d443fff3dfeff
ff00771131c94889542408e8af0a0000488b5424084883c4184889ee4889df5b5dff2541fffeff41544989d48d543fff8d0436554889f553
4889fb81fafeffff00760b8d50ff81fafeffff00770f31c985c04c89e20f94c1e8620a00004c89e24889ee4889df5b5d415cff2500fffeff
558d4436ff4889f5534889fb4883ec183dfeffff00760b8d443fff3dfeffff00771131c94889542408e8210a0000488b5424084883c41848
89ee4889df5b5dff25c3fefeff558d4436ff4889f5534889fb4883ec183dfeffff00760b8d443fff3dfeffff00771131c94889542408e8dc
090000488b5424084883c4184889ee4889df5b5dff2586fefeff558d4436ff4889f5534889fb4883ec183dfeffff00760b8d443fff3dfeff
ff00771131c94889542408e897090000488b5424084883c4184889ee4889df5b5dff2549fefeff558d4436ff4889f5534889fb4883ec183d
feffff00760b8d443fff3dfeffff00771131c94889542408e852090000488b5424084883c4184889ee4889df5b5dff250cfefeff558d4436
ff4889f5534889fb4883ec183dfeffff00760b8d443fff3dfeffff00771131c94889542408e80d090000488b5424084883c4184889ee4889
df5b5dff25cffdfeff558d4436ff4889f5534889fb4883ec183dfeffff00760b8d443fff3dfeffff00771131c94889542408e8c808000048
8b5424084883c4184889ee4889df5b5dff2592fdfeff8d443fff554889f5534889fb523dfeffff00770d89fe4889efc1ee1fe88108000058
4889ee4889df5b5dff256afdfeff4154488d04364989d448bafeffffffffff1f0048ffc84883ec104839c2730c488d043f48ffc84839c272
1c31c94c89e2488974240848893c24e86b080000488b742408488b3c244883c4104c89e2415cff251cfdfeff4154488d04364989d448bafe
ffffffffff1f0048ffc84883ec104839c2730c488d043f48ffc84839c2721c31c94c89e2488974240848893c24e815080000488b74240848
8b3c244883c4104c89e2415cff25cefcfeff4154488d04364989d448bafeffffffffff1f0048ffc84883ec104839c2730c488d043f48ffc8
4839c2721c31c94c89e2488974240848893c24e8bf070000488b742408488b3c244883c4104c89e2415cff2580fcfeff48b9feffffffffff
1f004154488d043f4989d448ffc8488d14364883ec104839c17309488d42ff4839c1722231c94885d24c89e248897424080f94c148893c24
e862070000488b742408488b3c244883c4104c89e2415cff252bfcfeff4154488d04364989d448bafeffffffffff1f0048ffc84883ec1048
39c2730c488d043f48ffc84839c2721c31c94c89e2488974240848893c24e80c070000488b742408488b3c244883c4104c89e2415cff25dd
fbfeff4154488d04364989d448bafeffffffffff1f0048ffc84883ec104839c2730c488d043f48ffc84839c2721c31c94c89e24889742408
48893c24e8b6060000488b742408488b3c244883c4104c89e2415cff258ffbfeff4154488d04364989d448bafeffffffffff1f0048ffc848
83ec104839c2730c488d043f48ffc84839c2721c31c94c89e2488974240848893c24e860060000488b742408488b3c244883c4104c89e241
5cff2541fbfeff4154488d04364989d448bafeffffffffff1f0048ffc84883ec104839c2730c488d043f48ffc84839c2721c31c94c89e248
8974240848893c24e80a060000488b742408488b3c244883c4104c89e2415cff25f3fafeff4154488d04364989d448bafeffffffffff1f00
48ffc84883ec104839c2730c488d043f48ffc84839c2721c31c94c89e2488974240848893c24e8b4050000488b742408488b3c244883c410
4c89e2415cff25a5fafeff4154488d04364989d448bafeffffffffff1f0048ffc84883ec104839c2730c488d043f48ffc84839c2721c31c9
4c89e2488974240848893c24e85e050000488b742408488b3c244883c4104c89e2415cff2557fafeff488d043f554889f55348ffc84889fb
5248bafeffffffffff1f004839c272124889f84889ef48c1e83f4889c6e8de040000584889ee4889df5b5dff251ffafeff8d443fff554889
f5534889fb523dfeffff00770a31f64889efe8b1040000584889ee4889df5b5dff25faf9feff488d043f554889f55348ffc84889fb5248ba
feffffffffff1f004839c2720a31f64889efe879040000584889ee4889df5b5dff25caf9feff41554154448d243f418d4424ff554889f553
4889fb41514c8b2db4f9feff3dfeffff00771d4889ef31f6e83b04000041584889ee4889df4c89e85b5d415c415dffe041ffd54181fc0000
00ff7605480fbae83e595b5d415c415dc348bafeffffffffff1f00415541544c8d243f498d4424ff554889f5534889fb41514c8b2d57f9fe
ff4839c2721d4889ef31f6e8d803000041584889ee4889df4c89e85b5d415c415dffe041ffd5b9ff07000048c1e1354c39e17305480fbae8
3e595b5d415c415dc34889f025ff7f0000483dff7f0000750d4889f94801f974054885ff7806ff25fcf8feff48c1ef3e4889f048c1e92948
c1e0104883f701250000008083e70140087a024809c8480d0000c07fc34889f025ff7f0000483dff7f0000750d4889f94801f974054885ff
7806ff25b8f8feff48c1ef3e4889f048c1e90c4883f70148c1e80f83e70148c1e03f40087a02baff0f00004809c848c1e2334809d0c34889
c825ff7f0000f7c6ff7f000075054885ff750a4885c075474885d274424883ec384531c94c8944242848894c242048895424184889742410
48897c2408e82c0300004c8b442428488b4c2420488b542418488b742410488b7c24084883c438ff252bf8feff4889c825ff7f0000f7c6ff
7f000075054885ff750a4885c075474885d274424883ec384531c94c8944242848894c24204889542418488974241048897c2408e8c50200
004c8b442428488b4c2420488b542418488b742410488b7c24084883c438ff25ccf7feff4889c825ff7f0000f7c6ff7f000075054885ff75
0a4885c075474885d274424883ec384531c94c8944242848894c24204889542418488974241048897c2408e85e0200004c8b442428488b4c
2420488b542418488b742410488b7c24084883c438ff256df7feff41544989d44883ec20f7c6ff7f00000f94c04885ff0f95c221d0f7c1ff
7f000075074d85e47514eb0684c0743feb0c41b90100000084c07433eb034531c94c89e24c8944241848894c2410488974240848893c24e8
e20100004c8b442418488b4c2410488b742408488b3c244883c4204c89e2415cff25faf6feff4889c825ff7f0000f7c6ff7f000075054885
ff750a4885c075474885d274424883ec384531c94c8944242848894c24204889542418488974241048897c2408e87c0100004c8b44242848
8b4c2420488b542418488b742410488b7c24084883c438ff259bf6feff4889c825ff7f0000f7c6ff7f000075054885ff750a4885c0754748
85d274424883ec384531c94c8944242848894c24204889542418488974241048897c2408e8150100004c8b442428488b4c2420488b542418
488b742410488b7c24084883c438ff253cf6feff554889fd534889f34883ec18f7c6ff7f0000751e4885ff741948c1ee0f4889d748895424
0883e601e85f000000488b5424084883c4184889de4889ef5b5dff2500f6feff41544989f4534889fb4883ec18f7c6ff7f000075194885ff
74144889d731f64889542408e81f000000488b5424084889de4883c4184889df48c1ee3f5b4c09e6415cff25c0f5feff85f6750a807f0500
7504804f0202c301f689f84889d781fe000000ff400f97c601c0400fb6f609ce3d000000ff0f97c00fb6c009c6ebc94889f84889d7baff07
00004801f648c1e2354839f2400f92c64801c0400fb6f609ce4839c20f92c00fb6c009c6eb9a81e6ff7f00004889d04881feff7f0000750f
4889feba010000004801f67513eb0731d24885f6740a48f7d748c1ef3f4889fa81e1ff7f00004109d14881f9ff7f0000750f4889c1ba0100
00004801c97513eb0731d24885c9740a48f7d048c1e83f4889c24489ce4c89c709d6e929ffffff
"""),
    ),
    "aarch64": HostCode(
        (
            0,
            116,
            232,
            348,
            468,
            584,
            700,
            816,
            932,
            1048,
            1164,
            1248,
            1356,
            1464,
            1572,
            1684,
            1792,
            1900,
            2008,
            2116,
            2224,
            2332,
            2416,
            2500,
            2584,
            2712,
            2840,
            2924,
            3008,
            3152,
            3296,
            3440,
            3608,
            3752,
            3896,
            3988,
        ),
        bytes.fromhex("""
fd7bbda9e35b1f32fd030091f35301a9f40301aa21781f53f30300aa2104005100781f53f51300f9000400513f00036b0080437af50302aa
a8000054e103142ae003132a03008052f103009480ffff90e20315aaf51340f9e10314aa030040f9e00313aaf35341a9f00303aafd7bc3a8
00021fd6fd7bbda9e35b1f32fd030091f35301a9f40301aa21781f53f30300aa2104005100781f53f51300f9000400513f00036b0080437a
f50302aaa8000054e103142ae003132a03008052d403009480ffff90e20315aaf51340f9e10314aa030440f9e00313aaf35341a9f00303aa
fd7bc3a800021fd6fd7bbda9e35b1f32fd030091f35301a9f40301aa21781f53f30300aa2104005100781f53f51300f9000400513f00036b
0080437af50302aaa8000054e103142ae003132a03008052b703009480ffff90e20315aaf51340f9e10314aa030840f9e00313aaf35341a9
f00303aafd7bc3a800021fd6fd7bbda9e35b1f32fd030091f35301a9f30300aa00781f53f40301aa0004005121781f53f51300f924040051
1f00036b8080437af50302aac80000543f000071e003132ae3179f1ae103142a9903009480ffff90e20315aaf51340f9e10314aa030c40f9
e00313aaf35341a9f00303aafd7bc3a800021fd6fd7bbda9e35b1f32fd030091f35301a9f40301aa21781f53f30300aa2104005100781f53
f51300f9000400513f00036b0080437af50302aaa8000054e103142ae003132a030080527c03009480ffff90e20315aaf51340f9e10314aa
031040f9e00313aaf35341a9f00303aafd7bc3a800021fd6fd7bbda9e35b1f32fd030091f35301a9f40301aa21781f53f30300aa21040051
00781f53f51300f9000400513f00036b0080437af50302aaa8000054e103142ae003132a030080525f03009480ffff90e20315aaf51340f9
e10314aa031440f9e00313aaf35341a9f00303aafd7bc3a800021fd6fd7bbda9e35b1f32fd030091f35301a9f40301aa21781f53f30300aa
2104005100781f53f51300f9000400513f00036b0080437af50302aaa8000054e103142ae003132a030080524203009480ffff90e20315aa
f51340f9e10314aa031840f9e00313aaf35341a9f00303aafd7bc3a800021fd6fd7bbda9e35b1f32fd030091f35301a9f40301aa21781f53
f30300aa2104005100781f53f51300f9000400513f00036b0080437af50302aaa8000054e103142ae003132a030080522503009480ffff90
e20315aaf51340f9e10314aa031c40f9e00313aaf35341a9f00303aafd7bc3a800021fd6fd7bbda9e35b1f32fd030091f35301a9f40301aa
21781f53f30300aa2104005100781f53f51300f9000400513f00036b0080437af50302aaa8000054e103142ae003132a0300805208030094
80ffff90e20315aaf51340f9e10314aa032040f9e00313aaf35341a9f00303aafd7bc3a800021fd6fd7bbda9e35b1f32fd030091f35301a9
f40301aa21781f53f30300aa2104005100781f53f51300f9000400513f00036b0080437af50302aaa8000054e103142ae003132a03008052
eb02009480ffff90e20315aaf51340f9e10314aa032440f9e00313aaf35341a9f00303aafd7bc3a800021fd6fd7bbea9fd030091f35301a9
f30300aa00781f5300040051f40301aae15b1f321f00016b88000054617e1f53e00314aacd02009480ffff90e10314aa022840f9e00313aa
f35341a9f00302aafd7bc2a800021fd6fd7bbda924f87fd3840400d1fd03009103f87fd3f35301a9e5cf7fb2f51300f9630400d19f0005eb
f30300aaf40301aa608045faf50302aa6800005403008052c402009480ffff90e20315aaf51340f9e10314aa032c40f9e00313aaf35341a9
f00303aafd7bc3a800021fd6fd7bbda924f87fd3840400d1fd03009103f87fd3f35301a9e5cf7fb2f51300f9630400d19f0005ebf30300aa
f40301aa608045faf50302aa6800005403008052a902009480ffff90e20315aaf51340f9e10314aa033040f9e00313aaf35341a9f00303aa
fd7bc3a800021fd6fd7bbda924f87fd3840400d1fd03009103f87fd3f35301a9e5cf7fb2f51300f9630400d19f0005ebf30300aaf40301aa
608045faf50302aa68000054030080528e02009480ffff90e20315aaf51340f9e10314aa033440f9e00313aaf35341a9f00303aafd7bc3a8
00021fd6fd7bbda903f87fd324f87fd3fd030091630400d1f35301a9e5cf7fb2f51300f9860400d17f0005ebf30300aaf40301aac08045fa
f50302aa880000549f0000f1e3179f1a7202009480ffff90e20315aaf51340f9e10314aa033840f9e00313aaf35341a9f00303aafd7bc3a8
00021fd6fd7bbda924f87fd3840400d1fd03009103f87fd3f35301a9e5cf7fb2f51300f9630400d19f0005ebf30300aaf40301aa608045fa
f50302aa68000054030080525702009480ffff90e20315aaf51340f9e10314aa033c40f9e00313aaf35341a9f00303aafd7bc3a800021fd6
fd7bbda924f87fd3840400d1fd03009103f87fd3f35301a9e5cf7fb2f51300f9630400d19f0005ebf30300aaf40301aa608045faf50302aa
68000054030080523c02009480ffff90e20315aaf51340f9e10314aa034040f9e00313aaf35341a9f00303aafd7bc3a800021fd6fd7bbda9
24f87fd3840400d1fd03009103f87fd3f35301a9e5cf7fb2f51300f9630400d19f0005ebf30300aaf40301aa608045faf50302aa68000054
030080522102009480ffff90e20315aaf51340f9e10314aa034440f9e00313aaf35341a9f00303aafd7bc3a800021fd6fd7bbda924f87fd3
840400d1fd03009103f87fd3f35301a9e5cf7fb2f51300f9630400d19f0005ebf30300aaf40301aa608045faf50302aa6800005403008052
0602009480ffff90e20315aaf51340f9e10314aa034840f9e00313aaf35341a9f00303aafd7bc3a800021fd6fd7bbda924f87fd3840400d1
fd03009103f87fd3f35301a9e5cf7fb2f51300f9630400d19f0005ebf30300aaf40301aa608045faf50302aa6800005403008052eb010094
80ffff90e20315aaf51340f9e10314aa034c40f9e00313aaf35341a9f00303aafd7bc3a800021fd6fd7bbda924f87fd3840400d1fd030091
03f87fd3f35301a9e5cf7fb2f51300f9630400d19f0005ebf30300aaf40301aa608045faf50302aa6800005403008052d001009480ffff90
e20315aaf51340f9e10314aa035040f9e00313aaf35341a9f00303aafd7bc3a800021fd6fd7bbea9fd030091f35301a9f30300aa00f87fd3
000400d1f40301aae1cf7fb21f0001eb8800005461fe7fd3e00314aaa901009480ffff90e10314aa025440f9e00313aaf35341a9f00302aa
fd7bc2a800021fd6fd7bbea9fd030091f35301a9f30300aa00781f5300040051f40301aae15b1f321f00016b88000054e00314aa01008052
9401009480ffff90e10314aa025840f9e00313aaf35341a9f00302aafd7bc2a800021fd6fd7bbea9fd030091f35301a9f30300aa00f87fd3
000400d1f40301aae1cf7fb21f0001eb88000054e00314aa010080527f01009480ffff90e10314aa025c40f9e00313aaf35341a9f00302aa
fd7bc2a800021fd6fd7bbda982ffff90fd030091f55b02a915781f53a3060051f35301a9566040f9e25b1f327f00026ba8010054f40301aa
f30300aa01008052e00314aa67010094e10314aae00313aaf35341a9f00316aaf55b42a9fd7bc3a800021fd6c0023fd6020042b203e0bf52
bf02036bf35341a94080809af55b42a9fd7bc3a8c0035fd6fd7bbda982ffff90fd030091f55b02a915f87fd3a30600d1f35301a9566440f9
e2cf7fb27f0002eba8010054f40301aaf30300aa01008052e00314aa47010094e10314aae00313aaf35341a9f00316aaf55b42a9fd7bc3a8
00021fd6c0023fd6020042b203fcffd2bf0203ebf35341a94080809af55b42a9fd7bc3a8c0035fd6e30321aa7f3840f28100005404f87fd3
440000b4a000f8b783ffff90636840f9f00303aa00021fd603fc7ed321fc4fd340084039630040d221000153630000126300002a20a444aa
00206ab243080039c0035fd6e30321aa7f3840f28100005404f87fd3440000b4a000f8b783ffff90636c40f9f00303aa00021fd603fc7ed3
21fc4fd340084039630040d284fc4cd3630000126300002a80fc01aa002c4db243080039c0035fd6fd7bbca9fd030091f35301a9f30300aa
f40301aaf55b02a960384092f50302aaf71b00f9f60303aaf70304aa3f3840f241000054730000b5200100b5150100b4e40317aae30316aa
e20315aae10314aae00313aa050080520f01009480ffff90e40317aaf71b40f9e30316aa057040f9e20315aaf55b42a9e10314aae00313aa
f00305aaf35341a9fd7bc4a800021fd6fd7bbca9fd030091f35301a9f30300aaf40301aaf55b02a960384092f50302aaf71b00f9f60303aa
f70304aa3f3840f241000054730000b5200100b5150100b4e40317aae30316aae20315aae10314aae00313aa05008052eb00009480ffff90
e40317aaf71b40f9e30316aa057440f9e20315aaf55b42a9e10314aae00313aaf00305aaf35341a9fd7bc4a800021fd6fd7bbca9fd030091
f35301a9f30300aaf40301aaf55b02a960384092f50302aaf71b00f9f60303aaf70304aa3f3840f241000054730000b5200100b5150100b4
e40317aae30316aae20315aae10314aae00313aa05008052c700009480ffff90e40317aaf71b40f9e30316aa057840f9e20315aaf55b42a9
e10314aae00313aaf00305aaf35341a9fd7bc4a800021fd6fd7bbca9fd030091f35301a9f30300aaf40302aaf55b02a960384092f50301aa
f71b00f9f60303aaf70304aa3f3840f200020054400000b5420300b580ffff90e40317aaf71b40f9e30316aa057c40f9e20314aae10315aa
e00313aaf35341a9f00305aaf55b42a9fd7bc4a800021fd6600100b5620100b533feffb425008052e40317aae30316aae20314aae10315aa
e00313aa94000094e9ffff1713fdffb405008052f7ffff17fd7bbca9fd030091f35301a9f30300aaf40301aaf55b02a960384092f50302aa
f71b00f9f60303aaf70304aa3f3840f241000054730000b5200100b5150100b4e40317aae30316aae20315aae10314aae00313aa05008052
7900009480ffff90e40317aaf71b40f9e30316aa058040f9e20315aaf55b42a9e10314aae00313aaf00305aaf35341a9fd7bc4a800021fd6
fd7bbca9fd030091f35301a9f30300aaf40301aaf55b02a960384092f50302aaf71b00f9f60303aaf70304aa3f3840f241000054730000b5
200100b5150100b4e40317aae30316aae20315aae10314aae00313aa050080525500009480ffff90e40317aaf71b40f9e30316aa058440f9
e20315aaf55b42a9e10314aae00313aaf00305aaf35341a9fd7bc4a800021fd6fd7bbda9fd030091f35301a9f40300aaf30301aaf51300f9
f50302aa3f3840f2a1000054800000b4213c0f53e00302aa2200009480ffff90e20315aaf51340f9e10313aa038840f9e00314aaf35341a9
f00303aafd7bc3a800021fd6fd7bbda9fd030091f35301a9f30300aaf40301aaf51300f9f50302aa3f3840f2a1000054800000b4e00302aa
010080520b00009480ffff90e20315aaf51340f981fe53aa038c40f9e00313aaf35341a9f00303aafd7bc3a800021fd6c100003501144039
810000350108403921001f3201080039c0035fd604e0bf529f04016be1279f1a9f04006be0279f1a2100032a2100002ae00302aaf1ffff17
04fcffd29f0401ebe1279f1a9f0400ebe0279f1a2100032a2100002ae00302aae8ffff1721384092e60300aae00304aae4ff8fd23f0004eb
01020054ff0706eb21020054e60326aac6fc7fd363384092a500062ae1ff8fd27f0001eb81010054ff0702eba1010054e20322aa42fc7fd3
a100022ad3ffff1761feffb506008052f3ffff1726008052f1ffff17e3feffb502008052f7ffff1722008052f5ffff17
"""),
    ),
}

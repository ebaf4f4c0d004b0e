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
    TWO80(compare, 0) TWO80(compare_quiet, 0) ONE80(sqrt, top >> 15 & 1, top)
    ONE80(round_to_int, 0, top & 0x7fff ? top : top | a >> 63) /* a pseudo-denormal is a normal number */

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
            215,
            264,
            313,
            362,
            421,
            470,
            519,
            568,
            617,
            666,
            715,
            761,
            848,
            935,
            1022,
            1116,
            1203,
            1290,
            1377,
            1464,
            1551,
            1638,
            1704,
            1747,
            1805,
            1872,
            1957,
            2033,
            2114,
            2205,
            2296,
            2387,
            2500,
            2591,
            2682,
            2742,
        ),
        bytes.fromhex("""
85f6750a807f05007504804f0202c301f689f84889d781fe000000ff400f97c601c0400fb6f609ce3d000000ff0f97c00fb6c009c6ebc948
89f84889d7baff0700004801f648c1e2354839f2400f92c64801c0400fb6f609ce4839c20f92c00fb6c009c6eb9a81e6ff7f00004889d048
81feff7f0000750f4889feba010000004801f67513eb0731d24885f6740a48f7d748c1ef3f4889fa81e1ff7f00004109d14881f9ff7f0000
750f4889c1ba010000004801c97513eb0731d24885c9740a48f7d048c1e83f4889c24489ce4c89c709d6e929ffffff8d4436ff4989f84989
f13dfeffff00760b8d443fff3dfeffff00770f5031c9e814ffffff4c89ce4c89c759ff25f8fefeff8d4436ff4989f84989f13dfeffff0076
0b8d443fff3dfeffff00770f5031c9e8e3feffff4c89ce4c89c759ff25cffefeff8d4436ff4989f84989f13dfeffff00760b8d443fff3dfe
ffff00770f5031c9e8b2feffff4c89ce4c89c759ff25a6fefeff8d4c3fff4989f88d04364989f181f9feffff00760b8d48ff81f9feffff00
77155131c985c00f94c1e878feffff4c89c74c89ce4158ff2573fefeff8d4436ff4989f84989f13dfeffff00760b8d443fff3dfeffff0077
0f5031c9e846feffff4c89ce4c89c759ff254afefeff8d4436ff4989f84989f13dfeffff00760b8d443fff3dfeffff00770f5031c9e815fe
ffff4c89ce4c89c759ff2521fefeff8d4436ff4989f84989f13dfeffff00760b8d443fff3dfeffff00770f5031c9e8e4fdffff4c89ce4c89
c759ff25f8fdfeff8d4436ff4989f84989f13dfeffff00760b8d443fff3dfeffff00770f5031c9e8b3fdffff4c89ce4c89c759ff25cffdfe
ff8d4436ff4989f84989f13dfeffff00760b8d443fff3dfeffff00770f5031c9e882fdffff4c89ce4c89c759ff25a6fdfeff8d4436ff4989
f84989f13dfeffff00760b8d443fff3dfeffff00770f5031c9e851fdffff4c89ce4c89c759ff257dfdfeff8d4c3fff4889f84889f281f9fe
ffff0077165189fe4889d7c1ee1fe815fdffff4889d64889c74158ff2557fdfeff488d04364989d248bafeffffffffff1f0048ffc84839c2
730c488d043f48ffc84839c272294883ec184c89d231c9488974240848893c24e802fdffff488b742408488b3c244c89d24883c418eb034c
89d2ff2508fdfeff488d04364989d248bafeffffffffff1f0048ffc84839c2730c488d043f48ffc84839c272294883ec184c89d231c94889
74240848893c24e8abfcffff488b742408488b3c244c89d24883c418eb034c89d2ff25b9fcfeff488d04364989d248bafeffffffffff1f00
48ffc84839c2730c488d043f48ffc84839c272294883ec184c89d231c9488974240848893c24e854fcffff488b742408488b3c244c89d248
83c418eb034c89d2ff256afcfeff488d043f4989d2488d143648b9feffffffffff1f0048ffc84839c17309488d42ff4839c1722f4883ec18
31c94885d24c89d20f94c1488974240848893c24e8f6fbffff488b742408488b3c244c89d24883c418eb034c89d2ff2514fcfeff488d0436
4989d248bafeffffffffff1f0048ffc84839c2730c488d043f48ffc84839c272294883ec184c89d231c9488974240848893c24e89ffbffff
488b742408488b3c244c89d24883c418eb034c89d2ff25c5fbfeff488d04364989d248bafeffffffffff1f0048ffc84839c2730c488d043f
48ffc84839c272294883ec184c89d231c9488974240848893c24e848fbffff488b742408488b3c244c89d24883c418eb034c89d2ff2576fb
feff488d04364989d248bafeffffffffff1f0048ffc84839c2730c488d043f48ffc84839c272294883ec184c89d231c9488974240848893c
24e8f1faffff488b742408488b3c244c89d24883c418eb034c89d2ff2527fbfeff488d04364989d248bafeffffffffff1f0048ffc84839c2
730c488d043f48ffc84839c272294883ec184c89d231c9488974240848893c24e89afaffff488b742408488b3c244c89d24883c418eb034c
89d2ff25d8fafeff488d04364989d248bafeffffffffff1f0048ffc84839c2730c488d043f48ffc84839c272294883ec184c89d231c94889
74240848893c24e843faffff488b742408488b3c244c89d24883c418eb034c89d2ff2589fafeff488d04364989d248bafeffffffffff1f00
48ffc84839c2730c488d043f48ffc84839c272294883ec184c89d231c9488974240848893c24e8ecf9ffff488b742408488b3c244c89d248
83c418eb034c89d2ff253afafeff488d0c3f4889f24889f848befeffffffffff1f0048ffc94839ce721d514889f94889d748c1e93f4889ce
e86bf9ffff4889d64889c74158eb034889d6ff2500fafeff8d4c3fff4889f84889f281f9feffff0077135131f64889d7e83bf9ffff4889d6
4889c74158ff25ddf9feff488d0c3f4889f24889f848befeffffffffff1f0048ffc94839ce72155131f64889d7e806f9ffff4889d64889c7
4158eb034889d6ff25abf9feff538d1c3f4889f2488b0da5f9feff8d73ff4889f881fefeffff00771331f64889d7e8cdf8ffff4889d64889
c75bffe14889d6ffd181fb000000ff7605480fbae83e5bc353488d1c3f4889f84889f248bffeffffffffff1f00488d73ff488b0d58f9feff
4839f7721331f64889d7e881f8ffff4889d64889c75bffe14889d64889c7ffd1b9ff07000048c1e1354839d97305480fbae83e5bc34889f0
25ff7f0000483dff7f0000750d4889f94801f974054885ff7806ff2508f9feff48c1ef3e4889f048c1e92948c1e0104883f7012500000080
83e70140087a024809c8480d0000c07fc34889f025ff7f0000483dff7f0000750d4889f94801f974054885ff7806ff25c4f8feff48c1ef3e
4889f048c1e90c4883f70148c1e80f83e70148c1e03f40087a02baff0f00004809c848c1e2334809d0c34889c825ff7f0000f7c6ff7f0000
75054885ff750a4885c0753b4885d274364883ec284531c948894c24184889542410488974240848893c24e8e6f7ffff488b4c2418488b54
2410488b742408488b3c244883c428ff2543f8feff4889c825ff7f0000f7c6ff7f000075054885ff750a4885c0753b4885d274364883ec28
4531c948894c24184889542410488974240848893c24e88bf7ffff488b4c2418488b542410488b742408488b3c244883c428ff25f0f7feff
4889c825ff7f0000f7c6ff7f000075054885ff750a4885c0753b4885d274364883ec284531c948894c24184889542410488974240848893c
24e830f7ffff488b4c2418488b542410488b742408488b3c244883c428ff259df7feff534889d34883ec20f7c6ff7f00000f94c04885ff0f
95c221d0f7c1ff7f000075074885db7514eb0684c07437eb0c41b90100000084c0742beb034531c94889da48894c2418488974241048897c
2408e8bff6ffff488b4c2418488b742410488b7c24084883c4204889da5bff2534f7feff4889c825ff7f0000f7c6ff7f000075054885ff75
0a4885c0753b4885d274364883ec284531c948894c24184889542410488974240848893c24e864f6ffff488b4c2418488b542410488b7424
08488b3c244883c428ff25e1f6feff4889c825ff7f0000f7c6ff7f000075054885ff750a4885c0753b4885d274364883ec284531c948894c
24184889542410488974240848893c24e809f6ffff488b4c2418488b542410488b742408488b3c244883c428ff258ef6feff4889f94889f0
f7c6ff7f000075224885ff741d564889c64889d748c1ee0f83e601e860f5ffff4889c64889cf4158eb064889c64889cfff255af6feff4c8b
055bf6feff4889f94889f0f7c6ff7f0000752e4885ff741f564889d731f6e825f5ffff4889ce4889cf415948c1ee3f4809f04889c6eb1048
89fe48c1ee3f4809f04889c64889cf41ffe0
"""),
    ),
    "aarch64": HostCode(
        (
            224,
            340,
            456,
            572,
            692,
            808,
            924,
            1040,
            1156,
            1272,
            1388,
            1484,
            1588,
            1692,
            1796,
            1904,
            2008,
            2112,
            2216,
            2320,
            2424,
            2528,
            2624,
            2720,
            2816,
            2932,
            3048,
            3132,
            3216,
            3336,
            3456,
            3576,
            3720,
            3840,
            3960,
            4052,
        ),
        bytes.fromhex("""
c100003501144039810000350108403921001f3201080039c0035fd604e0bf529f04016be1279f1a9f04006be0279f1a2100032a2100002a
e00302aaf1ffff1704fcffd29f0401ebe1279f1a9f0400ebe0279f1a2100032a2100002ae00302aae8ffff1721384092e60300aae00304aa
e4ff8fd23f0004eb01020054ff0706eb21020054e60326aac6fc7fd363384092a500062ae1ff8fd27f0001eb81010054ff0702eba1010054
e20322aa42fc7fd3a100022ad3ffff1761feffb506008052f3ffff1726008052f1ffff17e3feffb502008052f7ffff1722008052f5ffff17
e60301aa21781f53e50300aa2104005100781f53e35b1f32000400513f00036b0080437ac8010054fd7bbfa9e103062ae003052afd030091
03008052c0ffff9780ffff90e10306aafd7bc1a8030040f9e00305aaf00303aa00021fd680ffff90e10306aa030040f9e00305aaf00303aa
faffff17e60301aa21781f53e50300aa2104005100781f53e35b1f32000400513f00036b0080437ac8010054fd7bbfa9e103062ae003052a
fd03009103008052a3ffff9780ffff90e10306aafd7bc1a8030440f9e00305aaf00303aa00021fd680ffff90e10306aa030440f9e00305aa
f00303aafaffff17e60301aa21781f53e50300aa2104005100781f53e35b1f32000400513f00036b0080437ac8010054fd7bbfa9e103062a
e003052afd0300910300805286ffff9780ffff90e10306aafd7bc1a8030840f9e00305aaf00303aa00021fd680ffff90e10306aa030840f9
e00305aaf00303aafaffff17e50300aa00781f53e60301aa0004005121781f53e35b1f32240400511f00036b8080437ae80100543f000071
fd7bbfa9e3179f1afd030091e103062ae003052a68ffff9780ffff90e10306aafd7bc1a8030c40f9e00305aaf00303aa00021fd680ffff90
e10306aa030c40f9e00305aaf00303aafaffff17e60301aa21781f53e50300aa2104005100781f53e35b1f32000400513f00036b0080437a
c8010054fd7bbfa9e103062ae003052afd030091030080524bffff9780ffff90e10306aafd7bc1a8031040f9e00305aaf00303aa00021fd6
80ffff90e10306aa031040f9e00305aaf00303aafaffff17e60301aa21781f53e50300aa2104005100781f53e35b1f32000400513f00036b
0080437ac8010054fd7bbfa9e103062ae003052afd030091030080522effff9780ffff90e10306aafd7bc1a8031440f9e00305aaf00303aa
00021fd680ffff90e10306aa031440f9e00305aaf00303aafaffff17e60301aa21781f53e50300aa2104005100781f53e35b1f3200040051
3f00036b0080437ac8010054fd7bbfa9e103062ae003052afd0300910300805211ffff9780ffff90e10306aafd7bc1a8031840f9e00305aa
f00303aa00021fd680ffff90e10306aa031840f9e00305aaf00303aafaffff17e60301aa21781f53e50300aa2104005100781f53e35b1f32
000400513f00036b0080437ac8010054fd7bbfa9e103062ae003052afd03009103008052f4feff9780ffff90e10306aafd7bc1a8031c40f9
e00305aaf00303aa00021fd680ffff90e10306aa031c40f9e00305aaf00303aafaffff17e60301aa21781f53e50300aa2104005100781f53
e35b1f32000400513f00036b0080437ac8010054fd7bbfa9e103062ae003052afd03009103008052d7feff9780ffff90e10306aafd7bc1a8
032040f9e00305aaf00303aa00021fd680ffff90e10306aa032040f9e00305aaf00303aafaffff17e60301aa21781f53e50300aa21040051
00781f53e35b1f32000400513f00036b0080437ac8010054fd7bbfa9e103062ae003052afd03009103008052bafeff9780ffff90e10306aa
fd7bc1a8032440f9e00305aaf00303aa00021fd680ffff90e10306aa032440f9e00305aaf00303aafaffff17e20300aae00301aae35b1f32
41781f53210400513f00036b88010054fd7bbfa9417c1f53fd0300919bfeff9781ffff90fd7bc1a8232840f9e10300aae00302aaf00303aa
00021fd681ffff90232840f9e10300aae00302aaf00303aafaffff1724f87fd303f87fd3840400d1e8cf7fb2630400d19f0008ebe50300aa
e60301aa608048fa88010054fd7bbfa903008052fd03009190feff9780ffff90e10306aafd7bc1a8032c40f9e00305aaf00303aa00021fd6
80ffff90032c40f9e00305aaf00303aafbffff1724f87fd303f87fd3840400d1e8cf7fb2630400d19f0008ebe50300aae60301aa608048fa
88010054fd7bbfa903008052fd03009176feff9780ffff90e10306aafd7bc1a8033040f9e00305aaf00303aa00021fd680ffff90033040f9
e00305aaf00303aafbffff1724f87fd303f87fd3840400d1e8cf7fb2630400d19f0008ebe50300aae60301aa608048fa88010054fd7bbfa9
03008052fd0300915cfeff9780ffff90e10306aafd7bc1a8033440f9e00305aaf00303aa00021fd680ffff90033440f9e00305aaf00303aa
fbffff1703f87fd324f87fd3630400d1e8cf7fb2890400d17f0008ebe50300aae60301aa208148faa80100549f0000f1fd7bbfa9e3179f1a
fd03009141feff9780ffff90e10306aafd7bc1a8033840f9e00305aaf00303aa00021fd680ffff90033840f9e00305aaf00303aafbffff17
24f87fd303f87fd3840400d1e8cf7fb2630400d19f0008ebe50300aae60301aa608048fa88010054fd7bbfa903008052fd03009127feff97
80ffff90e10306aafd7bc1a8033c40f9e00305aaf00303aa00021fd680ffff90033c40f9e00305aaf00303aafbffff1724f87fd303f87fd3
840400d1e8cf7fb2630400d19f0008ebe50300aae60301aa608048fa88010054fd7bbfa903008052fd0300910dfeff9780ffff90e10306aa
fd7bc1a8034040f9e00305aaf00303aa00021fd680ffff90034040f9e00305aaf00303aafbffff1724f87fd303f87fd3840400d1e8cf7fb2
630400d19f0008ebe50300aae60301aa608048fa88010054fd7bbfa903008052fd030091f3fdff9780ffff90e10306aafd7bc1a8034440f9
e00305aaf00303aa00021fd680ffff90034440f9e00305aaf00303aafbffff1724f87fd303f87fd3840400d1e8cf7fb2630400d19f0008eb
e50300aae60301aa608048fa88010054fd7bbfa903008052fd030091d9fdff9780ffff90e10306aafd7bc1a8034840f9e00305aaf00303aa
00021fd680ffff90034840f9e00305aaf00303aafbffff1724f87fd303f87fd3840400d1e8cf7fb2630400d19f0008ebe50300aae60301aa
608048fa88010054fd7bbfa903008052fd030091bffdff9780ffff90e10306aafd7bc1a8034c40f9e00305aaf00303aa00021fd680ffff90
034c40f9e00305aaf00303aafbffff1724f87fd303f87fd3840400d1e8cf7fb2630400d19f0008ebe50300aae60301aa608048fa88010054
fd7bbfa903008052fd030091a5fdff9780ffff90e10306aafd7bc1a8035040f9e00305aaf00303aa00021fd680ffff90035040f9e00305aa
f00303aafbffff17e20300aae00301aae3cf7fb241f87fd3210400d13f0003eb88010054fd7bbfa941fc7fd3fd0300917efdff9781ffff90
fd7bc1a8235440f9e10300aae00302aaf00303aa00021fd681ffff90235440f9e10300aae00302aaf00303aafaffff17e20300aae00301aa
e35b1f3241781f53210400513f00036b88010054fd7bbfa901008052fd03009166fdff9781ffff90fd7bc1a8235840f9e10300aae00302aa
f00303aa00021fd681ffff90235840f9e10300aae00302aaf00303aafaffff17e20300aae00301aae3cf7fb241f87fd3210400d13f0003eb
88010054fd7bbfa901008052fd0300914efdff9781ffff90fd7bc1a8235c40f9e10300aae00302aaf00303aa00021fd681ffff90235c40f9
e10300aae00302aaf00303aafaffff17fd7bbea984ffff90e55b1f32fd030091f30b00f913781f5366060051846040f9df00056b88010054
e30301aae20300aa01008052e00303aa32fdff97e00302aaf30b40f9e10303aafd7bc2a8f00304aa00021fd680003fd6020042b203e0bf52
7f02036bf30b40f94080809afd7bc2a8c0035fd6fd7bbea984ffff90e5cf7fb2fd030091f30b00f913f87fd3660600d1846440f9df0005eb
88010054e30301aae20300aa01008052e00303aa15fdff97e00302aaf30b40f9e10303aafd7bc2a8f00304aa00021fd680003fd6020042b2
03fcffd27f0203ebf30b40f94080809afd7bc2a8c0035fd6e30321aa7f3840f28100005404f87fd3440000b4a000f8b783ffff90636840f9
f00303aa00021fd603fc7ed321fc4fd340084039630040d221000153630000126300002a20a444aa00206ab243080039c0035fd6e30321aa
7f3840f28100005404f87fd3440000b4a000f8b783ffff90636c40f9f00303aa00021fd603fc7ed321fc4fd340084039630040d284fc4cd3
630000126300002a80fc01aa002c4db243080039c0035fd6fd7bbfa9e70300aae80301aafd030091e90302aaea0303aaeb0304aa60384092
3f3840f241000054670000b5200100b5090100b4e4030baae3030aaae20309aae10308aae00307aa05008052e2fcff9780ffff90e4030baa
fd7bc1a8e3030aaa057040f9e20309aae10308aae00307aaf00305aa00021fd6fd7bbfa9e70300aae80301aafd030091e90302aaea0303aa
eb0304aa603840923f3840f241000054670000b5200100b5090100b4e4030baae3030aaae20309aae10308aae00307aa05008052c4fcff97
80ffff90e4030baafd7bc1a8e3030aaa057440f9e20309aae10308aae00307aaf00305aa00021fd6fd7bbfa9e70300aae80301aafd030091
e90302aaea0303aaeb0304aa603840923f3840f241000054670000b5200100b5090100b4e4030baae3030aaae20309aae10308aae00307aa
05008052a6fcff9780ffff90e4030baafd7bc1a8e3030aaa057840f9e20309aae10308aae00307aaf00305aa00021fd6fd7bbfa9e70300aa
e90301aafd030091e80302aaea0303aaeb0304aa603840923f3840f2a0010054400000b5e20200b580ffff90e4030baafd7bc1a8e3030aaa
057c40f9e20308aae10309aae00307aaf00305aa00021fd6600100b5620100b587feffb425008052e4030baae3030aaae20308aae10309aa
e00307aa7cfcff97ecffff1767fdffb405008052f7ffff17fd7bbfa9e70300aae80301aafd030091e90302aaea0303aaeb0304aa60384092
3f3840f241000054670000b5200100b5090100b4e4030baae3030aaae20309aae10308aae00307aa0500805264fcff9780ffff90e4030baa
fd7bc1a8e3030aaa058040f9e20309aae10308aae00307aaf00305aa00021fd6fd7bbfa9e70300aae80301aafd030091e90302aaea0303aa
eb0304aa603840923f3840f241000054670000b5200100b5090100b4e4030baae3030aaae20309aae10308aae00307aa0500805246fcff97
80ffff90e4030baafd7bc1a8e3030aaa058440f9e20309aae10308aae00307aaf00305aa00021fd6e40300aae30301aa3f3840f2c1010054
a00100b4fd7bbfa9e00302aa213c0f53fd03009119fcff9780ffff90e10303aa058840f9e00304aafd7bc1a8f00305aa00021fd680ffff90
e10303aa058840f9e00304aaf00305aafaffff17e40300aa80ffff90e30301aa058c40f93f3840f2c1010054840100b4fd7bbfa9e00302aa
01008052fd03009163fc44aafffbff97e10303aae00304aaf00305aafd7bc1a800021fd623fc44aae10303aae00304aaf00305aafbffff17
"""),
    ),
}

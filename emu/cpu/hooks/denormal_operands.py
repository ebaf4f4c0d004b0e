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
    #define QUIET32 (1ul << 22)
    #define QUIET64 (1ul << 51)

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
    /* of two NaNs SSE takes the first, Unicorn the larger (volume 1, table 4-7) */
    #define SUM(bits, name, more)                                                        \\
        u64 float##bits##_##name(u64 a, u64 b, struct status *status);                   \\
        ORIGINAL(float##bits##_##name)                                                   \\
        u64 float##bits##_##name(u64 a, u64 b, struct status *status)                    \\
        {                                                                                \\
            RARELY (denormal##bits(a) | denormal##bits(b))                               \\
                found##bits(a, b, status, more);                                         \\
            u64 result = original_float##bits##_##name(a, b, status);                    \\
            RARELY (nan##bits(result))                                                   \\
                return nan##bits(a) ? a | QUIET##bits : result;                          \\
            return result;                                                               \\
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

    SUM(32, add, 0) SUM(32, sub, 0) SUM(32, mul, 0) SUM(32, div, !(2 * (u32)b))
    TWO(32, lt, 0) TWO(32, le, 0) TWO(32, eq_quiet, 0) TWO(32, unordered_quiet, 0)
    TWO(32, compare, 0) TWO(32, compare_quiet, 0) ONE(u64, 32, float32_sqrt, a >> 31 & 1)
    SUM(64, add, 0) SUM(64, sub, 0) SUM(64, mul, 0) SUM(64, div, !(2 * b))
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
            299,
            383,
            467,
            560,
            609,
            658,
            707,
            756,
            805,
            854,
            900,
            1020,
            1140,
            1260,
            1387,
            1474,
            1561,
            1648,
            1735,
            1822,
            1909,
            1975,
            2018,
            2076,
            2143,
            2228,
            2304,
            2385,
            2476,
            2567,
            2658,
            2771,
            2862,
            2953,
            3013,
        ),
        bytes.fromhex("""
85f6750a807f05007504804f0202c301f689f84889d781fe000000ff400f97c601c0400fb6f609ce3d000000ff0f97c00fb6c009c6ebc948
89f84889d7baff0700004801f648c1e2354839f2400f92c64801c0400fb6f609ce4839c20f92c00fb6c009c6eb9a81e6ff7f00004889d048
81feff7f0000750f4889feba010000004801f67513eb0731d24885f6740a48f7d748c1ef3f4889fa81e1ff7f00004109d14881f9ff7f0000
750f4889c1ba010000004801c97513eb0731d24885c9740a48f7d048c1e83f4889c24489ce4c89c709d6e929ffffff8d4436ff554989f08d
2c3f534889fb513dfeffff00760a8d45ff3dfeffff00770731c9e810ffffff4c89c64889dfff15f5fefeff8d140081fa000000ff761181fd
000000ff76094889d8480d000040005a5b5dc38d4436ff554989f08d2c3f534889fb513dfeffff00760a8d45ff3dfeffff00770731c9e8bc
feffff4c89c64889dfff15a9fefeff8d140081fa000000ff761181fd000000ff76094889d8480d000040005a5b5dc38d4436ff554989f08d
2c3f534889fb513dfeffff00760a8d45ff3dfeffff00770731c9e868feffff4c89c64889dfff155dfefeff8d140081fa000000ff761181fd
000000ff76094889d8480d000040005a5b5dc38d0436554989f08d2c3f534889fb518d48ff81f9feffff00760b8d4dff81f9feffff00770c
31c985c00f94c1e80bfeffff4c89c64889dfff1508fefeff8d140081fa000000ff761181fd000000ff76094889d8480d000040005a5b5dc3
8d4436ff4989f84989f13dfeffff00760b8d443fff3dfeffff00770f5031c9e8bbfdffff4c89ce4c89c759ff25bffdfeff8d4436ff4989f8
4989f13dfeffff00760b8d443fff3dfeffff00770f5031c9e88afdffff4c89ce4c89c759ff2596fdfeff8d4436ff4989f84989f13dfeffff
00760b8d443fff3dfeffff00770f5031c9e859fdffff4c89ce4c89c759ff256dfdfeff8d4436ff4989f84989f13dfeffff00760b8d443fff
3dfeffff00770f5031c9e828fdffff4c89ce4c89c759ff2544fdfeff8d4436ff4989f84989f13dfeffff00760b8d443fff3dfeffff00770f
5031c9e8f7fcffff4c89ce4c89c759ff251bfdfeff8d4436ff4989f84989f13dfeffff00760b8d443fff3dfeffff00770f5031c9e8c6fcff
ff4c89ce4c89c759ff25f2fcfeff8d4c3fff4889f84889f281f9feffff0077165189fe4889d7c1ee1fe88afcffff4889d64889c74158ff25
ccfcfeff55488d04364989d1488d2c3f48bafeffffffffff1f005348ffc84889fb4883ec184839c27309488d45ff4839c2721731c94c89ca
4889df4889742408e872fcffff488b7424084c89ca4889dfff1582fcfeffbaff070000488d0c0048c1e2354839ca730d4839ea73084889d8
480fbae8334883c4185b5dc355488d04364989d1488d2c3f48bafeffffffffff1f005348ffc84889fb4883ec184839c27309488d45ff4839
c2721731c94c89ca4889df4889742408e8fafbffff488b7424084c89ca4889dfff1512fcfeffbaff070000488d0c0048c1e2354839ca730d
4839ea73084889d8480fbae8334883c4185b5dc355488d04364989d1488d2c3f48bafeffffffffff1f005348ffc84889fb4883ec184839c2
7309488d45ff4839c2721731c94c89ca4889df4889742408e882fbffff488b7424084c89ca4889dfff15a2fbfeffbaff070000488d0c0048
c1e2354839ca730d4839ea73084889d8480fbae8334883c4185b5dc355488d04364989d1488d2c3f48bafeffffffffff1f0053488d48ff48
89fb4883ec184839ca7309488d4dff4839ca721d31c94885c04c89ca4889df0f94c14889742408e803fbffff488b7424084c89ca4889dfff
152bfbfeffbaff070000488d0c0048c1e2354839ca730d4839ea73084889d8480fbae8334883c4185b5dc3488d04364989d248bafeffffff
ffff1f0048ffc84839c2730c488d043f48ffc84839c272294883ec184c89d231c9488974240848893c24e890faffff488b742408488b3c24
4c89d24883c418eb034c89d2ff25b6fafeff488d04364989d248bafeffffffffff1f0048ffc84839c2730c488d043f48ffc84839c2722948
83ec184c89d231c9488974240848893c24e839faffff488b742408488b3c244c89d24883c418eb034c89d2ff2567fafeff488d04364989d2
48bafeffffffffff1f0048ffc84839c2730c488d043f48ffc84839c272294883ec184c89d231c9488974240848893c24e8e2f9ffff488b74
2408488b3c244c89d24883c418eb034c89d2ff2518fafeff488d04364989d248bafeffffffffff1f0048ffc84839c2730c488d043f48ffc8
4839c272294883ec184c89d231c9488974240848893c24e88bf9ffff488b742408488b3c244c89d24883c418eb034c89d2ff25c9f9feff48
8d04364989d248bafeffffffffff1f0048ffc84839c2730c488d043f48ffc84839c272294883ec184c89d231c9488974240848893c24e834
f9ffff488b742408488b3c244c89d24883c418eb034c89d2ff257af9feff488d04364989d248bafeffffffffff1f0048ffc84839c2730c48
8d043f48ffc84839c272294883ec184c89d231c9488974240848893c24e8ddf8ffff488b742408488b3c244c89d24883c418eb034c89d2ff
252bf9feff488d0c3f4889f24889f848befeffffffffff1f0048ffc94839ce721d514889f94889d748c1e93f4889cee85cf8ffff4889d648
89c74158eb034889d6ff25f1f8feff8d4c3fff4889f84889f281f9feffff0077135131f64889d7e82cf8ffff4889d64889c74158ff25cef8
feff488d0c3f4889f24889f848befeffffffffff1f0048ffc94839ce72155131f64889d7e8f7f7ffff4889d64889c74158eb034889d6ff25
9cf8feff538d1c3f4889f2488b0d96f8feff8d73ff4889f881fefeffff00771331f64889d7e8bef7ffff4889d64889c75bffe14889d6ffd1
81fb000000ff7605480fbae83e5bc353488d1c3f4889f84889f248bffeffffffffff1f00488d73ff488b0d49f8feff4839f7721331f64889
d7e872f7ffff4889d64889c75bffe14889d64889c7ffd1b9ff07000048c1e1354839d97305480fbae83e5bc34889f025ff7f0000483dff7f
0000750d4889f94801f974054885ff7806ff25f9f7feff48c1ef3e4889f048c1e92948c1e0104883f701250000008083e70140087a024809
c8480d0000c07fc34889f025ff7f0000483dff7f0000750d4889f94801f974054885ff7806ff25b5f7feff48c1ef3e4889f048c1e90c4883
f70148c1e80f83e70148c1e03f40087a02baff0f00004809c848c1e2334809d0c34889c825ff7f0000f7c6ff7f000075054885ff750a4885
c0753b4885d274364883ec284531c948894c24184889542410488974240848893c24e8d7f6ffff488b4c2418488b542410488b742408488b
3c244883c428ff2534f7feff4889c825ff7f0000f7c6ff7f000075054885ff750a4885c0753b4885d274364883ec284531c948894c241848
89542410488974240848893c24e87cf6ffff488b4c2418488b542410488b742408488b3c244883c428ff25e1f6feff4889c825ff7f0000f7
c6ff7f000075054885ff750a4885c0753b4885d274364883ec284531c948894c24184889542410488974240848893c24e821f6ffff488b4c
2418488b542410488b742408488b3c244883c428ff258ef6feff534889d34883ec20f7c6ff7f00000f94c04885ff0f95c221d0f7c1ff7f00
0075074885db7514eb0684c07437eb0c41b90100000084c0742beb034531c94889da48894c2418488974241048897c2408e8b0f5ffff488b
4c2418488b742410488b7c24084883c4204889da5bff2525f6feff4889c825ff7f0000f7c6ff7f000075054885ff750a4885c0753b4885d2
74364883ec284531c948894c24184889542410488974240848893c24e855f5ffff488b4c2418488b542410488b742408488b3c244883c428
ff25d2f5feff4889c825ff7f0000f7c6ff7f000075054885ff750a4885c0753b4885d274364883ec284531c948894c241848895424104889
74240848893c24e8faf4ffff488b4c2418488b542410488b742408488b3c244883c428ff257ff5feff4889f94889f0f7c6ff7f0000752248
85ff741d564889c64889d748c1ee0f83e601e851f4ffff4889c64889cf4158eb064889c64889cfff254bf5feff4c8b054cf5feff4889f948
89f0f7c6ff7f0000752e4885ff741f564889d731f6e816f4ffff4889ce4889cf415948c1ee3f4809f04889c6eb104889fe48c1ee3f4809f0
4889c64889cf41ffe0
"""),
    ),
    "aarch64": HostCode(
        (
            224,
            360,
            496,
            632,
            772,
            888,
            1004,
            1120,
            1236,
            1352,
            1468,
            1564,
            1688,
            1812,
            1936,
            2064,
            2168,
            2272,
            2376,
            2480,
            2584,
            2688,
            2784,
            2880,
            2976,
            3092,
            3208,
            3292,
            3376,
            3496,
            3616,
            3736,
            3880,
            4000,
            4120,
            4212,
        ),
        bytes.fromhex("""
c100003501144039810000350108403921001f3201080039c0035fd604e0bf529f04016be1279f1a9f04006be0279f1a2100032a2100002a
e00302aaf1ffff1704fcffd29f0401ebe1279f1a9f0400ebe0279f1a2100032a2100002ae00302aae8ffff1721384092e60300aae00304aa
e4ff8fd23f0004eb01020054ff0706eb21020054e60326aac6fc7fd363384092a500062ae1ff8fd27f0001eb81010054ff0702eba1010054
e20322aa42fc7fd3a100022ad3ffff1761feffb506008052f3ffff1726008052f1ffff17e3feffb502008052f7ffff1722008052f5ffff17
fd7bbea9e50301aae60302aafd030091f35301a914781f53f30300aa20781f538306005100040051e15b1f321f00016b6080417aa8000054
e103052ae003132a03008052beffff9780ffff90e20306aae10305aa030040f9e00313aa60003fd602781f5301e0bf525f00016b89000054
9f02016b4900005460026ab2f35341a9fd7bc2a8c0035fd6fd7bbea9e50301aae60302aafd030091f35301a914781f53f30300aa20781f53
8306005100040051e15b1f321f00016b6080417aa8000054e103052ae003132a030080529cffff9780ffff90e20306aae10305aa030440f9
e00313aa60003fd602781f5301e0bf525f00016b890000549f02016b4900005460026ab2f35341a9fd7bc2a8c0035fd6fd7bbea9e50301aa
e60302aafd030091f35301a914781f53f30300aa20781f538306005100040051e15b1f321f00016b6080417aa8000054e103052ae003132a
030080527affff9780ffff90e20306aae10305aa030840f9e00313aa60003fd602781f5301e0bf525f00016b890000549f02016b49000054
60026ab2f35341a9fd7bc2a8c0035fd6fd7bbea9e50301aae60302aafd030091f35301a914781f53f30300aa20781f538306005104040051
e15b1f329f00016b6080417ac80000541f000071e103052ae3179f1ae003132a57ffff9780ffff90e20306aae10305aa030c40f9e00313aa
60003fd602781f5301e0bf525f00016b890000549f02016b4900005460026ab2f35341a9fd7bc2a8c0035fd6e60301aa21781f53e50300aa
2104005100781f53e35b1f32000400513f00036b0080437ac8010054fd7bbfa9e103062ae003052afd0300910300805237ffff9780ffff90
e10306aafd7bc1a8031040f9e00305aaf00303aa00021fd680ffff90e10306aa031040f9e00305aaf00303aafaffff17e60301aa21781f53
e50300aa2104005100781f53e35b1f32000400513f00036b0080437ac8010054fd7bbfa9e103062ae003052afd030091030080521affff97
80ffff90e10306aafd7bc1a8031440f9e00305aaf00303aa00021fd680ffff90e10306aa031440f9e00305aaf00303aafaffff17e60301aa
21781f53e50300aa2104005100781f53e35b1f32000400513f00036b0080437ac8010054fd7bbfa9e103062ae003052afd03009103008052
fdfeff9780ffff90e10306aafd7bc1a8031840f9e00305aaf00303aa00021fd680ffff90e10306aa031840f9e00305aaf00303aafaffff17
e60301aa21781f53e50300aa2104005100781f53e35b1f32000400513f00036b0080437ac8010054fd7bbfa9e103062ae003052afd030091
03008052e0feff9780ffff90e10306aafd7bc1a8031c40f9e00305aaf00303aa00021fd680ffff90e10306aa031c40f9e00305aaf00303aa
faffff17e60301aa21781f53e50300aa2104005100781f53e35b1f32000400513f00036b0080437ac8010054fd7bbfa9e103062ae003052a
fd03009103008052c3feff9780ffff90e10306aafd7bc1a8032040f9e00305aaf00303aa00021fd680ffff90e10306aa032040f9e00305aa
f00303aafaffff17e60301aa21781f53e50300aa2104005100781f53e35b1f32000400513f00036b0080437ac8010054fd7bbfa9e103062a
e003052afd03009103008052a6feff9780ffff90e10306aafd7bc1a8032440f9e00305aaf00303aa00021fd680ffff90e10306aa032440f9
e00305aaf00303aafaffff17e20300aae00301aae35b1f3241781f53210400513f00036b88010054fd7bbfa9417c1f53fd03009187feff97
81ffff90fd7bc1a8232840f9e10300aae00302aaf00303aa00021fd681ffff90232840f9e10300aae00302aaf00303aafaffff17fd7bbea9
23f87fd3630400d1fd030091f35301a914f87fd3e4cf7fb2870600d17f0004ebf30300aae50301aae60302aae08044fa6800005403008052
7afeff9780ffff90e10305aae20306aa032c40f9e00313aa60003fd601fcffd23f0400eb820000549f0201eb4900005460024db2f35341a9
fd7bc2a8c0035fd6fd7bbea923f87fd3630400d1fd030091f35301a914f87fd3e4cf7fb2870600d17f0004ebf30300aae50301aae60302aa
e08044fa68000054030080525bfeff9780ffff90e10305aae20306aa033040f9e00313aa60003fd601fcffd23f0400eb820000549f0201eb
4900005460024db2f35341a9fd7bc2a8c0035fd6fd7bbea923f87fd3630400d1fd030091f35301a914f87fd3e4cf7fb2870600d17f0004eb
f30300aae50301aae60302aae08044fa68000054030080523cfeff9780ffff90e10305aae20306aa033440f9e00313aa60003fd601fcffd2
3f0400eb820000549f0201eb4900005460024db2f35341a9fd7bc2a8c0035fd6fd7bbea923f87fd3680400d1fd030091f35301a914f87fd3
e4cf7fb2870600d11f0104ebf30300aae50301aae60302aae08044fa880000547f0000f1e3179f1a1cfeff9780ffff90e10305aae20306aa
033840f9e00313aa60003fd601fcffd23f0400eb820000549f0201eb4900005460024db2f35341a9fd7bc2a8c0035fd624f87fd303f87fd3
840400d1e8cf7fb2630400d19f0008ebe50300aae60301aa608048fa88010054fd7bbfa903008052fd030091fffdff9780ffff90e10306aa
fd7bc1a8033c40f9e00305aaf00303aa00021fd680ffff90033c40f9e00305aaf00303aafbffff1724f87fd303f87fd3840400d1e8cf7fb2
630400d19f0008ebe50300aae60301aa608048fa88010054fd7bbfa903008052fd030091e5fdff9780ffff90e10306aafd7bc1a8034040f9
e00305aaf00303aa00021fd680ffff90034040f9e00305aaf00303aafbffff1724f87fd303f87fd3840400d1e8cf7fb2630400d19f0008eb
e50300aae60301aa608048fa88010054fd7bbfa903008052fd030091cbfdff9780ffff90e10306aafd7bc1a8034440f9e00305aaf00303aa
00021fd680ffff90034440f9e00305aaf00303aafbffff1724f87fd303f87fd3840400d1e8cf7fb2630400d19f0008ebe50300aae60301aa
608048fa88010054fd7bbfa903008052fd030091b1fdff9780ffff90e10306aafd7bc1a8034840f9e00305aaf00303aa00021fd680ffff90
034840f9e00305aaf00303aafbffff1724f87fd303f87fd3840400d1e8cf7fb2630400d19f0008ebe50300aae60301aa608048fa88010054
fd7bbfa903008052fd03009197fdff9780ffff90e10306aafd7bc1a8034c40f9e00305aaf00303aa00021fd680ffff90034c40f9e00305aa
f00303aafbffff1724f87fd303f87fd3840400d1e8cf7fb2630400d19f0008ebe50300aae60301aa608048fa88010054fd7bbfa903008052
fd0300917dfdff9780ffff90e10306aafd7bc1a8035040f9e00305aaf00303aa00021fd680ffff90035040f9e00305aaf00303aafbffff17
e20300aae00301aae3cf7fb241f87fd3210400d13f0003eb88010054fd7bbfa941fc7fd3fd03009156fdff9781ffff90fd7bc1a8235440f9
e10300aae00302aaf00303aa00021fd681ffff90235440f9e10300aae00302aaf00303aafaffff17e20300aae00301aae35b1f3241781f53
210400513f00036b88010054fd7bbfa901008052fd0300913efdff9781ffff90fd7bc1a8235840f9e10300aae00302aaf00303aa00021fd6
81ffff90235840f9e10300aae00302aaf00303aafaffff17e20300aae00301aae3cf7fb241f87fd3210400d13f0003eb88010054fd7bbfa9
01008052fd03009126fdff9781ffff90fd7bc1a8235c40f9e10300aae00302aaf00303aa00021fd681ffff90235c40f9e10300aae00302aa
f00303aafaffff17fd7bbea984ffff90e55b1f32fd030091f30b00f913781f5366060051846040f9df00056b88010054e30301aae20300aa
01008052e00303aa0afdff97e00302aaf30b40f9e10303aafd7bc2a8f00304aa00021fd680003fd6020042b203e0bf527f02036bf30b40f9
4080809afd7bc2a8c0035fd6fd7bbea984ffff90e5cf7fb2fd030091f30b00f913f87fd3660600d1846440f9df0005eb88010054e30301aa
e20300aa01008052e00303aaedfcff97e00302aaf30b40f9e10303aafd7bc2a8f00304aa00021fd680003fd6020042b203fcffd27f0203eb
f30b40f94080809afd7bc2a8c0035fd6e30321aa7f3840f28100005404f87fd3440000b4a000f8b783ffff90636840f9f00303aa00021fd6
03fc7ed321fc4fd340084039630040d221000153630000126300002a20a444aa00206ab243080039c0035fd6e30321aa7f3840f281000054
04f87fd3440000b4a000f8b783ffff90636c40f9f00303aa00021fd603fc7ed321fc4fd340084039630040d284fc4cd3630000126300002a
80fc01aa002c4db243080039c0035fd6fd7bbfa9e70300aae80301aafd030091e90302aaea0303aaeb0304aa603840923f3840f241000054
670000b5200100b5090100b4e4030baae3030aaae20309aae10308aae00307aa05008052bafcff9780ffff90e4030baafd7bc1a8e3030aaa
057040f9e20309aae10308aae00307aaf00305aa00021fd6fd7bbfa9e70300aae80301aafd030091e90302aaea0303aaeb0304aa60384092
3f3840f241000054670000b5200100b5090100b4e4030baae3030aaae20309aae10308aae00307aa050080529cfcff9780ffff90e4030baa
fd7bc1a8e3030aaa057440f9e20309aae10308aae00307aaf00305aa00021fd6fd7bbfa9e70300aae80301aafd030091e90302aaea0303aa
eb0304aa603840923f3840f241000054670000b5200100b5090100b4e4030baae3030aaae20309aae10308aae00307aa050080527efcff97
80ffff90e4030baafd7bc1a8e3030aaa057840f9e20309aae10308aae00307aaf00305aa00021fd6fd7bbfa9e70300aae90301aafd030091
e80302aaea0303aaeb0304aa603840923f3840f2a0010054400000b5e20200b580ffff90e4030baafd7bc1a8e3030aaa057c40f9e20308aa
e10309aae00307aaf00305aa00021fd6600100b5620100b587feffb425008052e4030baae3030aaae20308aae10309aae00307aa54fcff97
ecffff1767fdffb405008052f7ffff17fd7bbfa9e70300aae80301aafd030091e90302aaea0303aaeb0304aa603840923f3840f241000054
670000b5200100b5090100b4e4030baae3030aaae20309aae10308aae00307aa050080523cfcff9780ffff90e4030baafd7bc1a8e3030aaa
058040f9e20309aae10308aae00307aaf00305aa00021fd6fd7bbfa9e70300aae80301aafd030091e90302aaea0303aaeb0304aa60384092
3f3840f241000054670000b5200100b5090100b4e4030baae3030aaae20309aae10308aae00307aa050080521efcff9780ffff90e4030baa
fd7bc1a8e3030aaa058440f9e20309aae10308aae00307aaf00305aa00021fd6e40300aae30301aa3f3840f2c1010054a00100b4fd7bbfa9
e00302aa213c0f53fd030091f1fbff9760fffff0e10303aa058840f9e00304aafd7bc1a8f00305aa00021fd660fffff0e10303aa058840f9
e00304aaf00305aafaffff17e40300aa60fffff0e30301aa058c40f93f3840f2c1010054840100b4fd7bbfa9e00302aa01008052fd030091
63fc44aad7fbff97e10303aae00304aaf00305aafd7bc1a800021fd623fc44aae10303aae00304aaf00305aafbffff17
"""),
    ),
}

/* binary128, where it has a type of its own and the compiler calls functions for it (GCC internals manual,
 * "Routines for floating point emulation"). */
#include "types.h"

#if defined(__SIZEOF_INT128__)
#include "float_environment.h"

#if defined(__x86_64__)
typedef __float128 quad;
#else
typedef long double quad;
#endif
typedef union { quad value; u128 bits; } quad_bits;
typedef union { double value; u64 bits; } double_bits;
typedef union { float value; u32 bits; } float_bits;

static inline quad real(u128 bits) { return ((quad_bits){.bits = bits}).value; }
static inline u128 bits(quad value) { return ((quad_bits){.value = value}).bits; }

static u128 mul_wide(u128 a, u128 b, u128 *low) {
    u64 a1 = (u64)(a >> 64), a0 = (u64)a, b1 = (u64)(b >> 64), b0 = (u64)b;
    u128 p00 = (u128)a0 * b0, p01 = (u128)a0 * b1, p10 = (u128)a1 * b0, p11 = (u128)a1 * b1;
    u128 middle = (p00 >> 64) + (u64)p01 + (u64)p10;
    *low = middle << 64 | (u64)p00;
    return p11 + (p01 >> 64) + (p10 >> 64) + (middle >> 64);
}

#define F(name) quad_##name
#define rep u128
#define BITS 128
#define FRACTION 112
#define EXPONENT 15
#include "binary.h"

quad __addtf3(quad a, quad b) { return real(quad_add(bits(a), bits(b))); }
quad __subtf3(quad a, quad b) {
    u128 y = bits(b);
    return real(quad_add(bits(a), quad_is_nan(y) ? y : y ^ SIGN));
}
quad __multf3(quad a, quad b) { return real(quad_multiply(bits(a), bits(b))); }
quad __divtf3(quad a, quad b) { return real(quad_divide(bits(a), bits(b))); }
quad __negtf2(quad a) { return real(bits(a) ^ SIGN); }

quad __powitf2(quad a, int n) {
    quad result = real((u128)BIAS << FRACTION), one = result;
    for (unsigned left = n < 0 ? -(unsigned)n : (unsigned)n; left; left >>= 1) {
        if (left & 1)
            result = __multf3(result, a);
        a = __multf3(a, a);
    }
    return n < 0 ? __divtf3(one, result) : result;
}

/* Each result for a NaN makes the test that the name suggests fail. */
static int compared(quad a, quad b, int quiet, int unordered) {
    int order = quad_compare(bits(a), bits(b), quiet);
    return order == 2 ? unordered : order;
}
int __eqtf2(quad a, quad b) { return compared(a, b, 1, 1); }
int __netf2(quad a, quad b) { return compared(a, b, 1, 1); }
int __cmptf2(quad a, quad b) { return compared(a, b, 1, 1); }
int __lttf2(quad a, quad b) { return compared(a, b, 0, 1); }
int __letf2(quad a, quad b) { return compared(a, b, 0, 1); }
int __gttf2(quad a, quad b) { return compared(a, b, 0, -1); }
int __getf2(quad a, quad b) { return compared(a, b, 0, -1); }
int __unordtf2(quad a, quad b) { return quad_compare(bits(a), bits(b), 1) == 2; }

#define C(name) si_##name
#define sint i32
#define uint u32
#define INTEGER 32
#include "conversions.h"
#undef C
#undef sint
#undef uint
#undef INTEGER
#define C(name) di_##name
#define sint i64
#define uint u64
#define INTEGER 64
#include "conversions.h"
#undef C
#undef sint
#undef uint
#undef INTEGER
#define C(name) ti_##name
#define sint i128
#define uint u128
#define INTEGER 128
#include "conversions.h"

i32 __fixtfsi(quad a) { return (i32)si_to_integer(bits(a), 1); }
u32 __fixunstfsi(quad a) { return si_to_integer(bits(a), 0); }
i64 __fixtfdi(quad a) { return (i64)di_to_integer(bits(a), 1); }
u64 __fixunstfdi(quad a) { return di_to_integer(bits(a), 0); }
i128 __fixtfti(quad a) { return (i128)ti_to_integer(bits(a), 1); }
u128 __fixunstfti(quad a) { return ti_to_integer(bits(a), 0); }

quad __floatsitf(i32 n) { return real(di_of_integer(n < 0 ? -(u64)(i64)n : (u64)n, n < 0 ? SIGN : 0)); }
quad __floatunsitf(u32 n) { return real(di_of_integer(n, 0)); }
quad __floatditf(i64 n) { return real(di_of_integer(n < 0 ? -(u64)n : (u64)n, n < 0 ? SIGN : 0)); }
quad __floatunditf(u64 n) { return real(di_of_integer(n, 0)); }
quad __floattitf(i128 n) { return real(ti_of_integer(n < 0 ? -(u128)n : (u128)n, n < 0 ? SIGN : 0)); }
quad __floatuntitf(u128 n) { return real(ti_of_integer(n, 0)); }

/* Widening: exact. `fraction` and `exponent` are the narrower format's widths. */
static quad widened(u64 a, int fraction, int exponent) {
    u64 sign = a >> (fraction + exponent) & 1, top = ((u64)1 << exponent) - 1;
    u64 field = a >> fraction & top, low = a & (((u64)1 << fraction) - 1);
    u128 result;
    int bias = (int)(top >> 1);
    if (field == top) {
        result = INF | (u128)low << (FRACTION - fraction);
        if (low) {
            if (!(low >> (fraction - 1)))
                raise_flags(INVALID);
#if defined(__riscv)
            sign = 0, result = INF;
#endif
            result |= QUIET;
        }
    } else if (field)
        result = (u128)(field + (u64)(BIAS - bias)) << FRACTION | (u128)low << (FRACTION - fraction);
    else if (low) {
        int shift = 0;
        for (; !(low >> fraction); shift++)
            low <<= 1;
        low &= ((u64)1 << fraction) - 1;
        result = (u128)(BIAS - bias + 1 - shift) << FRACTION | (u128)low << (FRACTION - fraction);
    } else
        result = 0;
    return real(result | (sign ? SIGN : 0));
}
quad __extendsftf2(float a) { return widened(((float_bits){.value = a}).bits, 23, 8); }
quad __extenddftf2(double a) { return widened(((double_bits){.value = a}).bits, 52, 11); }

#undef F
#undef rep
#undef BITS
#undef FRACTION
#undef EXPONENT
#define QUAD_TOP 0x7fff
#define QUAD_BIAS 0x3fff
#define QUAD_FRACTION 112

/* Narrowing: the value, its significand cut to FRACTION + 3 bits of the format with what is lost as the last. */
#define NARROWED(type, quadvalue)                                                                     \
    u128 a = bits(quadvalue), low = a & (((u128)1 << QUAD_FRACTION) - 1);                             \
    rep sign = a >> 127 ? SIGN : 0;                                                                   \
    int field = (int)(a >> QUAD_FRACTION) & QUAD_TOP;                                                 \
    rep cut = (rep)(low >> (QUAD_FRACTION - FRACTION - 3));                                           \
    if (field == QUAD_TOP) {                                                                          \
        if (!low)                                                                                     \
            return sign | INF;                                                                        \
        if (!(low >> (QUAD_FRACTION - 1)))                                                            \
            raise_flags(INVALID);                                                                     \
        return NARROWED_NAN;                                                                          \
    }                                                                                                 \
    if (!field && !low)                                                                               \
        return sign;                                                                                  \
    cut |= (low << (128 - (QUAD_FRACTION - FRACTION - 3))) != 0;                                      \
    if (!field) /* far below every value of the narrower format */                                    \
        return F(pack)(sign, -2 * BITS, LEADING | 1);                                                 \
    return F(pack)(sign, field - QUAD_BIAS + BIAS, LEADING | cut);
#if defined(__riscv)
#define NARROWED_NAN DEFAULT_NAN
#else
#define NARROWED_NAN (sign | INF | QUIET | cut >> 3)
#endif

#define F(name) double_##name
#define rep u64
#define BITS 64
#define FRACTION 52
#define EXPONENT 11
INTERNAL u64 mul_wide64(u64 a, u64 b, u64 *low) {
    u128 p = (u128)a * b;
    *low = (u64)p;
    return (u64)(p >> 64);
}
#define mul_wide mul_wide64
#include "again.h"
#include "binary.h"
static u64 to_double(quad value) { NARROWED(double, value) }
#undef F
#undef rep
#undef BITS
#undef FRACTION
#undef EXPONENT
#undef mul_wide
#define F(name) float_##name
#define rep u32
#define BITS 32
#define FRACTION 23
#define EXPONENT 8
INTERNAL u32 mul_wide32(u32 a, u32 b, u32 *low) {
    u64 p = (u64)a * b;
    *low = (u32)p;
    return (u32)(p >> 32);
}
#define mul_wide mul_wide32
#include "again.h"
#include "binary.h"
static u32 to_float(quad value) { NARROWED(float, value) }

double __trunctfdf2(quad a) { return ((double_bits){.bits = to_double(a)}).value; }
float __trunctfsf2(quad a) { return ((float_bits){.bits = to_float(a)}).value; }

#if defined(__x86_64__) /* x87's format, whose leading bit is stored */
typedef union { long double value; struct { u64 significand; u16 top; } parts; } extended_bits;

quad __extendxftf2(long double a) {
    extended_bits from = {.value = a};
    u128 sign = (u128)(from.parts.top >> 15) << 127, low = (u128)(from.parts.significand << 1) << 48;
    int field = from.parts.top & 0x7fff;
    if (field == 0x7fff)
        return real(sign | (u128)0x7fff << 112 | low | (low ? (u128)1 << 111 : 0));
    if (field)
        return real(sign | (u128)field << 112 | low);
    if (!from.parts.significand)
        return real(sign);
    return real(sign | (u128)from.parts.significand << 49); /* subnormal in both, with the same lowest exponent */
}

long double __trunctfxf2(quad a) {
    u128 all = bits(a), low = all & (((u128)1 << 112) - 1);
    int field = (int)(all >> 112) & 0x7fff, sign = (int)(all >> 127);
    extended_bits to;
    to.parts.top = (u16)(sign << 15 | field);
    if (field == 0x7fff) {
        to.parts.significand = (u64)1 << 63 | (low ? (u64)1 << 62 | (u64)(low >> 49) : 0);
        return to.value;
    }
    u64 kept = (field ? (u64)1 << 63 : 0) | (u64)(low >> 49);
    u64 rest = (u64)low & (((u64)1 << 49) - 1), half = (u64)1 << 48;
    enum rounding mode = rounding_mode();
    int up = mode == TO_NEAREST ? rest > half || (rest == half && (kept & 1))
           : mode == UPWARD     ? rest && !sign
           : mode == DOWNWARD   ? rest && sign
                                : 0;
    if (rest)
        raise_flags(INEXACT);
    kept += (u64)up;
    if (up && !kept)
        kept = (u64)1 << 63, to.parts.top++;
    else if (!field && kept >> 63)
        to.parts.top++;
    if ((to.parts.top & 0x7fff) == 0x7fff)
        raise_flags(OVERFLOWS);
    to.parts.significand = kept;
    return to.value;
}
#endif
#endif

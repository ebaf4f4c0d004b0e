/* binary16 and bfloat16: what compilers call to convert them. The type is passed as the ISA passes it; Arm's helpers
 * take and return its bits (Run-time ABI for the Arm Architecture, 5.1.2). */
#include "types.h"
#include "float_environment.h"

typedef union { float value; u32 bits; } float_bits;
typedef union { double value; u64 bits; } double_bits;

static u32 half_to_single(u16 a) {
    u32 sign = (u32)(a >> 15) << 31, field = a >> 10 & 31, low = a & 0x3ff;
    if (field == 31) {
        if (low && !(low >> 9))
            raise_flags(INVALID);
        return sign | 0xffu << 23 | low << 13 | (low ? 1u << 22 : 0);
    }
    if (!field && !low)
        return sign;
    if (!field) {
        for (field = 1; !(low >> 10); field--)
            low <<= 1;
        low &= 0x3ff;
    }
    return sign | (field + 127 - 15) << 23 | low << 13;
}

/* The value of `fraction` bits (below 2^62) and an exponent, rounded to a narrow format of which these are the widths. */
static u16 rounded(int negative, int exponent, u64 significand, int fraction, int to_fraction, int to_exponent) {
    int bias = (1 << (to_exponent - 1)) - 1, top = (1 << to_exponent) - 1;
    int drop = fraction - to_fraction, field = exponent + bias;
    enum rounding mode = rounding_mode();
    unsigned flags = 0;
    int tiny = field <= 0;
    if (tiny) {
        drop += 1 - field;
        field = 1;
    }
    if (drop > 62)
        significand = 1, drop = 62; /* what is left of it: less than half of the least value */
    u64 kept = significand >> drop, rest = significand & (((u64)1 << drop) - 1), middle = (u64)1 << (drop - 1);
    int up = mode == TO_NEAREST ? rest > middle || (rest == middle && (kept & 1))
           : mode == UPWARD     ? rest && !negative
           : mode == DOWNWARD   ? rest && negative
                                : 0;
    if (rest)
        flags |= INEXACT | (tiny ? UNDERFLOWS : 0);
    u32 result = ((u32)(field - 1) << to_fraction) + (u32)kept + (u32)up;
    if (field >= top || result >= (u32)top << to_fraction) {
        flags |= OVERFLOWS | INEXACT;
        int infinite = mode == TO_NEAREST || (mode == UPWARD && !negative) || (mode == DOWNWARD && negative);
        result = ((u32)top << to_fraction) - !infinite;
    }
    raise_flags(flags);
    return (u16)((u32)negative << 15 | result);
}

static u16 narrowed(u64 a, int fraction, int exponent, int to_fraction, int to_exponent) {
    int negative = (int)(a >> (fraction + exponent)), top = (1 << exponent) - 1;
    int field = (int)(a >> fraction) & top;
    u64 low = a & (((u64)1 << fraction) - 1);
    if (field == top) {
        u16 special = (u16)(negative << 15 | ((1 << to_exponent) - 1) << to_fraction);
        if (low && !(low >> (fraction - 1)))
            raise_flags(INVALID);
#if defined(__riscv)
        if (low)
            return (u16)((((1 << to_exponent) - 1) << to_fraction) | 1 << (to_fraction - 1));
#endif
        return low ? (u16)(special | 1 << (to_fraction - 1) | low >> (fraction - to_fraction)) : special;
    }
    if (!field && !low)
        return (u16)(negative << 15);
    u64 significand = field ? low | (u64)1 << fraction : low;
    return rounded(negative, (field ? field : 1) - (top >> 1), significand, fraction, to_fraction, to_exponent);
}

INTERNAL u16 half_of_single(u32 a) { return narrowed(a, 23, 8, 10, 5); }
INTERNAL u16 half_of_double(u64 a) { return narrowed(a, 52, 11, 10, 5); }
INTERNAL u16 bfloat_of_single(u32 a) { return narrowed(a, 23, 8, 7, 8); }
INTERNAL u16 bfloat_of_double(u64 a) { return narrowed(a, 52, 11, 7, 8); }

#if defined(__arm__)
typedef u16 half;
typedef u32 flt;
typedef u64 dbl;
#define half_bits(a) (a)
#define half_of(a) (a)
#define single_bits(a) (a)
#define single_of(a) (a)
#define bits_of_double(a) (a)
#else
typedef _Float16 half;
typedef float flt;
typedef double dbl;
typedef union { half value; u16 bits; } half_union;
static inline u16 half_bits(half a) { return ((half_union){.value = a}).bits; }
static inline half half_of(u16 a) { return ((half_union){.bits = a}).value; }
static inline u32 single_bits(float a) { return ((float_bits){.value = a}).bits; }
static inline float single_of(u32 a) { return ((float_bits){.bits = a}).value; }
static inline u64 bits_of_double(double a) { return ((double_bits){.value = a}).bits; }
#endif

flt __extendhfsf2(half a) { return single_of(half_to_single(half_bits(a))); }
half __truncsfhf2(flt a) { return half_of(half_of_single(single_bits(a))); }
half __truncdfhf2(dbl a) { return half_of(half_of_double(bits_of_double(a))); }
flt __gnu_h2f_ieee(half) ALIAS("__extendhfsf2");
half __gnu_f2h_ieee(flt) ALIAS("__truncsfhf2");

#if defined(__arm__)
flt __aeabi_h2f(half) ALIAS("__extendhfsf2");
half __aeabi_f2h(flt) ALIAS("__truncsfhf2");
half __aeabi_d2h(dbl) ALIAS("__truncdfhf2");
u16 __truncsfbf2(flt a) { return bfloat_of_single(a); }
u16 __truncdfbf2(dbl a) { return bfloat_of_double(a); }
flt __extendbfsf2(u16 a) { return (u32)a << 16; }
#else
double __extendhfdf2(half a) { return __extendhfsf2(a); }
#if defined(__x86_64__) || defined(__aarch64__) || defined(__riscv) || defined(__i386__)
typedef union { __bf16 value; u16 bits; } bfloat_union;
__bf16 __truncsfbf2(float a) { return ((bfloat_union){.bits = bfloat_of_single(single_bits(a))}).value; }
__bf16 __truncdfbf2(double a) { return ((bfloat_union){.bits = bfloat_of_double(bits_of_double(a))}).value; }
float __extendbfsf2(__bf16 a) { return single_of((u32)((bfloat_union){.value = a}).bits << 16); }
#endif
#if defined(__x86_64__)
typedef union { long double value; struct { u64 significand; u16 top; } parts; } extended_bits;
long double __extendhfxf2(half a) { return __extendhfsf2(a); }
half __truncxfhf2(long double a) { /* significand cut to 62 bits, the last of them standing for the rest */
    extended_bits from = {.value = a};
    int negative = from.parts.top >> 15, field = from.parts.top & 0x7fff;
    u64 low = from.parts.significand << 1;
    if (field == 0x7fff)
        return half_of((u16)(negative << 15 | 31 << 10 | (low ? 1 << 9 | (int)(low >> 54) : 0)));
    if (!from.parts.significand)
        return half_of((u16)(negative << 15));
    u64 cut = from.parts.significand >> 2 | ((from.parts.significand & 3) != 0);
    return half_of(rounded(negative, (field ? field : 1) - 16383, cut, 61, 10, 5));
}
#endif
#if defined(__SIZEOF_INT128__)
#if defined(__x86_64__)
typedef __float128 quad;
#else
typedef long double quad;
#endif
typedef union { quad value; u128 bits; } quad_bits;
quad __extendhftf2(half a) { return __extendhfsf2(a); }
half __trunctfhf2(quad a) {
    u128 all = ((quad_bits){.value = a}).bits, low = all & (((u128)1 << 112) - 1);
    int negative = (int)(all >> 127), field = (int)(all >> 112) & 0x7fff;
    if (field == 0x7fff)
        return half_of((u16)(negative << 15 | 31 << 10 | (low ? 1 << 9 | (int)(low >> 102) : 0)));
    if (!field && !low)
        return half_of((u16)(negative << 15));
    u64 cut = (u64)(low >> 51) | (field ? (u64)1 << 61 : 0) | ((u64)(low << 13) != 0);
    return half_of(rounded(negative, (field ? field : 1) - 16383, cut, 61, 10, 5));
}
#endif
#endif

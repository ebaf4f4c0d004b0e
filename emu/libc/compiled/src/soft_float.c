/* float and double in software. On Arm they go in integer registers whatever the program's float ABI is (Run-time
 * ABI for the Arm Architecture, 5.1.1); elsewhere this is for code without floating-point registers. */
#include "types.h"

#if defined(__arm__) || (defined(__riscv) && !defined(__riscv_flen)) || \
    (defined(__loongarch__) && (!defined(__loongarch_frlen) || __loongarch_frlen == 0))
#include "float_environment.h"

#define F(name) single_##name
#define rep u32
#define BITS 32
#define FRACTION 23
#define EXPONENT 8
static u32 mul_wide32(u32 a, u32 b, u32 *low) {
    u64 p = (u64)a * b;
    *low = (u32)p;
    return (u32)(p >> 32);
}
#define mul_wide mul_wide32
#include "binary.h"
#define C(name) single_si_##name
#define uint u32
#define INTEGER 32
#include "conversions.h"
#undef C
#undef uint
#undef INTEGER
#define C(name) single_di_##name
#define uint u64
#define INTEGER 64
#include "conversions.h"
#undef C
#undef uint
#undef INTEGER
static u32 single_negated(u32 a) { return a ^ SIGN; }
static u32 single_subtrahend(u32 a) { return single_is_nan(a) ? a : a ^ SIGN; }
static u32 single_sign(int negative) { return negative ? SIGN : 0; }
enum { SINGLE_BIAS = BIAS };

static u64 widened(u32 a) {
    u64 sign = (u64)(a >> 31) << 63, low = a & 0x7fffff;
    int field = (int)(a >> 23 & 0xff);
    if (field == 0xff) {
        if (low && !(low >> 22))
            raise_flags(INVALID);
        return sign | (u64)0x7ff << 52 | low << 29 | (low ? (u64)1 << 51 : 0);
    }
    if (!field && !low)
        return sign;
    if (!field) {
        for (field = 1; !(low >> 23); field--)
            low <<= 1;
        low &= 0x7fffff;
    }
    return sign | (u64)(field + 1023 - 127) << 52 | low << 29;
}

static u32 narrowed(u64 a) {
    u32 sign = (u32)(a >> 32) & SIGN;
    u64 low = a & (((u64)1 << 52) - 1);
    int field = (int)(a >> 52) & 0x7ff;
    u32 cut = (u32)(low >> 26) | ((low << 38) != 0);
    if (field == 0x7ff) {
        if (low && !(low >> 51))
            raise_flags(INVALID);
        return sign | INF | (low ? QUIET | (u32)(low >> 29) : 0);
    }
    if (!field && !low)
        return sign;
    if (!field)
        return single_pack(sign, -64, LEADING | 1);
    return single_pack(sign, field - 1023 + 127, LEADING | cut);
}

#undef F
#undef rep
#undef BITS
#undef FRACTION
#undef EXPONENT
#undef mul_wide
#define F(name) double_##name
#define rep u64
#define BITS 64
#define FRACTION 52
#define EXPONENT 11
static u64 mul_wide64(u64 a, u64 b, u64 *low) {
    u32 a1 = (u32)(a >> 32), a0 = (u32)a, b1 = (u32)(b >> 32), b0 = (u32)b;
    u64 p00 = (u64)a0 * b0, p01 = (u64)a0 * b1, p10 = (u64)a1 * b0, p11 = (u64)a1 * b1;
    u64 middle = (p00 >> 32) + (u32)p01 + (u32)p10;
    *low = middle << 32 | (u32)p00;
    return p11 + (p01 >> 32) + (p10 >> 32) + (middle >> 32);
}
#define mul_wide mul_wide64
#include "again.h"
#include "binary.h"
#define C(name) double_si_##name
#define uint u32
#define INTEGER 32
#include "conversions.h"
#undef C
#undef uint
#undef INTEGER
#define C(name) double_di_##name
#define uint u64
#define INTEGER 64
#include "conversions.h"

#if defined(__arm__)
typedef u32 flt;
typedef u64 dbl;
#define float_bits(a) (a)
#define float_of(a) (a)
#define double_bits(a) (a)
#define double_of(a) (a)
#else
typedef float flt;
typedef double dbl;
static inline u32 float_bits(float a) { return ((union { float value; u32 bits; }){.value = a}).bits; }
static inline float float_of(u32 a) { return ((union { float value; u32 bits; }){.bits = a}).value; }
static inline u64 double_bits(double a) { return ((union { double value; u64 bits; }){.value = a}).bits; }
static inline double double_of(u64 a) { return ((union { double value; u64 bits; }){.bits = a}).value; }
#endif

flt __addsf3(flt a, flt b) { return float_of(single_add(float_bits(a), float_bits(b))); }
flt __subsf3(flt a, flt b) { return float_of(single_add(float_bits(a), single_subtrahend(float_bits(b)))); }
flt __mulsf3(flt a, flt b) { return float_of(single_multiply(float_bits(a), float_bits(b))); }
flt __divsf3(flt a, flt b) { return float_of(single_divide(float_bits(a), float_bits(b))); }
flt __negsf2(flt a) { return float_of(single_negated(float_bits(a))); }
dbl __adddf3(dbl a, dbl b) { return double_of(double_add(double_bits(a), double_bits(b))); }
dbl __subdf3(dbl a, dbl b) {
    u64 y = double_bits(b);
    return double_of(double_add(double_bits(a), double_is_nan(y) ? y : y ^ SIGN));
}
dbl __muldf3(dbl a, dbl b) { return double_of(double_multiply(double_bits(a), double_bits(b))); }
dbl __divdf3(dbl a, dbl b) { return double_of(double_divide(double_bits(a), double_bits(b))); }
dbl __negdf2(dbl a) { return double_of(double_bits(a) ^ SIGN); }
dbl __extendsfdf2(flt a) { return double_of(widened(float_bits(a))); }
flt __truncdfsf2(dbl a) { return float_of(narrowed(double_bits(a))); }

/* Each result for a NaN makes the test that the name suggests fail. */
static int or_unordered(int order, int unordered) { return order == 2 ? unordered : order; }
#define COMPARISONS(mode, type, format, bits)                                                                 \
    int __eq##mode##2(type a, type b) { return or_unordered(format##_compare(bits(a), bits(b), 1), 1); }      \
    int __lt##mode##2(type a, type b) { return or_unordered(format##_compare(bits(a), bits(b), 0), 1); }      \
    int __gt##mode##2(type a, type b) { return or_unordered(format##_compare(bits(a), bits(b), 0), -1); }     \
    int __unord##mode##2(type a, type b) { return format##_compare(bits(a), bits(b), 1) == 2; }               \
    int __ne##mode##2(type, type) ALIAS("__eq" #mode "2");                                                    \
    int __cmp##mode##2(type, type) ALIAS("__eq" #mode "2");                                                   \
    int __le##mode##2(type, type) ALIAS("__lt" #mode "2");                                                    \
    int __ge##mode##2(type, type) ALIAS("__gt" #mode "2");
COMPARISONS(sf, flt, single, float_bits)
COMPARISONS(df, dbl, double, double_bits)

#define CONVERSIONS(mode, type, format, bits, of, sign)                                                       \
    i32 __fix##mode##si(type a) { return (i32)format##_si_to_integer(bits(a), 1); }                           \
    u32 __fixuns##mode##si(type a) { return format##_si_to_integer(bits(a), 0); }                             \
    i64 __fix##mode##di(type a) { return (i64)format##_di_to_integer(bits(a), 1); }                           \
    u64 __fixuns##mode##di(type a) { return format##_di_to_integer(bits(a), 0); }                             \
    type __floatsi##mode(i32 n) { return of(format##_si_of_integer(n < 0 ? -(u32)n : (u32)n, sign(n < 0))); } \
    type __floatunsi##mode(u32 n) { return of(format##_si_of_integer(n, 0)); }                                \
    type __floatdi##mode(i64 n) { return of(format##_di_of_integer(n < 0 ? -(u64)n : (u64)n, sign(n < 0))); } \
    type __floatundi##mode(u64 n) { return of(format##_di_of_integer(n, 0)); }
#define double_sign(negative) ((negative) ? SIGN : 0)
CONVERSIONS(sf, flt, single, float_bits, float_of, single_sign)
CONVERSIONS(df, dbl, double, double_bits, double_of, double_sign)

#if defined(__arm__) /* Arm's own names (5.1.2), where a comparison is a yes or no */
#define NAMES(letter, mode, type, format)                                                                     \
    type __aeabi_##letter##add(type, type) ALIAS("__add" #mode "3");                                          \
    type __aeabi_##letter##sub(type, type) ALIAS("__sub" #mode "3");                                          \
    type __aeabi_##letter##mul(type, type) ALIAS("__mul" #mode "3");                                          \
    type __aeabi_##letter##div(type, type) ALIAS("__div" #mode "3");                                          \
    type __aeabi_##letter##neg(type) ALIAS("__neg" #mode "2");                                                \
    type __aeabi_##letter##rsub(type a, type b) { return __sub##mode##3(b, a); }                              \
    int __aeabi_##letter##cmpeq(type a, type b) { return format##_compare(a, b, 1) == 0; }                    \
    int __aeabi_##letter##cmplt(type a, type b) { return format##_compare(a, b, 0) == -1; }                   \
    int __aeabi_##letter##cmple(type a, type b) { return format##_compare(a, b, 0) <= 0; }                    \
    int __aeabi_##letter##cmpgt(type a, type b) { return format##_compare(a, b, 0) == 1; }                    \
    int __aeabi_##letter##cmpge(type a, type b) { return (unsigned)format##_compare(a, b, 0) <= 1; }          \
    int __aeabi_##letter##cmpun(type, type) ALIAS("__unord" #mode "2");                                       \
    i32 __aeabi_##letter##2iz(type) ALIAS("__fix" #mode "si");                                                \
    u32 __aeabi_##letter##2uiz(type) ALIAS("__fixuns" #mode "si");                                            \
    i64 __aeabi_##letter##2lz(type) ALIAS("__fix" #mode "di");                                                \
    u64 __aeabi_##letter##2ulz(type) ALIAS("__fixuns" #mode "di");                                            \
    type __aeabi_i2##letter(i32) ALIAS("__floatsi" #mode);                                                    \
    type __aeabi_ui2##letter(u32) ALIAS("__floatunsi" #mode);                                                 \
    type __aeabi_l2##letter(i64) ALIAS("__floatdi" #mode);                                                    \
    type __aeabi_ul2##letter(u64) ALIAS("__floatundi" #mode);
NAMES(f, sf, flt, single)
NAMES(d, df, dbl, double)
dbl __aeabi_f2d(flt) ALIAS("__extendsfdf2");
flt __aeabi_d2f(dbl) ALIAS("__truncdfsf2");
#endif
#endif

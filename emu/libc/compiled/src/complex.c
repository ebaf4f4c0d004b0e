/* Complex multiplication and division by call, for each type of the parts. */
#include "types.h"
#pragma clang fp contract(off)

typedef union { float value; u32 bits; } float_bits;
typedef union { double value; u64 bits; } double_bits;

static inline float float_with_sign(float x, float y) {
    float_bits to = {x}, of = {y};
    to.bits = (to.bits & 0x7fffffff) | (of.bits & 0x80000000);
    return to.value;
}
#define T float
#define X(name) float_##name
#define PRODUCT __mulsc3
#define QUOTIENT __divsc3
#define POWER(n) (((float_bits){.bits = (u32)((n) + 127) << 23}).value)
#define EXPONENT_OF(x) (int)(((float_bits){.value = (x)}).bits >> 23 & 0xff)
#define BIAS 127
#define LOWEST -126
#include "complex.h"

static inline double double_with_sign(double x, double y) {
    double_bits to = {x}, of = {y};
    to.bits = (to.bits & ~((u64)1 << 63)) | (of.bits & (u64)1 << 63);
    return to.value;
}
#define T double
#define X(name) double_##name
#define PRODUCT __muldc3
#define QUOTIENT __divdc3
#define POWER(n) (((double_bits){.bits = (u64)((n) + 1023) << 52}).value)
#define EXPONENT_OF(x) (int)(((double_bits){.value = (x)}).bits >> 52 & 0x7ff)
#define BIAS 1023
#define LOWEST -1022
#include "complex.h"

#if defined(__x86_64__) || defined(__i386__)
typedef union { long double value; struct { u64 significand; u16 top; } parts; } extended_bits;

static inline long double extended_with_sign(long double x, long double y) {
    extended_bits to = {x}, of = {y};
    to.parts.top = (to.parts.top & 0x7fff) | (of.parts.top & 0x8000);
    return to.value;
}
static inline long double extended_power(int n) {
    extended_bits to;
    to.parts.significand = (u64)1 << 63;
    to.parts.top = (u16)(n + 16383);
    return to.value;
}
#define T long double
#define X(name) extended_##name
#define PRODUCT __mulxc3
#define QUOTIENT __divxc3
#define POWER(n) extended_power(n)
#define EXPONENT_OF(x) (((extended_bits){.value = (x)}).parts.top & 0x7fff)
#define BIAS 16383
#define LOWEST -16382
#include "complex.h"
#endif

#if __LDBL_MANT_DIG__ == 113 || defined(__x86_64__)
#if defined(__x86_64__)
#define T __float128
#else
#define T long double
#endif
typedef union { T value; u64 words[2]; } quad_bits;

static inline T quad_with_sign(T x, T y) {
    quad_bits to = {x}, of = {y};
    to.words[1] = (to.words[1] & ~((u64)1 << 63)) | (of.words[1] & (u64)1 << 63);
    return to.value;
}
#define X(name) quad_##name
#define PRODUCT __multc3
#define QUOTIENT __divtc3
#define POWER(n) (((quad_bits){.words = {0, (u64)((n) + 16383) << 48}}).value)
#define EXPONENT_OF(x) (int)(((quad_bits){.value = (x)}).words[1] >> 48 & 0x7fff)
#define BIAS 16383
#define LOWEST -16382
#include "complex.h"
#endif

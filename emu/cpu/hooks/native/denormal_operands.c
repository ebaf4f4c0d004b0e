/* Setting the flag "denormal operand" of x86, which Unicorn does not know, in functions of QEMU's software
 * floating point that have the operands and the flags.
 *
 * The flag is set in the byte where the other flags of arithmetic are (emu.cpu.unicorn.float_state), unless an
 * operand is a NaN, or the operation is invalid or a division by zero, or MXCSR takes denormals as zero (Intel SDM
 * volume 1, 4.9.2; volume 2, each instruction's exceptions). Of two NaNs the result is the first, as SSE has it;
 * Unicorn takes the larger (volume 1, table 4-7).
 */
#include "hook.h"

struct status {
    u8 tininess, rounding, flags, precision, flush, inputs_are_zero;
};

enum { DENORMAL = 2 };
#define QUIET32 (1ul << 22)
#define QUIET64 (1ul << 51)

#define QUICK static inline __attribute__((always_inline))
QUICK int denormal32(u32 a) { return 2 * a - 1 < 0xffffff; }
QUICK int denormal64(u64 a) { return 2 * a - 1 < 0x1fffffffffffff; }
QUICK int nan32(u32 a) { return 2 * a > 0xff000000; }
QUICK int nan64(u64 a) { return 2 * a > 0xffe0000000000000; }

#define SELDOM static __attribute__((noinline))
SELDOM void found(struct status *status, int invalid)
{
    if (!invalid && !status->inputs_are_zero)
        status->flags |= DENORMAL;
}

SELDOM void found32(u32 a, u32 b, struct status *status, int invalid)
{
    found(status, invalid | nan32(a) | nan32(b));
}

SELDOM void found64(u64 a, u64 b, struct status *status, int invalid)
{
    found(status, invalid | nan64(a) | nan64(b));
}

#define TWO(bits, name, invalid)                                                             \
    ORIGINAL(denormal_operands, u64, float##bits##_##name, u64 a, u64 b, struct status *)    \
    HOOK u64 float##bits##_##name(u64 a, u64 b, struct status *status)                       \
    {                                                                                        \
        RARELY (denormal##bits(a) | denormal##bits(b))                                       \
            found##bits(a, b, status, invalid);                                              \
        return original_float##bits##_##name(a, b, status);                                  \
    }                                                                                        \
    REPLACES(denormal_operands, float##bits##_##name)
#define SUM(bits, name, invalid)                                                             \
    ORIGINAL(denormal_operands, u64, float##bits##_##name, u64 a, u64 b, struct status *)    \
    HOOK u64 float##bits##_##name(u64 a, u64 b, struct status *status)                       \
    {                                                                                        \
        RARELY (denormal##bits(a) | denormal##bits(b))                                       \
            found##bits(a, b, status, invalid);                                              \
        u64 result = original_float##bits##_##name(a, b, status);                            \
        RARELY (nan##bits(result))                                                           \
            return nan##bits(a) ? a | QUIET##bits : result;                                  \
        return result;                                                                       \
    }                                                                                        \
    REPLACES(denormal_operands, float##bits##_##name)
#define ONE(bits, name, invalid)                                                             \
    ORIGINAL(denormal_operands, u64, name, u64 a, struct status *)                           \
    HOOK u64 name(u64 a, struct status *status)                                              \
    {                                                                                        \
        RARELY (denormal##bits(a))                                                           \
            found(status, invalid);                                                          \
        return original_##name(a, status);                                                   \
    }                                                                                        \
    REPLACES(denormal_operands, name)

SUM(32, add, 0) SUM(32, sub, 0) SUM(32, mul, 0) SUM(32, div, !(2 * (u32)b))
TWO(32, lt, 0) TWO(32, le, 0) TWO(32, eq_quiet, 0) TWO(32, unordered_quiet, 0)
TWO(32, compare, 0) TWO(32, compare_quiet, 0) ONE(32, float32_sqrt, a >> 31 & 1)
SUM(64, add, 0) SUM(64, sub, 0) SUM(64, mul, 0) SUM(64, div, !(2 * b))
TWO(64, lt, 0) TWO(64, le, 0) TWO(64, eq_quiet, 0) TWO(64, unordered_quiet, 0)
TWO(64, compare, 0) TWO(64, compare_quiet, 0) ONE(64, float64_sqrt, a >> 63)
ONE(32, float32_to_float64, 0) ONE(64, float64_to_float32, 0)

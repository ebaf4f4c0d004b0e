/* Integer arithmetic that compilers call (GCC internals manual, "Routines for integer arithmetic"), where code of the
 * guest is the quicker. A zero divisor goes to the hosted function, which reports it. */
#include "types.h"

#define BITS_OF(type) ((int)sizeof(type) * 8)

#if defined(__SIZEOF_INT128__) /* of 128 bits, on ISAs with registers of 64 */
extern u128 __relink_hosted___udivti3(u128, u128);

static u128 divided(u128 a, u128 b, u128 *rest) {
    if (!b)
        return __relink_hosted___udivti3(a, b);
    if (!(a >> 64) && !(b >> 64)) {
        *rest = (u64)a % (u64)b;
        return (u64)a / (u64)b;
    }
    u128 quotient = 0;
    int shift = 0;
    if (b > a) {
        *rest = a;
        return 0;
    }
    while (!(b >> 127) && b << 1 <= a)
        b <<= 1, shift++;
    for (; shift >= 0; shift--, b >>= 1) {
        quotient <<= 1;
        if (a >= b)
            a -= b, quotient |= 1;
    }
    *rest = a;
    return quotient;
}

u128 __udivti3(u128 a, u128 b) {
    u128 rest;
    return divided(a, b, &rest);
}
u128 __umodti3(u128 a, u128 b) {
    u128 rest;
    divided(a, b, &rest);
    return rest;
}
u128 __udivmodti4(u128 a, u128 b, u128 *remainder) {
    u128 rest, quotient = divided(a, b, &rest);
    if (remainder)
        *remainder = rest;
    return quotient;
}
static u128 size_of(i128 a) { return a < 0 ? -(u128)a : (u128)a; }
i128 __divmodti4(i128 a, i128 b, i128 *remainder) {
    u128 rest, quotient = divided(size_of(a), size_of(b), &rest);
    if (remainder)
        *remainder = (i128)(a < 0 ? -rest : rest);
    return (i128)((a < 0) != (b < 0) ? -quotient : quotient);
}
i128 __divti3(i128 a, i128 b) { return __divmodti4(a, b, 0); }
i128 __modti3(i128 a, i128 b) {
    i128 rest;
    __divmodti4(a, b, &rest);
    return rest;
}
i128 __multi3(i128 a, i128 b) {
    u64 a1 = (u64)((u128)a >> 64), a0 = (u64)a, b1 = (u64)((u128)b >> 64), b0 = (u64)b;
    u64 x1 = a0 >> 32, x0 = (u32)a0, y1 = b0 >> 32, y0 = (u32)b0;
    u64 p00 = x0 * y0, p01 = x0 * y1, p10 = x1 * y0, p11 = x1 * y1;
    u64 middle = (p00 >> 32) + (u32)p01 + (u32)p10;
    u64 high = p11 + (p01 >> 32) + (p10 >> 32) + (middle >> 32) + a1 * b0 + a0 * b1;
    return (i128)((u128)high << 64 | (middle << 32 | (u32)p00));
}
#endif

#if defined(__arm__) || defined(__i386__) || (defined(__riscv) && __riscv_xlen == 32)
/* of 64 bits, on ISAs with registers of 32 */
extern u64 __relink_hosted___udivdi3(u64, u64);
extern u32 __relink_hosted___udivsi3(u32, u32);

static u32 divided32(u32 a, u32 b, u32 *rest) {
    u32 quotient = 0;
    int shift = 0;
    if (!b)
        return __relink_hosted___udivsi3(a, b);
    while (!(b >> 31) && b << 1 <= a)
        b <<= 1, shift++;
    for (; shift >= 0; shift--, b >>= 1) {
        quotient <<= 1;
        if (a >= b)
            a -= b, quotient |= 1;
    }
    *rest = a;
    return quotient;
}

static u64 divided(u64 a, u64 b, u64 *rest) {
    u64 quotient = 0;
    int shift = 0;
    if (!b)
        return __relink_hosted___udivdi3(a, b);
    if (!(a >> 32) && !(b >> 32)) {
        u32 low, small = divided32((u32)a, (u32)b, &low);
        *rest = low;
        return small;
    }
    while (!(b >> 63) && b << 1 <= a)
        b <<= 1, shift++;
    for (; shift >= 0; shift--, b >>= 1) {
        quotient <<= 1;
        if (a >= b)
            a -= b, quotient |= 1;
    }
    *rest = a;
    return quotient;
}

u64 __udivdi3(u64 a, u64 b) {
    u64 rest;
    return divided(a, b, &rest);
}
u64 __umoddi3(u64 a, u64 b) {
    u64 rest;
    divided(a, b, &rest);
    return rest;
}
u64 __udivmoddi4(u64 a, u64 b, u64 *remainder) {
    u64 rest, quotient = divided(a, b, &rest);
    if (remainder)
        *remainder = rest;
    return quotient;
}
static u64 size_of(i64 a) { return a < 0 ? -(u64)a : (u64)a; }
i64 __divmoddi4(i64 a, i64 b, i64 *remainder) {
    u64 rest, quotient = divided(size_of(a), size_of(b), &rest);
    if (remainder)
        *remainder = (i64)(a < 0 ? -rest : rest);
    return (i64)((a < 0) != (b < 0) ? -quotient : quotient);
}
i64 __divdi3(i64 a, i64 b) { return __divmoddi4(a, b, 0); }
i64 __moddi3(i64 a, i64 b) {
    i64 rest;
    __divmoddi4(a, b, &rest);
    return rest;
}
i64 __muldi3(i64 a, i64 b) {
    u32 a1 = (u32)((u64)a >> 32), a0 = (u32)a, b1 = (u32)((u64)b >> 32), b0 = (u32)b;
    u32 x1 = a0 >> 16, x0 = a0 & 0xffff, y1 = b0 >> 16, y0 = b0 & 0xffff;
    u32 p00 = x0 * y0, p01 = x0 * y1, p10 = x1 * y0, p11 = x1 * y1;
    u32 middle = (p00 >> 16) + (p01 & 0xffff) + (p10 & 0xffff);
    u32 high = p11 + (p01 >> 16) + (p10 >> 16) + (middle >> 16) + a1 * b0 + a0 * b1;
    return (i64)((u64)high << 32 | (middle << 16 | (p00 & 0xffff)));
}
#endif

#if defined(__arm__) /* Run-time ABI for the Arm Architecture, 5.2.1 and 4.3.1: pairs in r0 to r3 */
u32 __udivsi3(u32 a, u32 b) {
    u32 rest;
    return divided32(a, b, &rest);
}
u32 __umodsi3(u32 a, u32 b) {
    u32 rest;
    divided32(a, b, &rest);
    return rest;
}
static u32 size_of32(i32 a) { return a < 0 ? -(u32)a : (u32)a; }
static i32 quotient32(i32 a, i32 b, i32 *remainder) {
    u32 rest, quotient = divided32(size_of32(a), size_of32(b), &rest);
    *remainder = (i32)(a < 0 ? -rest : rest);
    return (i32)((a < 0) != (b < 0) ? -quotient : quotient);
}
i32 __divsi3(i32 a, i32 b) {
    i32 rest;
    return quotient32(a, b, &rest);
}
i32 __modsi3(i32 a, i32 b) {
    i32 rest;
    quotient32(a, b, &rest);
    return rest;
}
u32 __aeabi_uidiv(u32, u32) ALIAS("__udivsi3");
i32 __aeabi_idiv(i32, i32) ALIAS("__divsi3");
u64 __aeabi_uidivmod(u32 a, u32 b) {
    u32 rest, quotient = divided32(a, b, &rest);
    return (u64)rest << 32 | quotient;
}
u64 __aeabi_idivmod(i32 a, i32 b) {
    i32 rest, quotient = quotient32(a, b, &rest);
    return (u64)(u32)rest << 32 | (u32)quotient;
}
u64 __aeabi_lmul(u64 a, u64 b) { return (u64)__muldi3((i64)a, (i64)b); }

/* The quotient in r0, r1 and the remainder in r2, r3. */
__attribute__((naked)) void __aeabi_uldivmod(u64 a, u64 b) {
    __asm__("push {r4, lr}\n sub sp, #16\n add r4, sp, #8\n str r4, [sp]\n bl __udivmoddi4\n"
            "ldr r2, [sp, #8]\n ldr r3, [sp, #12]\n add sp, #16\n pop {r4, pc}");
}
__attribute__((naked)) void __aeabi_ldivmod(i64 a, i64 b) {
    __asm__("push {r4, lr}\n sub sp, #16\n add r4, sp, #8\n str r4, [sp]\n bl __divmoddi4\n"
            "ldr r2, [sp, #8]\n ldr r3, [sp, #12]\n add sp, #16\n pop {r4, pc}");
}
u64 __aeabi_llsl(u64 a, int n) { return n & 0xc0 ? 0 : n & 32 ? (u64)((u32)a << (n & 31)) << 32 : a << (n & 31); }
u64 __aeabi_llsr(u64 a, int n) { return n & 0xc0 ? 0 : n & 32 ? (u32)(a >> 32) >> (n & 31) : a >> (n & 31); }
int __aeabi_lcmp(i64 a, i64 b) { return (a > b) - (a < b); }
int __aeabi_ulcmp(u64 a, u64 b) { return (a > b) - (a < b); }
#endif

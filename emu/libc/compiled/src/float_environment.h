/* The rounding mode and the exception flags of the CPU, as the software arithmetic here uses them. */
#ifndef FLOAT_ENVIRONMENT_H
#define FLOAT_ENVIRONMENT_H

enum rounding { TO_NEAREST, TOWARD_ZERO, UPWARD, DOWNWARD };
enum { INVALID = 1, DIVISION_BY_ZERO = 2, OVERFLOWS = 4, UNDERFLOWS = 8, INEXACT = 16 };

#if defined(__aarch64__)
static inline enum rounding rounding_mode(void) {
    unsigned long fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    switch (fpcr >> 22 & 3) {
    case 1: return UPWARD;
    case 2: return DOWNWARD;
    case 3: return TOWARD_ZERO;
    }
    return TO_NEAREST;
}
static inline void raise_flags(unsigned flags) {
    unsigned long fpsr;
    if (!flags)
        return;
    __asm__ volatile("mrs %0, fpsr" : "=r"(fpsr));
    __asm__ volatile("msr fpsr, %0" : : "r"(fpsr | flags));
}
#elif defined(__riscv) && defined(__riscv_flen)
static inline enum rounding rounding_mode(void) {
    unsigned long frm;
    __asm__ volatile("frrm %0" : "=r"(frm));
    switch (frm) {
    case 1: return TOWARD_ZERO;
    case 2: return DOWNWARD;
    case 3: return UPWARD;
    }
    return TO_NEAREST;
}
static inline void raise_flags(unsigned flags) {
    unsigned long set = (flags & INVALID ? 16 : 0) | (flags & DIVISION_BY_ZERO ? 8 : 0) |
                        (flags & OVERFLOWS ? 4 : 0) | (flags & UNDERFLOWS ? 2 : 0) | (flags & INEXACT ? 1 : 0);
    if (set)
        __asm__ volatile("csrs fflags, %0" : : "r"(set));
}
#elif defined(__loongarch__) && defined(__loongarch_frlen) && __loongarch_frlen > 0
static inline enum rounding rounding_mode(void) {
    unsigned long fcsr;
    __asm__ volatile("movfcsr2gr %0, $fcsr0" : "=r"(fcsr));
    return (enum rounding)(fcsr >> 8 & 3);
}
static inline void raise_flags(unsigned flags) {
    unsigned long fcsr, set = (flags & INVALID ? 16 : 0) | (flags & DIVISION_BY_ZERO ? 8 : 0) |
                              (flags & OVERFLOWS ? 4 : 0) | (flags & UNDERFLOWS ? 2 : 0) | (flags & INEXACT ? 1 : 0);
    if (!set)
        return;
    __asm__ volatile("movfcsr2gr %0, $fcsr0" : "=r"(fcsr));
    __asm__ volatile("movgr2fcsr $fcsr0, %0" : : "r"(fcsr | set << 16));
}
#elif defined(__SSE2__)
static inline enum rounding rounding_mode(void) {
    unsigned mxcsr;
    __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
    switch (mxcsr >> 13 & 3) {
    case 1: return DOWNWARD;
    case 2: return UPWARD;
    case 3: return TOWARD_ZERO;
    }
    return TO_NEAREST;
}
static inline void raise_flags(unsigned flags) {
    unsigned mxcsr, set = (flags & INVALID ? 1 : 0) | (flags & DIVISION_BY_ZERO ? 4 : 0) |
                          (flags & OVERFLOWS ? 8 : 0) | (flags & UNDERFLOWS ? 16 : 0) | (flags & INEXACT ? 32 : 0);
    if (!set)
        return;
    __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
    mxcsr |= set;
    __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
}
#else /* no floating-point unit that code may rely on */
static inline enum rounding rounding_mode(void) { return TO_NEAREST; }
static inline void raise_flags(unsigned flags) { (void)flags; }
#endif

#endif

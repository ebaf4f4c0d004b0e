/* Floating-point registers across exceptions: frames with and without them, FPCA, EXC_RETURN. */
#include "start.h"
static volatile uint32_t lazy;
HANDLER(on_irq0) {
    note("irq0", link);
    note(" fpca", MRS("control"));
    __asm__ volatile("vmov.f32 s0, #2.0\n vmov.f32 s15, #3.0\n vmov.f32 s16, #4.0" ::: "s0", "s15");
    note(" fpca", MRS("control"));
    note(" size", ((link & 16) ? 0x20 : 0x68));
    ISPR = 2;
    BARRIER();
    note(" s15 after irq1", ({ uint32_t v; __asm__ volatile("vmov %0, s15" : "=r"(v)); v; }));
    (void)frame;
}
HANDLER(on_irq1) {
    (void)frame;
    note("irq1", link);
    __asm__ volatile("vmov.f32 s0, #5.0\n vmov.f32 s15, #6.0" ::: "s0", "s15");
}
void program(void) {
    CPACR = 15u << 20;
    BARRIER();
    irq_priority(0, 0x80), irq_priority(1, 0x40);
    ISER = 3;
    REG(0xE000EF34) &= ~(1u << 30); /* no lazy stacking */
    note("control", MRS("control"));
    ISPR = 2;
    BARRIER();
    note("control", MRS("control"));
    __asm__ volatile("vmov.f32 s0, #1.0\n vmov.f32 s15, #1.5\n vmov.f32 s16, #1.75\n"
                     "ldr r0, =0x60000010\n vmsr fpscr, r0" ::: "r0", "s0", "s15");
    note("control", MRS("control"));
    ISPR = 1;
    BARRIER();
    uint32_t s0, s15, s16, fpscr;
    __asm__ volatile("vmov %0, s0\n vmov %1, s15\n vmov %2, s16\n vmrs %3, fpscr" : "=r"(s0), "=r"(s15), "=r"(s16), "=r"(fpscr));
    note("s0", s0), note("s15", s15), note("s16", s16), note("fpscr", fpscr), note("control", MRS("control"));
    say("not saved\n");
    MSR("control", 0);
    REG(0xE000EF34) &= ~(1u << 31);
    BARRIER();
    note("fpccr", REG(0xE000EF34) >> 30);
    __asm__ volatile("vmov.f32 s0, #1.0" ::: "s0");
    ISPR = 2;
    BARRIER();
    __asm__ volatile("vmov %0, s0" : "=r"(s0));
    note("s0", s0);
}

/* Less usual: masks at returns, NMI, priorities that change, bad stacks, bad returns, privileges, VTOR, bit-banding. */
#include "start.h"
#define STIR REG(0xE000EF00)
#if __ARM_ARCH >= 7 && !defined(__ARM_ARCH_8M_BASE__)
#define HAS_MASKS 1
#endif
static volatile uint32_t resume, plan, process_stack[64], table[32] __attribute__((aligned(128)));
static void good_process_stack(void) {
    volatile uint32_t *frame = process_stack + 40;
    frame[6] = resume & ~1u, frame[7] = 1u << 24;
    MSR("psp", (uint32_t)frame);
}
static void report(const char *name, uint32_t *frame, uint32_t link) {
    note(name, link);
#ifdef HAS_MASKS
    note(" cfsr", CFSR), note(" hfsr", HFSR);
    if (CFSR & 1u << 15) note(" bfar", BFAR);
    CFSR = ~0u, HFSR = ~0u;
#endif
    if (plan == 1 || plan == 2) good_process_stack();
    else frame[6] = resume & ~1u, frame[7] = (frame[7] & ~0x0600FC00u) | 1u << 24;
}
HANDLER(on_hard) { report("hard", frame, link); }
HANDLER(on_bus) { report("bus", frame, link); }
/* Of a bad return: it returns to thread mode. */
__attribute__((used)) static void bad(uint32_t *frame, uint32_t link) { report("usage", frame, link); }
__attribute__((naked)) void on_usage(void) {
    __asm__ volatile("mov r1, lr\n mrs r0, msp\n bl bad\n movs r0, #6\n mvns r0, r0\n bx r0");
}
HANDLER(on_nmi) {
    (void)frame;
    note("nmi", link), note(" primask", MRS("primask"));
#ifdef HAS_MASKS
    note(" faultmask", MRS("faultmask"));
#endif
    ISPR = 2;
}
HANDLER(on_svc) {
    note("svc", ((uint16_t *)frame[6])[-1] & 255), note(" link", link);
    if (plan == 2) MSR("psp", 0x70000000);
    if (plan == 3) {
        MSR("control", 2);
        note(" control", MRS("control"));
    }
#ifdef HAS_MASKS
    note(" shcsr", SHCSR & 0x880);
#endif
}
HANDLER(on_pendsv) { (void)frame, note("pendsv", link); }
HANDLER(on_systick) { (void)frame, note("systick", link); }
HANDLER(on_irq1) { (void)frame, note("irq1", link), note(" active", IABR & 15); }
HANDLER(on_irq2) { (void)frame, note("irq2", link); }
HANDLER(on_irq3) { (void)frame, note("irq3", link); }
HANDLER(on_irq0) {
    (void)frame;
    note("irq0", link);
    switch (plan) {
    case 10: ISPR = 8; BARRIER(); say(" irq3 becomes urgent\n"), irq_priority(3, 0x40); BARRIER(); say(" irq0 leaves\n"); break;
    case 11: __asm__ volatile("cpsid i"); ISPR = 2; BARRIER(); break;
#ifdef HAS_MASKS
    case 12: __asm__ volatile("cpsid f"); ISPR = 2; BARRIER(); break;
    case 13: MSR("basepri", 0x40); ISPR = 2; BARRIER(); break;
#endif
    case 14: ISPR = 4; ICPR = 4; ISPR = 4 | 8; BARRIER(); break;
    case 15: irq_priority(0, 0xC0); ISPR = 4; BARRIER(); say(" irq0 leaves\n"); break;
    }
}
static void moved(void) { say("the moved irq0\n"); }
#define TRY(name, assembly)                                                                                            \
    say("- " name "\n");                                                                                               \
    __asm__ volatile("adr r0, 9f\n str r0, [%0]\n" assembly "\n nop\n .align 2\n 9: nop" ::"r"(&resume)               \
                     : "r0", "r1", "r2", "r3", "memory")
static void interrupt(const char *what, uint32_t chosen) {
    irq_priority(0, 0x80), irq_priority(1, 0x40), irq_priority(2, 0x80), irq_priority(3, 0xC0);
    say("- "), say(what), say("\n"), plan = chosen;
    ISPR = 1;
    BARRIER();
    note("primask", MRS("primask"));
    __asm__ volatile("cpsie i\n isb");
#ifdef HAS_MASKS
    note("faultmask", MRS("faultmask")), note("basepri", MRS("basepri"));
    MSR("basepri", 0);
#endif
    note("pending", ISPR & 15);
    plan = 0;
}
static void bad_stacks(void) {
    plan = 1;
    MSR("control", 2);
    TRY("svc without a stack", "movs r1, #7\n lsls r1, #28\n msr psp, r1\n svc 1");
    plan = 2;
    MSR("psp", (uint32_t)(process_stack + 64));
    say("- a handler takes the stack away\n");
    __asm__ volatile("adr r0, 9f\n str r0, [%0]\n movs r1, #1\n svc 2\n .align 2\n 9: nop" ::"r"(&resume) : "r0", "r1", "memory");
    plan = 0;
    MSR("control", 0);
}
__attribute__((naked)) static void bad_return(void) { __asm__ volatile("movs r0, #0xa\n mvns r0, r0\n bx r0"); } /* 0xfffffff5 */
__attribute__((naked)) static void to_handler(void) { __asm__ volatile("movs r0, #0xe\n mvns r0, r0\n bx r0"); } /* 0xfffffff1 */
void program(void) {
    ISER = 15;
    SHPR3 = 0x40C00000;
    interrupt("a priority that changes", 10), interrupt("primask at the return", 11);
#ifdef HAS_MASKS
    interrupt("faultmask at the return", 12), interrupt("basepri at the return", 13);
#endif
    interrupt("withdrawn and made again", 14), interrupt("a handler that becomes less urgent", 15);
    say("- nmi\n");
    __asm__ volatile("cpsid i");
    ICSR = 1u << 31;
    BARRIER();
    note("pending", ISPR & 15);
    __asm__ volatile("cpsie i\n isb");
#ifdef HAS_MASKS
    __asm__ volatile("cpsid f");
    ICSR = 1u << 31;
    BARRIER();
    note("faultmask", MRS("faultmask"));
    __asm__ volatile("cpsie f\n isb");
    say("- basepri_max\n");
    static const uint8_t levels[] = {0x80, 0xC0, 0x40, 0, 0x60};
    for (int i = 0; i < 5; i++) {
        MSR("basepri_max", levels[i]);
        note("basepri", MRS("basepri"));
    }
    MSR("basepri", 0);
    say("- priorities in a group\n");
    AIRCR = 0x05FA0000 | 6 << 8;
    irq_priority(1, 0x60), irq_priority(2, 0x40), irq_priority(3, 0x50);
    __asm__ volatile("cpsid i");
    ISPR = 14;
    BARRIER();
    note("icsr", ICSR & 0xFFFFF000), note("aircr", AIRCR);
    __asm__ volatile("cpsie i\n isb");
    AIRCR = 0x05FA0000;
    say("- pended by registers\n");
    STIR = 2;
    BARRIER();
    SHCSR |= 1u << 15;
    BARRIER();
    note("shcsr", SHCSR);
    ICSR = 3u << 27;
    BARRIER();
    say("- unprivileged\n");
    MSR("psp", (uint32_t)(process_stack + 64));
    SHCSR = 7u << 16;
    MSR("control", 3);
    TRY("icsr", "ldr r1, =0xe000ed04\n ldr r2, [r1]");
    TRY("iser", "ldr r1, =0xe000e100\n movs r2, #1\n str r2, [r1]");
    TRY("cps and msr", "cpsid i\n movs r1, #0x40\n msr basepri, r1\n svc 3");
    plan = 3;
    __asm__ volatile("svc 4" ::: "memory");
    plan = 0;
    note("control", MRS("control"));
    SHCSR = 0;
    MSR("control", 0);
    say("- moved vectors\n");
    for (int i = 0; i < 32; i++) table[i] = (uint32_t)vectors[i];
    table[16] = (uint32_t)moved;
    VTOR = (uint32_t)table;
    BARRIER();
    ISPR = 1;
    BARRIER();
    note("vtor", VTOR == (uint32_t)table);
    SHCSR = 7u << 16;
    for (int way = 0; way < 2; way++) {
        say("- a bad return\n");
        table[16] = way ? (uint32_t)to_handler : (uint32_t)bad_return;
        TRY("returns", "movs r1, #1\n ldr r2, =0xe000e200\n str r1, [r2]\n dsb\n isb");
    }
    VTOR = (uint32_t)vectors;
    BARRIER();
#endif
    bad_stacks();
#ifdef HAS_MASKS
    uint32_t part = REG(0xE000ED00) >> 4 & 0xFFF;
    if (part == 0xC23 || part == 0xC24) {
        static volatile uint32_t word;
        volatile uint32_t *bits = (volatile uint32_t *)(0x22000000 + ((uint32_t)&word - 0x20000000) * 32);
        word = 0x100, bits[3] = 1, bits[8] = 2, bits[31] = 3;
        note("bits", word), note("bit", bits[31]), note("byte", *(volatile uint8_t *)(bits + 3));
    }
#endif
}

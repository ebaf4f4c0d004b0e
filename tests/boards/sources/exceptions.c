/* SVC, PendSV, priorities, nesting, tail-chaining, masks, stacks, SysTick: every event is a line. */
#include "start.h"
static volatile uint32_t ticks;
HANDLER(on_svc) {
    uint16_t code = ((uint16_t *)frame[6])[-1];
    note("svc", code & 255);
    note(" link", link);
    note(" ipsr", MRS("ipsr"));
    note(" frame aligned by", frame[7] >> 9 & 1);
    frame[0] = frame[0] + frame[1];
    if ((code & 255) == 9) MSR("control", 0);
}
HANDLER(on_systick) { (void)frame, (void)link, ticks++; }
HANDLER(on_pendsv) { (void)frame, note("pendsv", link); }
HANDLER(on_irq0) {
    (void)frame;
    note("irq0 enters", link);
    ISPR = 2;
    BARRIER();
    note("irq0 active", IABR & 15);
    ICSR = 1u << 28;
    BARRIER();
    say("irq0 leaves\n");
}
HANDLER(on_irq1) { (void)frame, note("irq1", link), note(" icsr", ICSR & 0xFFFFF), note(" active", IABR & 15); }
HANDLER(on_irq2) { (void)frame, note("irq2", link); }
HANDLER(on_irq3) { (void)frame, note("irq3", link); }

static uint32_t add(uint32_t a, uint32_t b) {
    register uint32_t r0 __asm__("r0") = a;
    register uint32_t r1 __asm__("r1") = b;
    __asm__ volatile("svc 7" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}
static uint32_t misaligned(void) {
    uint32_t value;
    __asm__ volatile("movs r0, #1\n movs r1, #2\n sub sp, #4\n svc 8\n add sp, #4\n mov %0, r0" : "=r"(value)::"r0", "r1", "memory");
    return value;
}
static uint32_t process_stack[64];
static void threads(void) {
    MSR("psp", (uint32_t)(process_stack + 64));
    MSR("control", 2);
    note("control", MRS("control"));
    note("svc on the process stack", add(20, 22));
    MSR("control", 3);
    note("control", MRS("control"));
#if __ARM_ARCH >= 7 /* v6-M may be without unprivileged threads */
    __asm__ volatile("cpsid i");
    note("primask of an unprivileged thread", MRS("primask"));
    note("svc unprivileged", add(1, 2));
#endif
    __asm__ volatile("svc 9" ::: "r0", "r1", "memory");
    note("control", MRS("control"));
    MSR("control", 0);
}
void program(void) {
    note("svc gives", add(40, 2));
    note("misaligned gives", misaligned());
    irq_priority(0, 0x80), irq_priority(1, 0x40), irq_priority(2, 0x80), irq_priority(3, 0xC0);
    SHPR3 = 0x40C00000;
    ISER = 15;
    say("nested\n");
    ISPR = 1;
    BARRIER();
    say("by priority, then by number\n");
    __asm__ volatile("cpsid i");
    ISPR = 12;
    ICSR = 1u << 28;
    BARRIER();
    note("pending", ISPR & 15);
    note("icsr", ICSR & 0xFFFFF000);
    __asm__ volatile("cpsie i\n isb");
    say("disabled\n");
    ICER = 4;
    ISPR = 4;
    BARRIER();
    note("pending", ISPR & 15);
    ICPR = 4;
    ISER = 4;
    BARRIER();
    note("pending", ISPR & 15);
    threads();
    SYST_RVR = 2000, SYST_CVR = 0, SYST_CSR = 7;
    while (ticks < 3) {}
    SYST_CSR = 0;
    say("three ticks\n");
    SYST_CSR = 7;
    uint32_t before = ticks;
    while (ticks == before) __asm__ volatile("wfi");
    SYST_CSR = 0;
    say("woken\n");
#if __ARM_ARCH >= 7 && !defined(__ARM_ARCH_8M_BASE__)
    say("basepri\n");
    MSR("basepri", 0x80);
    ISPR = 8 | 2;
    BARRIER();
    say("irq1 came through\n");
    MSR("basepri", 0);
    say("faultmask\n");
    __asm__ volatile("cpsid f");
    ISPR = 2;
    BARRIER();
    note("faultmask", MRS("faultmask"));
    __asm__ volatile("cpsie f\n isb");
    say("groups\n");
    AIRCR = 0x05FA0000 | 7 << 8;
    ISPR = 1;
    BARRIER();
    AIRCR = 0x05FA0000;
#endif
}

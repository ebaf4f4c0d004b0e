/* Faults, one after the other: which handler runs, at which priority, with which status; each is survived. */
#include "start.h"
static volatile uint32_t resume;
static void report(const char *name, uint32_t *frame, uint32_t link) {
    say(name);
    note(" link", link);
    note("  pc", frame[6]);
    note("  psr", frame[7]);
    note("  ipsr", MRS("ipsr"));
#if __ARM_ARCH >= 7
    note("  cfsr", CFSR), note("  hfsr", HFSR != 0); /* QEMU has FORCED where hardware has DEBUGEVT */
    if (CFSR & 1u << 15) note("  bfar", BFAR);
    CFSR = ~0u, HFSR = ~0u;
#endif
    frame[6] = resume & ~1u;
    frame[7] = (frame[7] & ~0x0600FC00u) | 1u << 24;
}
HANDLER(on_hard) { report("hard", frame, link); }
HANDLER(on_mem) { report("mem", frame, link); }
HANDLER(on_bus) { report("bus", frame, link); }
HANDLER(on_usage) { report("usage", frame, link); }
HANDLER(on_svc) { (void)frame, note("svc", link); }
/* Runs assembly that faults; goes on behind it. */
#define TRY(name, assembly)                                                                                            \
    say("- " name "\n");                                                                                               \
    __asm__ volatile("adr r0, 9f\n str r0, [%0]\n" assembly "\n nop\n .align 2\n 9: nop" ::"r"(&resume)               \
                     : "r0", "r1", "r2", "r3", "memory")
HANDLER(on_irq0) {
    (void)frame, (void)link;
    TRY("undefined in a handler", "udf #0");
    TRY("svc in a handler of its priority", "svc 1");
}
static void all(void) {
    TRY("undefined", "udf #1");
    TRY("load from nowhere", "movs r1, #7\n lsls r1, #28\n ldr r2, [r1]");
    TRY("store to nowhere", "movs r1, #7\n lsls r1, #28\n str r2, [r1, #4]");
    TRY("jump to nowhere", "movs r1, #0x61\n lsls r1, #24\n adds r1, #1\n bx r1");
    TRY("jump to an even address", "adr r1, 9f\n bx r1");
    TRY("breakpoint", "bkpt 3");
#if __ARM_ARCH >= 7
    TRY("coprocessor", "mcr p7, 0, r0, c0, c0, 0");
    TRY("in an IT block", "cmp r0, r0\n ite eq\n udfeq #2\n movne r0, #1");
#else
    TRY("unaligned", "mov r1, sp\n adds r1, #1\n ldr r2, [r1]");
#endif
    TRY("svc with interrupts off", "cpsid i\n svc 2");
    __asm__ volatile("cpsie i");
}
static uint32_t process_stack[128];
void program(void) {
    resume = 0;
    note("cpuid", REG(0xE000ED00) & 0xFFF0);
    all();
    ISER = 1, ISPR = 1;
    BARRIER();
#if __ARM_ARCH >= 7
    say("enabled\n");
    SHCSR = 7u << 16;
    all();
    ISPR = 1;
    BARRIER();
    TRY("with basepri", "movs r1, #0x20\n msr basepri, r1\n udf #3");
    MSR("basepri", 0);
    TRY("with faultmask", "cpsid f\n nop\n cpsie f");
    say("fault priority\n");
    REG(0xE000ED18) = 0x00808080;
    irq_priority(0, 0x40);
    ISPR = 1;
    BARRIER();
#endif
    MSR("psp", (uint32_t)(process_stack + 128));
    MSR("control", 2);
    TRY("undefined on the process stack", "udf #4");
    MSR("control", 0);
}

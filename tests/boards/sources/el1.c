/* AArch64 at EL1: SVC, undefined instructions, aborts, breakpoints, interrupts of software and timer, EL0. */
#include "arm_virt.h"
#define READ(register) ({ uint64_t v; __asm__ volatile("mrs %0, " #register : "=r"(v)); v; })
#define WRITE(register, value) __asm__ volatile("msr " #register ", %0\n isb" ::"r"((uint64_t)(value)) : "memory")
static volatile uint64_t resume, nesting, back_to_el1;
__attribute__((used)) void on_sync(uint64_t vector) {
    uint64_t syndrome = READ(esr_el1);
    note("vector", vector), note(" esr", syndrome), note(" spsr", READ(spsr_el1) & 0xFFFFFFF);
    note(" offset", READ(elr_el1) - resume);
    if (syndrome >> 26 == 0x25) note(" far", READ(far_el1));
    if (syndrome >> 26 != 0x15) WRITE(elr_el1, resume);
    if (syndrome >> 26 == 0x15 && (syndrome & 0xFFFF) == 77) { WRITE(elr_el1, back_to_el1); WRITE(spsr_el1, 0x3C5); }
}
__attribute__((used)) void on_irq(uint64_t vector) {
    uint32_t number = REG(GICC + 12);
    note("irq", number), note(" vector", vector), note(" priority", REG(GICC + 20));
    if (number == 27) tick();
    if (number == 1) {
        uint64_t link = READ(elr_el1), state = READ(spsr_el1);
        software(2), software(3);
        UNMASK;
        nesting++;
        MASK;
        WRITE(elr_el1, link);
        WRITE(spsr_el1, state);
        say(" leaves 1\n");
    }
    REG(GICC + 16) = number;
}
__asm__(".macro entry to\n .balign 128\n sub sp, sp, #192\n stp x0, x1, [sp]\n stp x2, x3, [sp, #16]\n stp x4, x5, [sp, #32]\n"
        " stp x6, x7, [sp, #48]\n stp x8, x9, [sp, #64]\n stp x10, x11, [sp, #80]\n stp x12, x13, [sp, #96]\n"
        " stp x14, x15, [sp, #112]\n stp x16, x17, [sp, #128]\n stp x18, x30, [sp, #144]\n adr x0, .\n and x0, x0, #0x780\n"
        " bl \\to\n b leave\n .endm\n"
        ".balign 2048\n.global vectors\nvectors:\n .rept 4\n entry on_sync\n entry on_irq\n entry on_sync\n entry on_sync\n .endr\n"
        "leave: ldp x2, x3, [sp, #16]\n ldp x4, x5, [sp, #32]\n ldp x6, x7, [sp, #48]\n ldp x8, x9, [sp, #64]\n"
        " ldp x10, x11, [sp, #80]\n ldp x12, x13, [sp, #96]\n ldp x14, x15, [sp, #112]\n ldp x16, x17, [sp, #128]\n"
        " ldp x18, x30, [sp, #144]\n ldp x0, x1, [sp]\n add sp, sp, #192\n eret");
extern char vectors[];
#define TRY(name, code)                                                                                                \
    say("- " name "\n");                                                                                               \
    __asm__ volatile("adr x9, 9f\n str x9, [%0]\n" code "\n nop\n 9: nop" ::"r"(&resume) : "x9", "x10", "memory")
static void exceptions(void) {
    TRY("svc", "svc #7");
    TRY("undefined", ".word 0");
    TRY("breakpoint", "brk #5");
    TRY("load from nowhere", "mov x10, #0x80000000\n ldr x10, [x10, #8]");
    TRY("store to nowhere", "mov x10, #0x80000000\n strb w10, [x10, #3]");
    TRY("jump to nowhere", "mov x10, #0x80000000\n br x10");
    TRY("no such register", "mrs x10, s3_0_c15_c15_7");
    TRY("svc with the other stack", "msr spsel, #0\n svc #9\n msr spsel, #1");
    note("daif", READ(daif)), note("level", READ(CurrentEL)), note("selected", READ(spsel));
}
static void interrupts(void) {
    gic();
    enable(1, 0xA0), enable(2, 0x80), enable(3, 0xC0), enable(27, 0x90);
    note("type", REG(GICD + 4) & 31);
    software(1);
    note("masked, pending", REG(GICD + 0x200));
    note("isr", READ(isr_el1) & 0);
    UNMASK;
    note("nested", nesting);
    MASK;
    software(3), software(2);
    note("highest", REG(GICC + 24));
    UNMASK;
    wait_for_alarms();
    REG(GICC + 4) = 0x40;
    software(2);
    UNMASK;
    say("below the mask\n");
    REG(GICC + 4) = 0xF0;
    say("above\n");
    MASK;
}
static uint64_t user_stack[64];
static void user_mode(void) {
    WRITE(sp_el0, user_stack + 64);
    say("- svc at el0\n");
    __asm__ volatile("adr x9, after_user\n str x9, [%0]\n adr x9, 9f\n str x9, [%1]\n msr elr_el1, x9\n"
                     "msr spsr_el1, xzr\n eret\n 9: svc #3\n mov x10, #5\n svc #4\n svc #77"
                     ::"r"(&back_to_el1), "r"(&resume) : "x9", "x10", "memory");
}
__attribute__((used)) void last(void) {
    note("level", READ(CurrentEL)), note("selected", READ(spsel));
    say("end\n");
    static uint64_t block[2] = {0x20026, 0};
    __asm__ volatile("mov x0, #0x18\n mov x1, %0\n hlt #0xf000" ::"r"(block) : "x0", "x1");
    for (;;) {}
}
__asm__("after_user: adrp x9, stack_top\n add x9, x9, :lo12:stack_top\n mov sp, x9\n b last");
__attribute__((used)) void program(void) {
    WRITE(vbar_el1, vectors);
    exceptions(), interrupts(), user_mode();
}
__asm__(".section .text.start, \"ax\"\n.global start\nstart: adrp x9, stack_top\n add x9, x9, :lo12:stack_top\n mov sp, x9\n b program");

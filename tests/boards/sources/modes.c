/* Arm v7-A and v7-R: SVC, undefined instructions, aborts, interrupts of software and timer, User mode; A32 or Thumb. */
#include "arm_virt.h"
#define READ(name) ({ uint32_t v; __asm__ volatile("mrs %0, " #name : "=r"(v)); v; })
#define CP15(value, place) __asm__ volatile("mrc p15, 0, %0, " place : "=r"(value))
#define SET(value, place) __asm__ volatile("mcr p15, 0, %0, " place ::"r"(value) : "memory")
#define GET(place) ({ uint32_t v; CP15(v, place); v; })
#ifdef __thumb__
#define ODD "orr r4, r4, #1\n "
#define NOWHERE "mov r5, #0x80000000\n orr r5, #1"
#define FLOAT ".inst.w 0xee300a00"
#else
#define ODD
#define NOWHERE "mov r5, #0x80000000"
#define FLOAT ".inst 0xee300a00"
#endif
static volatile uint32_t resume, nesting;
struct frame {
    uint32_t spsr, r[8], r12, lr, pc;
};
__attribute__((used)) void on_exception(struct frame *frame, uint32_t vector) {
    note("vector", vector), note(" mode", READ(cpsr) & 0x3FF), note(" spsr", frame->spsr & 0x3FF);
    note(" link", frame->pc - (resume & ~1u));
    if (vector == 3) note(" ifsr", GET("c5, c0, 1")), note(" ifar", GET("c6, c0, 2"));
    if (vector == 4) note(" dfsr", GET("c5, c0, 0")), note(" dfar", GET("c6, c0, 0"));
    if (vector != 2) frame->pc = resume;
    if (vector == 2 && frame->r[0] == 77) frame->spsr = (frame->spsr & ~0x1Fu) | 0x1F;
}
__attribute__((used)) void on_irq(struct frame *frame, uint32_t vector) {
    uint32_t number = REG(GICC + 12);
    note("irq", number), note(" mode", READ(cpsr) & 0xFF), note(" spsr", frame->spsr & 0xFF);
    note(" priority", REG(GICC + 20));
    (void)vector;
#ifdef VIRT
    if (number == 27) tick();
#endif
    if (number == 1) {
        software(2), software(3);
        __asm__ volatile("cps #0x1f\n push {lr}\n cpsie i\n nop\n cpsid i\n pop {lr}\n cps #0x12" ::: "memory", "lr");
        nesting++;
        say(" leaves 1\n");
    }
    REG(GICC + 16) = number;
}
__asm__(".arm\n"
        ".align 5\n.global vectors\nvectors: b .\n b undefined\n b svc\n b fetch\n b data\n b .\n b irq\n b .\n"
        "undefined: sub sp, sp, #4\n push {r0-r7, r12, lr}\n mov r1, #1\n b common\n"
        "svc: sub sp, sp, #4\n push {r0-r7, r12, lr}\n mov r1, #2\n b common\n"
        "fetch: sub sp, sp, #4\n push {r0-r7, r12, lr}\n mov r1, #3\n b common\n"
        "data: sub sp, sp, #4\n push {r0-r7, r12, lr}\n mov r1, #4\n b common\n"
        "irq: sub lr, lr, #4\n sub sp, sp, #4\n push {r0-r7, r12, lr}\n mov r1, #6\n"
        "common: str lr, [sp, #40]\n mrs r0, spsr\n push {r0}\n mov r0, sp\n cmp r1, #6\n ldr r2, =on_irq\n ldr r3, =on_exception\n"
        " moveq r3, r2\n blx r3\n pop {r0}\n msr spsr_cxsf, r0\n pop {r0-r7, r12, lr}\n ldm sp!, {pc}^\n .ltorg\n");
extern char vectors[];
extern volatile uint32_t low[];
#define TRY(name, code)                                                                                                \
    say("- " name "\n");                                                                                               \
    __asm__ volatile("adr r4, 9f\n " ODD "str r4, [%0]\n" code "\n nop\n .align 2\n 9: nop" ::"r"(&resume) : "r4", "r5", "r0", "memory")
static void exceptions(void) {
    TRY("svc", "svc #7");
    TRY("undefined", "udf #5");
    TRY("breakpoint", "bkpt #5");
#ifdef VIRT /* elsewhere QEMU ignores such accesses */
    TRY("load from nowhere", "mov r5, #0x80000000\n ldr r5, [r5, #8]");
    TRY("store to nowhere", "mov r5, #0x80000000\n strb r5, [r5, #3]");
    TRY("jump to nowhere", NOWHERE "\n bx r5");
#endif
    TRY("floating point before it is enabled", FLOAT);
    note("cpsr", READ(cpsr) & 0x3FF);
}
static void interrupts(void) {
    gic();
    enable(1, 0xA0), enable(2, 0x80), enable(3, 0xC0);
#ifdef VIRT
    enable(27, 0x90);
#endif
    software(1);
    note("masked, pending", REG(GICD + 0x200));
    UNMASK;
    note("nested", nesting);
    MASK;
    software(3), software(2);
    UNMASK;
#ifdef VIRT
    wait_for_alarms();
    uint32_t low, high;
    __asm__ volatile("mrrc p15, 1, %0, %1, c14" : "=r"(low), "=r"(high));
    note("count is small", high);
#endif
}
static void user_mode(void) {
    say("- svc in user mode\n");
    __asm__ volatile("adr r4, 9f\n " ODD "str r4, [%0]\n cps #0x10\n mov r0, #1\n svc #3\n mrs r5, cpsr\n cpsid i\n mov r0, #77\n svc #4\n"
                     " nop\n .align 2\n 9: nop" ::"r"(&resume) : "r4", "r5", "r0", "memory");
    note("cpsr", READ(cpsr) & 0x3FF);
}
__attribute__((used)) void program(void) {
#ifdef LOW_VECTORS /* v7-R has no VBAR */
    for (uint32_t i = 0; i < 8; i++) low[i] = 0xE59FF018, low[8 + i] = (uint32_t)vectors + 4 * i;
#else
    SET(vectors, "c12, c0, 0");
#endif
    exceptions(), interrupts(), user_mode();
    say("end\n");
    register uint32_t r0 __asm__("r0") = 0x18;
    register uint32_t r1 __asm__("r1") = 0x20026;
#ifdef __thumb__
    __asm__ volatile("svc 0xab" ::"r"(r0), "r"(r1));
#else
    __asm__ volatile("svc 0x123456" ::"r"(r0), "r"(r1));
#endif
    for (;;) {}
}
__asm__(".section .text.start, \"ax\"\n.global start\n.arm\nstart: ldr r0, =stack_top\n mov r1, #0x12\n 1: mrs r2, cpsr\n"
        " bic r2, r2, #0x1f\n orr r2, r2, r1\n msr cpsr_c, r2\n mov sp, r0\n sub r0, r0, #0x400\n"
        " cmp r1, #0x12\n moveq r1, #0x17\n beq 1b\n cmp r1, #0x17\n moveq r1, #0x1b\n beq 1b\n cmp r1, #0x1b\n moveq r1, #0x13\n beq 1b\n"
        " cmp r1, #0x13\n moveq r1, #0x1f\n beq 1b\n msr cpsr_c, #0xd3\n ldr r0, =program\n bx r0\n .ltorg");

/* RISC-V machine mode: exceptions, ecall, timer, software interrupts, direct and vectored; every event is a line. */
#include "virt.h"
static volatile uintptr_t resume, ticks;
__attribute__((interrupt, aligned(4))) void on_trap(void) {
    uintptr_t cause = READ(mcause);
    if ((intptr_t)cause < 0) {
        if ((cause & 15) == 7) alarm(~0ull), ticks++, say("timer\n");
        if ((cause & 15) == 3) MSIP = 0, note("software", READ(mepc) != 0);
        return;
    }
    note("cause", cause);
    note(" value", READ(mtval));
    note(" status", READ(mstatus) & 0x1888);
    note(" offset", READ(mepc) - (resume & ~(uintptr_t)1));
    WRITE(mepc, resume);
}
__attribute__((naked, aligned(256))) void vectors(void) {
    __asm__ volatile(".option push\n .option norvc\n j on_trap\n .rept 15\n j on_trap\n .endr\n .option pop");
}
#define TRY(name, assembly)                                                                                            \
    say("- " name "\n");                                                                                               \
    __asm__ volatile("la t0, 9f\n" STORE " t0, 0(%0)\n" assembly "\n nop\n 9: nop" ::"r"(&resume) : "t0", "t1", "memory")
#if __riscv_xlen == 64
#define STORE "sd"
#else
#define STORE "sw"
#endif
static void all(void) {
    TRY("ecall", "ecall");
    TRY("breakpoint", "ebreak");
    TRY("illegal", ".word 0xffffffff");
    TRY("no such register", "csrr t1, 0x7c5");
    TRY("load from nowhere", "li t1, 0x18000000\n lw t1, 4(t1)");
    TRY("store to nowhere", "li t1, 0x18000000\n sb t1, 8(t1)");
}
static void interrupts(void) {
    SET(mie, 0x88);
    MSIP = 1;
    say("software pending, masked\n");
    SET(mstatus, 8);
    say("enabled\n");
    MSIP = 1;
    say("again\n");
    uintptr_t before = ticks;
    alarm(now() + 20000);
    while (ticks == before) {}
    say("ticked\n");
    before = ticks;
    alarm(now() + 20000);
    while (ticks == before) __asm__ volatile("wfi");
    say("woken\n");
    CLEAR(mstatus, 8);
    MSIP = 1;
    __asm__ volatile("wfi");
    say("woken without handler\n");
    MSIP = 0;
    CLEAR(mie, 0x88);
}
__attribute__((used)) static void program(void) {
    WRITE(mtvec, (uintptr_t)on_trap);
    alarm(~0ull);
    note("isa", READ(misa) >> (__riscv_xlen - 2));
    all();
    interrupts();
    WRITE(mtvec, (uintptr_t)vectors | 1);
    say("vectored\n");
    all();
    interrupts();
    finish();
}

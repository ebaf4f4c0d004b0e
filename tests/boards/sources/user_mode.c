/* RISC-V user mode: ecall, illegal CSRs, interrupts taken from it, and back. */
#include "virt.h"
static volatile uintptr_t count;
__attribute__((interrupt, aligned(4))) void on_trap(void) {
    uintptr_t cause = READ(mcause);
    note("cause", cause);
    note(" status", READ(mstatus) & 0x1888);
    if ((intptr_t)cause < 0) {
        MSIP = 0;
        return;
    }
    note(" value", READ(mtval));
    WRITE(mepc, READ(mepc) + 4);
    if (++count == 6) finish();
    if (count == 3) MSIP = 1;
}
__attribute__((used)) static void user(void) {
    __asm__ volatile(".option push\n .option norvc\n ecall\n csrr t0, mstatus\n ecall\n nop\n nop\n csrw mie, t0\n"
                     "mret\n wfi\n ecall\n 1: j 1b\n .option pop" ::: "t0");
}
__attribute__((used)) static void program(void) {
    WRITE(mtvec, on_trap);
    alarm(~0ull);
    WRITE(pmpaddr0, -1);
    WRITE(pmpcfg0, 0x1f);
    SET(mie, 8);
    CLEAR(mstatus, 0x1808);
    WRITE(mepc, user);
    __asm__ volatile("mret");
}

/* A preemptive scheduler of two tasks: the machine timer switches. Each task waits, busily, for the other. */
#include "virt.h"
#if __riscv_xlen == 64
#define WORD "8"
#define STORE "sd"
#define LOAD "ld"
#else
#define WORD "4"
#define STORE "sw"
#define LOAD "lw"
#endif
static uintptr_t stacks[2][256], *saved[2];
static volatile uintptr_t current, switches, turn;
__attribute__((used)) uintptr_t *next_task(uintptr_t *stack) {
    saved[current] = stack;
    current = !current;
    switches++;
    alarm(now() + 3000);
    return saved[current];
}
/* A frame: the registers x1 and x3 to x31 by number, mepc in the place of x2. */
#define EACH(op) \
    op " x1, 1*" WORD "(sp)\n .irp n,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n " \
    op " x\\n, \\n*" WORD "(sp)\n .endr\n"
__attribute__((naked, aligned(4))) void on_trap(void) {
    __asm__ volatile("addi sp, sp, -32*" WORD "\n" EACH(STORE) "csrr t0, mepc\n " STORE " t0, 2*" WORD "(sp)\n"
                     "mv a0, sp\n call next_task\n mv sp, a0\n"
                     LOAD " t0, 2*" WORD "(sp)\n csrw mepc, t0\n li t0, 0x1880\n csrs mstatus, t0\n"
                     EACH(LOAD) "addi sp, sp, 32*" WORD "\n mret");
}
static void task(uintptr_t me) {
    for (uintptr_t round = 0; round < 5; round++) {
        while (turn != me) {}
        say(me ? "b " : "a "), hex(round), say("\n");
        turn = !me;
    }
    if (me) {
        CLEAR(mie, 0x80);
        say(switches >= 9 ? "switched often\n" : "switched seldom\n");
        finish();
    }
    for (;;) {}
}
static void task_b(void) { task(1); }
__attribute__((used)) static void program(void) {
    saved[1] = stacks[1] + 256 - 32;
    saved[1][2] = (uintptr_t)task_b;
    WRITE(mtvec, on_trap);
    alarm(now() + 3000);
    SET(mie, 0x80);
    SET(mstatus, 8);
    task(0);
}

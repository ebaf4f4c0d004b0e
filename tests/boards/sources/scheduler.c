/* A preemptive scheduler of two tasks: SysTick asks for PendSV, which switches. Each task waits, busily, for the other. */
#include "start.h"
#define TASKS 2
static uint32_t stacks[TASKS][160], *saved[TASKS];
static volatile uint32_t current, switches, turn;
static void start_task(int number, void (*task)(void)) {
    uint32_t *top = stacks[number] + 160 - 16;
    for (int i = 0; i < 16; i++) top[i] = 0;
    top[8 + 5] = 0, top[8 + 6] = (uint32_t)task & ~1u, top[8 + 7] = 1u << 24;
    saved[number] = top;
}
uint32_t *next_task(uint32_t *stack) {
    saved[current] = stack;
    current = (current + 1) % TASKS;
    switches++;
    return saved[current];
}
__attribute__((naked)) void on_pendsv(void) {
    __asm__ volatile("mrs r0, psp\n subs r0, #32\n mov r1, r0\n stmia r1!, {r4-r7}\n mov r4, r8\n mov r5, r9\n"
                     "mov r6, r10\n mov r7, r11\n stmia r1!, {r4-r7}\n push {r0, lr}\n bl next_task\n pop {r2, r3}\n"
                     "adds r0, #16\n ldmia r0!, {r4-r7}\n mov r8, r4\n mov r9, r5\n mov r10, r6\n mov r11, r7\n"
                     "msr psp, r0\n subs r0, #32\n ldmia r0!, {r4-r7}\n bx r3\n");
}
void on_systick(void) { ICSR = 1u << 28; }
__attribute__((naked)) void on_svc(void) {
    __asm__ volatile("mrs r0, psp\n ldr r1, =0xfffffffd\n bx r1\n");
}
static void task(uint32_t me) {
    for (uint32_t round = 0; round < 5; round++) {
        while (turn != me) {}
        say(me ? "b " : "a "), hex(round), say(MRS("ipsr") ? " in a handler\n" : "\n");
        turn = !me;
    }
    if (me) {
        SYST_CSR = 0;
        say(switches >= 9 ? "switched often\n" : "switched seldom\n");
        finish();
    }
    for (;;) {}
}
static void task_a(void) { task(0); }
static void task_b(void) { task(1); }
void program(void) {
    start_task(0, task_a), start_task(1, task_b);
    SHPR3 = 0xC0C00000;
    MSR("psp", (uint32_t)(saved[0] + 8));
    SYST_RVR = 3000, SYST_CVR = 0, SYST_CSR = 7;
    __asm__ volatile("svc 0");
}

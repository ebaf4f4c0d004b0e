/* What the programs for QEMU's Arm boards share: output, GIC, and the end by semihosting. Addresses are those of
   "virt", unless the compiler gets others. */
#include <stdint.h>
#define REG(a) (*(volatile uint32_t *)(uintptr_t)(a))
#define BYTE(a) (*(volatile uint8_t *)(uintptr_t)(a))
#ifndef GICD
#define CONSOLE 0x09000000
#define GICD 0x08000000
#define GICC 0x08010000
#define VIRT 1
#endif
#define UART REG(CONSOLE)
#ifdef __aarch64__
#define MASK __asm__ volatile("msr daifset, #2" ::: "memory")
#define UNMASK __asm__ volatile("msr daifclr, #2" ::: "memory")
#define SET_TIMER(ticks) __asm__ volatile("msr cntv_tval_el0, %0\n isb" ::"r"((uint64_t)(ticks)) : "memory")
#define CONTROL_TIMER(on) __asm__ volatile("msr cntv_ctl_el0, %0\n isb" ::"r"((uint64_t)(on)) : "memory")
#define TIMER ({ uint64_t v; __asm__ volatile("mrs %0, cntv_ctl_el0" : "=r"(v)); v; })
#else
#define MASK __asm__ volatile("cpsid i" ::: "memory")
#define UNMASK __asm__ volatile("cpsie i" ::: "memory")
#define SET_TIMER(ticks) __asm__ volatile("mcr p15, 0, %0, c14, c3, 0" ::"r"(ticks) : "memory")
#define CONTROL_TIMER(on) __asm__ volatile("mcr p15, 0, %0, c14, c3, 1" ::"r"(on) : "memory")
#define TIMER ({ uint32_t v; __asm__ volatile("mrc p15, 0, %0, c14, c3, 1" : "=r"(v)); v; })
#endif
#include "console.h"
static void gic(void) {
    REG(GICD) = 1, REG(GICC + 4) = 0xF0, REG(GICC) = 1;
}
static void enable(int number, int priority) {
    BYTE(GICD + 0x400 + number) = (uint8_t)priority;
    REG(GICD + 0x100 + number / 32 * 4) = 1u << number % 32;
}
static void software(int number) { REG(GICD + 0xF00) = 0x10000u | (uint32_t)number; }
#ifdef VIRT
static volatile uint32_t ticks; /* interrupts of the timer, whose handler calls tick() */
static void tick(void) {
    ticks++;
    CONTROL_TIMER(0);
}
static void alarm(void) {
    SET_TIMER(20000);
    CONTROL_TIMER(1);
}
static void wait_for_alarms(void) {
    alarm();
    while (!ticks) {}
    say("ticked\n");
    alarm();
    while (ticks == 1) __asm__ volatile("wfi");
    say("woken\n");
    MASK;
    alarm();
    __asm__ volatile("wfi");
    note("woken without handler", TIMER);
    CONTROL_TIMER(0);
}
#endif

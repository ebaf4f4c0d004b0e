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
static void say(const char *text) {
    while (*text) UART = (uint8_t)*text++;
}
static void hex(uintptr_t value) {
    char text[17];
    int digits = 2 * sizeof value;
    for (int i = 0; i < digits; i++) text[i] = "0123456789abcdef"[value >> (4 * (digits - 1 - i)) & 15];
    text[digits] = 0;
    say(text);
}
static void note(const char *what, uintptr_t value) { say(what), say(" "), hex(value), say("\n"); }
static void gic(void) {
    REG(GICD) = 1, REG(GICC + 4) = 0xF0, REG(GICC) = 1;
}
static void enable(int number, int priority) {
    BYTE(GICD + 0x400 + number) = (uint8_t)priority;
    REG(GICD + 0x100 + number / 32 * 4) = 1u << number % 32;
}
static void software(int number) { REG(GICD + 0xF00) = 0x10000u | (uint32_t)number; }

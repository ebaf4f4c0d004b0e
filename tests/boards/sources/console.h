/* Output to UART, a register of the board. */
#include <stdint.h>
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

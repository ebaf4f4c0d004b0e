/* Tells what the kernel put on the stack. */
#include "start.h"
static int target = 3;
static int *volatile pointer = &target; /* a static PIE that does not relocate itself finds the link-time address */
__attribute__((used)) void begin(word *stack, word finish) {
    line("misaligned", (word)stack & 15);
    line("finish", finish != 0);
    line("relocated", pointer == &target);
    word count = *stack++;
    line("argc", count);
    for (; *stack; stack++) {
        text("argv ");
        text((const char *)*stack);
        text("\n");
    }
    stack++;
    for (; *stack; stack++) {
        text("env ");
        text((const char *)*stack);
        text("\n");
    }
    stack++;
    for (; stack[0]; stack += 2) {
        text("aux ");
        hexadecimal(stack[0]);
        line("", stack[1]);
        if (stack[0] == 25) {
            line("random", *(const unsigned char *)stack[1]);
        } else if (stack[0] == 15 || stack[0] == 31) {
            text(stack[0] == 15 ? "platform " : "execfn ");
            text((const char *)stack[1]);
            text("\n");
        }
    }
    kernel(EXIT, 7, 0, 0);
}

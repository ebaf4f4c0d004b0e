/* Ways to go wrong, each in a function of its own, called from another one so that there is a backtrace. */
#include "fixture.h"

static int *volatile null_pointer;
static volatile int zero;
const int constant_table[4] = {1, 2, 3, 4};
int data_words[4] = {1, 2, 3, 4};
extern int unresolved_weak(int value) WEAK;

NOINLINE int null_read(void) { return *null_pointer; }
NOINLINE void null_write(int value) { *null_pointer = value; }
NOINLINE int wild_read(uintptr_t address) { return *(volatile int *)address; }
NOINLINE void wild_write(uintptr_t address, int value) { *(volatile int *)address = value; }
NOINLINE void write_rodata(void) { *(volatile int *)&constant_table[1] = 99; }
NOINLINE void write_text(void) { *(volatile int *)(uintptr_t)null_read = 0; }
NOINLINE int jump_to_data(void) { return ((int (*)(void))(uintptr_t)data_words)(); }
NOINLINE int jump_to(uintptr_t address) { return ((int (*)(void))address)(); }
NOINLINE int call_weak_unresolved(int value) { return unresolved_weak(value) + 1; }
NOINLINE int divide(int numerator, int denominator) { return numerator / denominator; }
NOINLINE int divide_by_zero(void) { return divide(1, zero); }
NOINLINE void builtin_trap(void) { __builtin_trap(); }

NOINLINE void illegal_instruction(void) {
#if defined(__x86_64__) || defined(__i386__)
    __asm__ volatile("ud2");
#elif defined(__thumb__)
    __asm__ volatile(".inst.n 0xde00");
#elif defined(__arm__)
    __asm__ volatile(".inst 0xe7f000f0");
#elif defined(__aarch64__)
    __asm__ volatile(".inst 0x00000000");
#else
    /* RISC-V defines the all-zero encoding as illegal; LoongArch leaves it unassigned. */
    __asm__ volatile(".long 0");
#endif
}

static volatile int keep;
NOINLINE int recurse_forever(int depth) {
    volatile char frame[256];
    frame[depth & 255] = (char)depth;
    int below = recurse_forever(depth + 1);
    return below + frame[depth & 255];
}
NOINLINE void loop_forever(void) {
    for (;;) __asm__ volatile("");
}
NOINLINE int loop_times(unsigned count) {
    int sum = 0;
    while (count--) sum += keep + 1;
    return sum;
}

/* Three frames deep, none a tail call. */
NOINLINE static int innermost(int value) { return *null_pointer + value; }
NOINLINE static int middle(int value) { return innermost(value + 1) + keep; }
NOINLINE int nested_fault(int value) { return middle(value + 1) + keep; }

extern int host_callback(int value);
NOINLINE int fault_around_host(int value) { return host_callback(value) + keep; }
int survivor(int value) { return value + 1; }

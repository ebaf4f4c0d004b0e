/* A32 and T32 in one object, calling each other, with pointers to both: bit 0 tells the state. */
#include "fixture.h"
#define A32 __attribute__((target("arm"), noinline))
#define T32 __attribute__((target("thumb"), noinline))
extern int my_host_function(int value);
A32 int from_a32(int value) { return value * 3 + my_host_function(value); }
T32 int from_t32(int value) { return value * 5 + my_host_function(value); }
T32 int t32_calls_a32(int value) { return from_a32(value) + 1; }
A32 int a32_calls_t32(int value) { return from_t32(value) + 1; }
A32 static int private_a32(int value) { return value + 32; }
T32 static int private_t32(int value) { return value + 16; }
int (*states[])(int) = {from_a32, from_t32, private_a32, private_t32};
A32 int a32_through_table(int which, int value) { return states[which & 3](value); }
T32 int t32_through_table(int which, int value) { return states[which & 3](value); }
A32 int a32_calls_back(int (*function)(int), int value) { return function(value) + 1; }
T32 int t32_calls_back(int (*function)(int), int value) { return function(value) + 1; }
static volatile int state_log[2];
A32 __attribute__((constructor)) static void a32_start(void) { state_log[0] = 32; }
T32 __attribute__((constructor)) static void t32_start(void) { state_log[1] = 16; }
A32 int state_sum(void) { return state_log[0] + state_log[1]; }

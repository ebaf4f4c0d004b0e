/* Calls and jumps: to another object, to a section of one's own, as a tail, through a pointer, weak. */
#include "fixture.h"
extern int far_function(int value);
extern int far_weak(int value) WEAK;
__attribute__((section(".text.cold_part"))) NOINLINE int cold(int value) { return value + 100; }
NOINLINE static int local(int value) { return value + 1000; }
int call_far(int value) { return far_function(value) + 1; }
int tail_far(int value) { return far_function(value + 2); }
int call_cold(int value) { return cold(value) + 1; }
int tail_cold(int value) { return cold(value + 2); }
int call_local(int value) { return local(value) + local(value + 1); }
int call_weak(int value) { return far_weak ? far_weak(value) : -1; }
int call_some(int value) {
    if (value > 3) far_function(value);
    return value & 1 ? far_function(value) : cold(value);
}
int (*address_of_far(void))(int) { return far_function; }
int (*address_of_cold(void))(int) { return cold; }

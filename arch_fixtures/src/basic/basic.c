/* The first library anybody loads: one import, a few exports, an exported counter and pointer tables. */
#include "fixture.h"

extern int my_host_function(int value);

int counter = 7;
unsigned char bytes[8] = {1, 2, 3, 4, 5, 6, 7, 8};
const char greeting[] = "hello from the guest";
int zeroed[16];

int awesome_func(int value) {
    counter++;
    return my_host_function(value);
}

int add(int left, int right) { return left + right; }

static int subtract(int left, int right) { return left - right; }

typedef int (*binary_operation)(int, int);

/* Two relocations of different kinds: `add` may be interposed, `subtract` may not. */
binary_operation operations[] = {add, subtract};
int *counter_pointer = &counter;
const char *const greeting_pointer = greeting;

int apply(int which, int left, int right) { return operations[which & 1](left, right); }

int get_counter(void) { return counter; }

void set_counter(int value) { *counter_pointer = value; }

int bump_zeroed(int index) { return ++zeroed[index & 15]; }

size_t greeting_length(void) {
    size_t length = 0;
    while (greeting_pointer[length]) length++;
    return length;
}

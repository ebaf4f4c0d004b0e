/* The first object anybody links: an import, data of its own and of others, strings, tables of functions. */
#include "fixture.h"

extern int my_host_function(int value);
extern int other_value;
extern int other_array[8];

int counter = 7;
static int hidden_counter = 70;
const int table[4] = {10, 20, 30, 40};
int zeroed[64];
long wide_value = 0x12345678;

static int twice(int value) { return value * 2; }
NOINLINE int add(int left, int right) { return left + right; }

typedef int (*operation)(int);
operation operations[2] = {twice, my_host_function};
int *const counter_pointer = &counter;
const char *const greeting = "hello from an object";

int awesome_func(int value) { counter++; return my_host_function(value) + 1; }
int get_counter(void) { return counter; }
int *counter_address(void) { return &counter; }
int bump_hidden(void) { return ++hidden_counter; }
int read_table(int index) { return table[index & 3]; }
int bump_zeroed(int index) { return ++zeroed[index & 63]; }
int read_other(void) { return other_value; }
void write_other(int value) { other_value = value; }
int *other_address(int index) { return &other_array[index & 7]; }
long read_wide(void) { return wide_value; }
int apply(int which, int value) { return operations[which & 1](value); }
operation address_of_add_one(void) { return my_host_function; }
size_t greeting_length(void) {
    size_t length = 0;
    while (greeting[length]) length++;
    return length;
}

/* The library of executables that copy its data and take its functions' addresses. */
#define NO_START
#include "start.h"
int counter = 5;
int table[4] = {10, 20, 30, 40};
int *inside = &table[2]; /* relocated before it is copied */
int get_counter(void) { return counter; }
void bump(void) { counter++; }
int table_sum(void) { return table[0] + table[1] + table[2] + table[3]; }
int twice(int value) { return 2 * value; }
int (*address_of_twice(void))(int) { return twice; }
__attribute__((constructor)) static void start(int argc, char **argv) {
    text("constructor of ");
    text(argv[argc - 1]);
    text("\n");
}
__attribute__((destructor)) static void stop(void) { line("destructor", counter); }

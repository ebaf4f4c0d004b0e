/* Constructors and destructors with and without priorities: .init_array.00101 and friends. */
#include "fixture.h"
int order[8];
int order_count;
static volatile int one = 1;
static void record(int number) { order[order_count++ & 7] = number; }
__attribute__((constructor)) static void last(void) { record(3 * one); }
__attribute__((constructor(200))) static void second(void) { record(2 * one); }
__attribute__((constructor(101))) static void first(void) { record(1 * one); }
__attribute__((destructor)) static void down_first(void) { record(4 * one); }
__attribute__((destructor(101))) static void down_last(void) { record(5 * one); }

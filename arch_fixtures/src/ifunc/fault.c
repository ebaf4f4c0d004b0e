/* A resolver that faults: the load must fail and leave nothing behind. */
#include "fixture.h"
static int *volatile nowhere;
static int real(int value) { return value; }
static int (*choose(void))(int) { *nowhere = 1; return real; }
int faulty_indirect(int value) __attribute__((ifunc("choose")));
int call_faulty(int value) { return faulty_indirect(value); }

/* A library that cannot be initialised: the second of its constructors writes through a null pointer. */
#include "fixture.h"
extern void startup_note(int number);
static int *volatile nowhere;
__attribute__((constructor(101))) static void fine(void) { startup_note(60); }
__attribute__((constructor(102))) static void faulty(void) { *nowhere = 1; }
__attribute__((constructor(103))) static void never(void) { startup_note(61); }
__attribute__((destructor)) static void stop(void) { startup_note(-60); }
int never_reached(void) { return 60; }

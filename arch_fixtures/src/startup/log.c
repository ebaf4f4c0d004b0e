/* The shared book in which libraries note that their constructors ran. It has one itself. */
#include "fixture.h"
int startup_order[32];
int startup_count;
static volatile int own = 1;
void startup_note(int number) { startup_order[startup_count++ & 31] = number; }
__attribute__((constructor)) static void start(void) { startup_note(own); }
__attribute__((destructor)) static void stop(void) { startup_note(-own); }

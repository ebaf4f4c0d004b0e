/* Notes NUMBER when it starts and -NUMBER when it stops. */
#include "fixture.h"
extern void startup_note(int number);
static volatile int own = NUMBER;
__attribute__((constructor)) static void start(void) { startup_note(own); }
__attribute__((destructor)) static void stop(void) { startup_note(-own); }
int NAME(void) { return own; }
#ifdef CALLS
extern int CALLS(void);
int calls_below(void) { return CALLS() * 10 + own; }
#endif

/* A module of the device: VERSION is given by the build, and with MISTAKE what its self-test comes to. */

enum { NONE, FAILS, HANGS, CRASHES };
#ifndef MISTAKE
#define MISTAKE NONE
#endif

static int calls;

int version(void) { return VERSION; }

int scaled(int value)
{
    calls++;
    return value * VERSION + calls - 1;
}

#ifdef NEEDS_MISSING
int missing(void);                                   /* which no device has */
#else
static int missing(void) { return 1; }
#endif

int self_test(void)
{
    volatile int wait = MISTAKE == HANGS, *volatile nowhere = 0;
    while (wait)
        ;
    if (MISTAKE == CRASHES)
        *nowhere = 1;
    return MISTAKE != FAILS && missing();
}

/* An environment without variables, in the place of getenv (emu.cpu.icicle.environment). */
#include "hook.h"

HOOK char *empty(const char *name)
{
    (void)name;
    return 0;
}
ENTRY(environment, empty)

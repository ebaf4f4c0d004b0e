/* Running Unicorn, and reading the place where it has stopped, in one call (emu.cpu.unicorn.quick_run). */
#include "hook.h"

struct run {
    void *engine;
    u64 *begin, *until;
    int (*start)(void *engine, u64 begin, u64 until, u64 timeout, u64 count);
    int *numbers;
    void **places;
    u64 count;
    int (*read)(void *engine, int *numbers, void **places, int count);
};

/* Unicorn's status. */
HOOK int run(struct run *run)
{
    int status = run->start(run->engine, *run->begin, *run->until, 0, 0);
    run->read(run->engine, run->numbers, run->places, run->count);
    return status;
}
ENTRY(run, run)

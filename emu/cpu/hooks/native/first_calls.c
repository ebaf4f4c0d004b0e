/* Jump slots bound at their first call without leaving the engine (emu.cpu.hooks.first_call_hook).
 *
 * The engine calls the hook while it translates what is at its pc, so nothing is left half done: `write` sets the pc,
 * by which Unicorn asks its own `cpu_exit` to end the translated code, and that leaves by `leave` (bad_stores.c). The
 * engine then looks up what is at the new pc. `write` is Unicorn's function for several registers: after that for one,
 * faults would be reported at a wrong pc.
 */
#include "hook.h"

enum { SPACING = 16 }; /* bytes between traps */

struct block {
    u64 start, count, *answers, *places;
};

struct noted {
    u64 trap, back, target, seconds, nanoseconds;
};

struct first_calls {
    u64 open;
    volatile u64 count, taken; /* of the calls noted, ever; `taken` is Python's */
    u64 most, blocks;
    struct block *block;
    struct noted *noted;
    int (*read)(void *engine, int number, void *value);
    int (*write)(void *engine, const int *numbers, void *const *values, int count);
    int (*load)(void *engine, u64 address, void *value, u64 size);
    int (*store)(void *engine, u64 address, const void *value, u64 size);
    int (*clock)(int clock, u64 *time), (*set)(u32 key, void (*leave)(void *cpu));
    void (*leave)(void *cpu);
    u32 key, word;
    int pc, link, sp, monotonic;
};

static int return_address(void *engine, const struct first_calls *calls, u64 *back)
{
    u64 sp = 0;
    *back = 0;
    if (calls->link >= 0)
        return calls->read(engine, calls->link, back);
    return calls->read(engine, calls->sp, &sp) || calls->load(engine, sp, back, calls->word);
}

HOOK int bind(void *engine, int kind, u64 address, int size, u64 value, struct first_calls *calls)
{
    struct block *block = calls->block, *end = block + calls->blocks;
    u64 count = calls->count, most = calls->most;
    (void)kind, (void)size, (void)value;
    if (!calls->open || count - calls->taken >= most || address % SPACING)
        return 0;
    while (block < end && address - block->start >= block->count * SPACING)
        block++;
    if (block == end)
        return 0;
    u64 slot = (address - block->start) / SPACING, target = block->answers[slot];
    void *values = &target;
    struct noted *noted = calls->noted + count % most;
    if (!target || return_address(engine, calls, &noted->back) ||
        calls->store(engine, block->places[slot], &target, calls->word))
        return 0;
    noted->trap = address;
    noted->target = target;
    calls->clock(calls->monotonic, &noted->seconds);
    __atomic_store_n(&calls->count, count + 1, __ATOMIC_RELEASE); /* other threads may read what is noted */
    block->answers[slot] = 0;
    calls->set(calls->key, calls->leave);
    calls->write(engine, &calls->pc, &values, 1);
    return 0;
}
ENTRY(first_calls, bind)

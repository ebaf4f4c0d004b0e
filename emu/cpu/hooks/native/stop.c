/* Stopping before a block or an instruction (emu.cpu.hooks.stop_hook). */
#include "hook.h"

enum { ASKED = 1, UNKNOWN_BLOCK = 2, LIMIT = 4 };

/* A row of `table`, by open addressing with linear probing. */
struct row {
    u64 address;
    u32 size, count;
};

/* A row of `cuts`, the same. */
struct cut {
    u64 address, budget;
    struct request *request;
    u64 unused;
};

static __attribute__((noinline)) void stop(void *engine, u32 size, struct request *request, int why)
{
    request->stopped = why;
    request->size = size;
    request->stop(engine);
}

static void note(struct request *request, u64 address, u32 size, u64 count)
{
    request->block = address;
    request->block_size = size;
    request->block_count = count;
}

/* Has the hook inside a block stop the engine. */
static void cut(void *engine, u64 address, u32 size, struct request *request, u64 count)
{
    u64 budget = request->budget, at = (address + (budget << 12)) * request->multiplier >> 32;
    if (!request->cuts)
        return stop(engine, size, request, LIMIT);
    for (;; at += sizeof(struct cut)) {
        struct cut *row = (struct cut *)(request->cuts + (at & 0xfe0));
        if (!row->request)
            return stop(engine, size, request, LIMIT);
        if (row->address == address && row->budget == budget) {
            row->request->left = 1;
            request->armed = row->request;
            request->beyond += count;
            return note(request, address, size, count);
        }
    }
}

static __attribute__((noinline)) void counted(void *engine, u64 address, u32 size, struct request *request)
{
    u64 count = size >> 2;
    if (request->table)
        for (u64 at = address * request->multiplier >> 32;; at += sizeof(struct row)) {
            struct row *row = (struct row *)(request->table + (at & request->mask));
            if (row->address == address && row->size == size) {
                count = row->count;
                break;
            }
            if (!row->size)
                return stop(engine, size, request, UNKNOWN_BLOCK);
        }
    if (request->budget <= count)
        return cut(engine, address, size, request, count);
    request->budget -= count;
    note(request, address, size, count);
}

/* Of `left` 0 is "do not stop", and 1 stays 1, since in the middle of a Thumb IT block Unicorn takes a stop back.
 * `budget` is the same for instructions, and looked at where it is not 0: the block's are looked up in `table`. The
 * engine stops before a block that is not found, or has more than are left; the latter runs if `cuts` says which
 * hook will stop it inside (emu.cpu.hooks.limit_hooks).
 */
HOOK void before(void *engine, u64 address, u32 size, struct request *request)
{
    long left = request->left;
    if (!((u64)left | request->budget))
        return;
    if (left) {
        if (left == 1)
            return stop(engine, size, request, ASKED);
        request->left = left - 1;
    }
    if (request->budget)
        counted(engine, address, size, request);
}
ENTRY(stop, before)

/* AccessPlace */
struct place {
    u64 address;
    u32 size;
};

/* Notes an access of memory, unless it is a part of the one that is noted, and permits it. */
HOOK int access(void *engine, int kind, u64 address, u32 size, u64 value, struct place *place)
{
    (void)engine, (void)kind, (void)value;
    if (size >= place->size || address - place->address >= place->size) {
        place->address = address;
        place->size = size;
    }
    return 1;
}
ENTRY(stop, access)

struct __attribute__((packed)) exception {
    void *engine;
    u32 number;
};

/* Notes an exception. */
HOOK void exception(void *engine, u32 number, struct exception *noted)
{
    noted->engine = engine;
    noted->number = number;
}
ENTRY(stop, exception)

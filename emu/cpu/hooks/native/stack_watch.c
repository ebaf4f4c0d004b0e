/* Stopping before a block whose x87 instructions would fault on the stack (emu.cpu.hooks.stack_watch). */
#include "hook.h"

enum { STACK = 8 };

/* What a block needs; by open addressing with linear probing. */
struct row {
    u64 address;
    u32 full, empty;
};

struct watch {
    int (*read)(void *engine, int *numbers, void **values, int count);
    int registers[2];
    void *values[2];
    u64 status, tags;
    u64 mask;
    struct row *rows;
    u8 *bits;
};

static __attribute__((noinline))
void look(void *engine, u64 address, u32 size, struct request *request)
{
    struct watch *watch = request->watch;
    u64 at = address * 0x9e3779b97f4a7c15u >> 32;
    struct row *row;
    while ((row = watch->rows + (at++ & watch->mask))->address != address)
        if (!row->address) {
            request->next(engine, address, size, request);
            return;
        }
    watch->read(engine, watch->registers, watch->values, 2);
    u32 turned = (u32)watch->tags * 0x10001u >> (watch->status >> 10 & 14);
    u32 empties = turned & turned >> 1;
    if ((empties & row->full) | (~empties & row->empty)) {
        request->stopped = STACK;
        request->stop(engine);
    } else
        request->next(engine, address, size, request);
}

HOOK void hook(void *engine, u64 address, u32 size, struct request *request)
{
    struct watch *watch = request->watch;
    if (watch && watch->bits[address >> 3 & 0x1fff] >> (address & 7) & 1)
        look(engine, address, size, request);
    else
        request->next(engine, address, size, request);
}
ENTRY(stack_watch, hook)

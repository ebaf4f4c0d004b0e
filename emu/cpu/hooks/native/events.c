/* Noting events, and stopping at chosen places (emu.cpu.hooks.event_hooks). */
#include "hook.h"

/* Places: a set of addresses, by open addressing with linear probing. */
struct places {
    u64 skip;
    int stopped;
    void (*stop)(void *engine);
    u8 *table;
    u64 mask, multiplier, hit;
};

/* Stops before the instructions or blocks of a set. */
HOOK void place(void *engine, u64 address, u32 size, struct places *places)
{
    u64 at = address * places->multiplier >> 32, there;
    (void)size;
    do {
        there = *(u64 *)(places->table + (at & places->mask));
        at += sizeof there;
    } while (there && there != ~address);
    if (there != ~address)
        return;
    if (address == places->skip) {
        places->skip = ~0ul;
        return;
    }
    places->stopped = 1;
    places->hit = address;
    places->stop(engine);
}
ENTRY(events, place)

/* Log: rows of numbers. */
struct log {
    u64 *next;
    int stopped;
    void (*stop)(void *engine);
    u64 *end;
    u64 before, multiplier;
    u64 (*table)[2];
    u64 start, former;
};

static void full(void *engine, struct log *log)
{
    log->stopped = 1;
    log->stop(engine);
}

static void add(struct log *log, u64 a, u64 b, u64 c)
{
    log->next[0] = a;
    log->next[1] = b;
    log->next[2] = c;
    log->next += 3;
}

/* Notes (address, size) of each block or instruction. */
HOOK void log(void *engine, u64 address, u32 size, struct log *log)
{
    if (log->next >= log->end)
        return full(engine, log);
    log->next[0] = address;
    log->next[1] = size;
    log->next += 2;
}
ENTRY(events, log)

/* uc_tb */
struct block {
    u64 address;
    u16 count, size;
};

/* Notes (address, size, address of the block before) of new blocks. It is not called again for a block, so it
 * stops when the last row is in use.
 */
HOOK void new_block(void *engine, struct block *block, struct block *before, struct log *log)
{
    add(log, block->address, block->size, before->address);
    if (log->next >= log->end)
        full(engine, log);
}
ENTRY(events, new_block)

/* Notes (address, size, kind) of accesses. A stop here would not be exact, so what exceeds the log is lost; it is
 * only used for single instructions.
 */
HOOK void access(void *engine, int kind, u64 address, int size, u64 value, struct log *log)
{
    (void)engine, (void)value;
    if (log->next < log->end)
        add(log, address, (long)size, (long)kind);
}
ENTRY(events, access)

/* Notes (end of the block before, address, size), unless that pair of blocks is in a table of pairs seen lately. */
HOOK void edge(void *engine, u64 address, u32 size, struct log *log)
{
    u64 before = log->before;
    u64 *pair = log->table[((before * log->multiplier + address) * log->multiplier) >> 48];
    if (pair[0] != before || pair[1] != address) {
        if (log->next >= log->end)
            return full(engine, log);
        pair[0] = before;
        pair[1] = address;
        add(log, before, address, size);
    }
    log->former = before;
    log->start = address;
    log->before = address + size;
}
ENTRY(events, edge)

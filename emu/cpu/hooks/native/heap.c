/* malloc and free of small blocks, on arrays of the host's (emu.cpu.hooks.heap_hook, emu.memory.small_blocks).
 * All numbers in the arrays are checked before they are used as indices.
 */
#include "hook.h"

enum { NEXT = 65, END, CHANGES };        /* of `state`, behind the first free block of each size */
enum { GRANULE_BITS = 4, RUN_BITS = 14 };
enum { LARGEST = 1024, LARGEST_GRANULES = LARGEST >> GRANULE_BITS };
enum { IN_RUN = (1 << (RUN_BITS - GRANULE_BITS)) - 1 };
#define LIVE 0x80000000u
#define FREE 0x40000000u

/* A run of granules: its address >> RUN_BITS, and its number + 1; by open addressing with linear probing. */
struct run {
    u64 key, number;
};

struct blocks {
    u64 *state;
    u32 *words; /* one for each granule */
    u64 *runs;  /* addresses */
    struct run *table;
    u64 mask, count, paused;
};

struct call {
    struct blocks *blocks;
    int (*read)(void *engine, int number, void *value), (*write)(void *engine, int number, const void *value);
    int argument, result;
};

/* Whether the hook is to act, and on what. */
static int due(void *engine, struct call *call, u64 *argument)
{
    u64 result = 0;
    call->read(engine, call->result, &result);
    if (call->blocks->paused || result)
        return 0;
    *argument = 0;
    call->read(engine, call->argument, argument);
    return 1;
}

static u64 all_granules(const struct blocks *blocks) { return blocks->count << (RUN_BITS - GRANULE_BITS); }

HOOK void allocate(void *engine, u64 address, u32 size, struct call *call)
{
    struct blocks *blocks = call->blocks;
    u64 *state = blocks->state, wanted, result, place;
    (void)address, (void)size;
    if (!due(engine, call, &wanted) || wanted > LARGEST)
        return;
    wanted = wanted ? (wanted + 15) >> GRANULE_BITS : 1;
    if (state[wanted]) {
        place = state[wanted] - 1;
        if (place >= all_granules(blocks))
            return;
        state[wanted] = blocks->words[place] & (FREE - 1);
    } else {
        place = state[NEXT];
        if (place + wanted > state[END] || place >= all_granules(blocks))
            return;
        state[NEXT] = place + wanted;
    }
    blocks->words[place] = LIVE | wanted;
    state[CHANGES]++;
    result = blocks->runs[place >> (RUN_BITS - GRANULE_BITS)] + ((place & IN_RUN) << GRANULE_BITS);
    call->write(engine, call->result, &result);
}
ENTRY(heap, allocate)

/* The number of a block's first granule; ~0 if it is in no run. */
static u64 granule(const struct blocks *blocks, u64 block)
{
    u64 key = block >> RUN_BITS, at = (key * 0x9E3779B97F4A7C15ul >> 32) & blocks->mask, left = blocks->mask;
    for (; blocks->table[at].key != key; at = (at + 1) & blocks->mask)
        if (!blocks->table[at].number || !left--)
            return ~0ul;
    return (blocks->table[at].number - 1) << (RUN_BITS - GRANULE_BITS) | (block >> GRANULE_BITS & IN_RUN);
}

HOOK void release(void *engine, u64 address, u32 size, struct call *call)
{
    struct blocks *blocks = call->blocks;
    u64 block, place, result = 1;
    (void)address, (void)size;
    if (!due(engine, call, &block) || block & 15)
        return;
    if (block) {
        place = granule(blocks, block);
        if (place >= all_granules(blocks))
            return;
        u32 granules = blocks->words[place] - LIVE;
        if (granules - 1 >= LARGEST_GRANULES)
            return;
        blocks->words[place] = FREE | (u32)blocks->state[granules];
        blocks->state[granules] = place + 1;
        blocks->state[CHANGES]++;
    }
    call->write(engine, call->result, &result);
}
ENTRY(heap, release)

/* Stopping before an instruction only where its operands are such that the engine errs
 * (emu.cpu.hooks.guard_hook).
 */
#include "hook.h"

struct guard {
    struct request *request;
    int (*read)(void *engine, int number, void *value);
    int registers[2];
    u64 shift, limit, quiet;
};

/* Whether the operands are to be looked at; with more than 1, the request lets as many less one pass. */
static int due(struct request *request)
{
    long left = request->left;
    if (left > 1)
        request->left = left - 1;
    return left == 1;
}

static void stop(void *engine, struct request *request)
{
    request->stopped = 1;
    request->stop(engine);
}

/* An operand is a signalling NaN. */
HOOK void signalling_nan(void *engine, u64 address, u32 size, struct guard *guard)
{
    (void)address, (void)size;
    if (!due(guard->request))
        return;
    for (int i = 0; i < 2; i++) {
        u64 value = 0;
        guard->read(engine, guard->registers[i], &value);
        if ((value << guard->shift) > guard->limit && !(value & guard->quiet))
            return stop(engine, guard->request);
    }
}
ENTRY(guard, signalling_nan)

/* An MMX register does not have ones as its exponent. */
HOOK void exponent(void *engine, u64 address, u32 size, struct guard *guard)
{
    u64 value[2];
    (void)address, (void)size;
    if (!due(guard->request))
        return;
    guard->read(engine, guard->registers[0], value);
    if ((u16)value[1] != 0xffff)
        stop(engine, guard->request);
}
ENTRY(guard, exponent)

/* The upper half of the first register is not 0, and bits of the second are clear. */
HOOK void upper(void *engine, u64 address, u32 size, struct guard *guard)
{
    u64 low = 0, kept = 0;
    (void)address, (void)size;
    if (!due(guard->request))
        return;
    guard->read(engine, guard->registers[0], &kept);
    guard->read(engine, guard->registers[1], &low);
    if (kept >> 32 && !(low & guard->quiet))
        stop(engine, guard->request);
}
ENTRY(guard, upper)

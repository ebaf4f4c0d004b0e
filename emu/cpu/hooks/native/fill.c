/* Telling Unicorn which pages hold code when it fills its TLB (emu.cpu.hooks.fill_hook). */
#include "hook.h"

enum { FETCH = 18, READ_WRITE = 3, ALL = 7 }; /* UC_MEM_FETCH, UC_PROT_* */

/* uc_tlb_entry */
struct entry {
    u64 address;
    int permissions;
};

struct fill {
    u8 *fetched;
    int (*read)(void *engine, int number, void *value), (*write)(void *engine, int number, const void *value);
    u64 number, value, it_state, multiplier;
};

HOOK int fill(void *engine, u64 page, int kind, struct entry *entry, struct fill *fill)
{
    u64 bit = (page >> 10) * fill->multiplier >> 46;
    u8 *noted = fill->fetched + bit / 8, mask = 1 << bit % 8;
    entry->address = page;
    if (kind == FETCH) {
        *noted |= mask;
        entry->permissions = ALL;
        return 1;
    }
    entry->permissions = *noted & mask ? ALL : READ_WRITE;
    /* Thumb: for the hook Unicorn notes the place of the instruction, and with it the state of the IT block, which
     * translated code takes as clear until it ends (emu.cpu.unicorn.devices).
     */
    if (fill->it_state) {
        fill->read(engine, fill->number, &fill->value);
        if (fill->value & fill->it_state) {
            fill->value &= ~fill->it_state;
            fill->write(engine, fill->number, &fill->value);
        }
    }
    return 1;
}
ENTRY(fill, fill)

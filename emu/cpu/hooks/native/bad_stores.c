/* Having Unicorn leave an instruction at a store that may not be made (emu.cpu.unicorn.bad_stores).
 *
 * Unicorn leaves at once at a load. At a store it asks, by `cpu_exit`, to be left at the next opportunity: for one
 * that is translated, right behind it; for one by a function of its own (AArch64 `dc zva`; x86 `fxsave`), anywhere
 * later. So the hook for bad accesses, `record`, notes for the thread how to leave, and `cpu_exit`, which follows,
 * does so. Unicorn has set the guest's pc right before it calls the hook.
 */
#include "hook.h"

typedef void leave(void *cpu);

STATE u64 key;
NUMBER(bad_stores, key)
LIBRARY(bad_stores, leave *, pthread_getspecific, u64 key)
LIBRARY(bad_stores, int, pthread_setspecific, u64 key, leave *value)
ORIGINAL(bad_stores, void, cpu_exit, void *cpu)

HOOK void cpu_exit(void *cpu)
{
    original_cpu_exit(cpu);
    leave *how = pthread_getspecific(key);
    if (how) {
        pthread_setspecific(key, 0);
        how(cpu);
    }
}
REPLACES(bad_stores, cpu_exit)

enum { WRITE_UNMAPPED = 20, WRITE_PROT = 22 }; /* UC_MEM_* */

struct __attribute__((packed)) record {
    void *engine;
    int kind;
    u64 address;
    int size;
    u64 value, data;
    leave *how;
};

HOOK int record(void *engine, int kind, u64 address, int size, u64 value, struct record *record)
{
    record->engine = engine;
    record->kind = kind;
    record->address = address;
    record->size = size;
    record->value = value;
    if (kind == WRITE_UNMAPPED || kind == WRITE_PROT)
        pthread_setspecific(key, record->how);
    return 0;
}
ENTRY(bad_stores, record)

/* Indirect functions: called through the PLT, through data, hidden (IRELATIVE), and with a resolver whose
   answer depends on state only the guest can know. What the resolver was passed is left in
   `resolver_hwcap` and `resolver_second`; both are protected, so that writing them needs no relocation:
   a resolver may run before the GOT is complete. */
#include "fixture.h"

PROTECTED unsigned long resolver_hwcap = 0xdead;
PROTECTED unsigned long resolver_second = 0xdead;
PROTECTED int resolver_calls;
static volatile int choice = 1;

static int slow(int value) { return value + 1000; }
static int fast(int value) { return value + 2000; }

typedef int implementation(int value);

/* x86 passes its resolvers nothing: reading parameters there would read stale registers. */
#if defined(__x86_64__) || defined(__i386__)
static implementation *choose(void) {
#else
static implementation *choose(unsigned long hwcap, unsigned long second) {
    resolver_hwcap = hwcap;
    resolver_second = second;
#endif
    resolver_calls++;
    return choice ? fast : slow;
}

int indirect(int value) __attribute__((ifunc("choose")));
HIDDEN int indirect_hidden(int value) __attribute__((ifunc("choose")));

implementation *indirect_pointer = indirect;
implementation *indirect_hidden_pointer = indirect_hidden;

int call_ifunc(void) { return indirect(1); }
int call_ifunc_hidden(void) { return indirect_hidden(2); }
int call_ifunc_pointer(void) { return indirect_pointer(3); }
int call_ifunc_hidden_pointer(void) { return indirect_hidden_pointer(4); }
implementation *ifunc_address(void) { return indirect; }

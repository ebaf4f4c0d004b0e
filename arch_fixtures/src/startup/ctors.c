/* Constructors and destructors in every form one object can hold. Each leaves its number in `order`.
   Expected at load: 1 (DT_INIT), 2 (priority 101), 3 (priority 200), 4 (no priority).
   Expected at unload: 5 (no priority), 6 (priority 200), 7 (priority 101), 8 (DT_FINI). */
#include "fixture.h"

int order[16];
int order_count;
int ctor_count;
int seen_argc = -1;
char **seen_argv;
char **seen_envp;
/* Constructors must be real calls: without volatile the compiler runs them itself. */
static volatile int one = 1;

static void record(int number) { order[order_count++ & 15] = number; }

void fixture_init(void) { record(1 * one); ctor_count++; }
void fixture_fini(void) { record(8 * one); }

__attribute__((constructor(101))) static void first(int argc, char **argv, char **envp) {
    seen_argc = argc;
    seen_argv = argv;
    seen_envp = envp;
    record(2 * one);
    ctor_count++;
}
__attribute__((constructor(200))) static void second(void) { record(3 * one); ctor_count++; }
__attribute__((constructor)) static void third(void) { record(4 * one); ctor_count++; }
__attribute__((destructor)) static void down_third(void) { record(5 * one); }
__attribute__((destructor(200))) static void down_second(void) { record(6 * one); }
__attribute__((destructor(101))) static void down_first(void) { record(7 * one); }

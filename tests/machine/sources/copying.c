/* An executable with COPY relocations and canonical addresses of functions: its constants hold the addresses. */
#include "start.h"
extern int counter, table[4], *inside;
extern int get_counter(void), table_sum(void), twice(int), (*address_of_twice(void))(int);
extern void bump(void);
int *const counter_at = &counter, *const table_at = table, **const inside_at = &inside;
int (*const twice_at)(int) = twice;
__attribute__((constructor)) static void never(void) { text("run by whoever starts main, not by ld.so\n"); }
__attribute__((used)) void begin(word *stack, word finish) {
    int *volatile *own = (int *volatile *)&counter_at;
    int **volatile *third = (int **volatile *)&inside_at;
    int (*volatile *call)(int) = (int (*volatile *)(int))&twice_at;
    line("copied", **own);
    bump();
    line("bumped", **own);
    **own = 40;
    line("seen", get_counter());
    line("table", table_sum());
    line("inside", ***third);
    line("same", *third[0] == &table_at[2]);
    line("canonical", *call == address_of_twice());
    line("called", (*call)(4) + address_of_twice()(5) + twice(6));
    if (finish) ((void (*)(void))finish)();
    kernel(EXIT, 3, 0, 0);
}

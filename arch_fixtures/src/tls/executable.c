/* The executable's own thread-local data: its code has the offsets from the thread pointer written into it
   (local-exec), which holds only if the executable is the first module of the static TLS block. */
#include "fixture.h"
__thread int exe_data = 101;
__thread long exe_zero;
static __thread char exe_aligned[32] __attribute__((aligned(32))) = {102};
extern __thread int other_gd;
int exe_data_get(void) { return exe_data; }
int exe_aligned_get(void) { return exe_aligned[0]; }
int exe_other_get(void) { return other_gd; }
int *exe_data_address(void) { return &exe_data; }
long *exe_zero_address(void) { return &exe_zero; }
uintptr_t exe_misalignment(void) { return (uintptr_t)exe_aligned & 31; }
void exe_set(int value) {
    exe_data = value;
    exe_zero = value;
    exe_aligned[1] = (char)value;
}
void _start(void) { for (;;) exe_set(1); }

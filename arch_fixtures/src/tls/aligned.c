/* Blocks aligned beyond what a thread control block is: .tdata to 64 bytes, .tbss to 256, through dynamic and
   static models. glibc gives such a library static TLS only when it is there from the start, not by dlopen. */
#include "fixture.h"
__thread char aligned_data[40] __attribute__((aligned(64))) = {64};
__thread char aligned_zero[64] __attribute__((aligned(256)));
static __thread int small_data = 5;
static __thread char aligned_static[8] __attribute__((aligned(128), tls_model("initial-exec"))) = {28};

int aligned_sum(void) { return aligned_data[0] + aligned_zero[63] + small_data + aligned_static[0]; }
/* 0 when every block lies where its alignment says. */
uintptr_t tls_misalignment(void) {
    return ((uintptr_t)aligned_data & 63) | ((uintptr_t)aligned_zero & 255) | ((uintptr_t)aligned_static & 127);
}
char *aligned_data_address(void) { return aligned_data; }
char *aligned_zero_address(void) { return aligned_zero; }
char *aligned_static_address(void) { return aligned_static; }

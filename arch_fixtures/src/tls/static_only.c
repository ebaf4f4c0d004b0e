#include "fixture.h"
static __thread int offset_data __attribute__((tls_model("initial-exec"))) = 81;
static __thread int offset_zero[32] __attribute__((tls_model("initial-exec")));
int static_get(void) { return offset_data + offset_zero[3]; }
void static_set(int value) { offset_data = value; offset_zero[3] = value; }
int *static_address(void) { return &offset_data; }
int *static_zero_address(void) { return &offset_zero[3]; }

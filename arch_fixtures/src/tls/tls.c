/* Thread-local data through every access model the target has; `other_*` lives in libtls_other. */
#include "fixture.h"

__thread int gd_variable = 11;
static __thread int ld_first = 21;
static __thread int ld_second = 22;
__thread int ie_variable __attribute__((tls_model("initial-exec"))) = 31;
static __thread int ie_local __attribute__((tls_model("initial-exec"))) = 32;
__thread long zero_variable;
__thread char zero_block[100];
extern __thread int other_gd;
extern __thread int other_ie __attribute__((tls_model("initial-exec")));

int tls_gd(void) { return gd_variable; }
int tls_ld(void) { return ld_first + ld_second; }
int tls_ie(void) { return ie_variable + ie_local; }
int tls_other_gd(void) { return other_gd; }
int tls_other_ie(void) { return other_ie; }
long tls_zero(void) { return zero_variable; }

void tls_set(int value) {
    gd_variable = value;
    zero_block[99] = 1;
    ld_first = value + 1;
    ld_second = value + 2;
    ie_variable = value + 3;
    ie_local = value + 4;
    other_gd = value + 5;
    zero_variable = value + 6;
}

int *tls_gd_address(void) { return &gd_variable; }
int *tls_ld_address(void) { return &ld_first; }
int *tls_ie_address(void) { return &ie_variable; }
char *tls_zero_block_address(void) { return zero_block; }
int *tls_other_gd_address(void) { return &other_gd; }
int *tls_other_ie_address(void) { return &other_ie; }

/* Floating-point and integer arguments live across a TLS access: a descriptor or a resolver that
   clobbers a register its convention preserves shows here. */
double tls_mixed(int a, double b, long c, float d) {
    double before = b * 2 + d;
    return before + gd_variable + a + (double)c + ld_first + b;
}

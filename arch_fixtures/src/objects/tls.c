/* Thread-local data of the object's own and of another; the compiler's flags choose model and dialect. */
#include "fixture.h"
__thread int tls_own = 11;
static __thread int tls_private[4] = {21, 22, 23, 24};
__thread char tls_zero[40];
extern __thread int tls_other;
int get_own(void) { return tls_own; }
int get_private(int index) { return tls_private[index & 3]; }
int get_both(void) { return tls_private[0] + tls_private[3]; }
int get_zero(int index) { return tls_zero[index]; }
int get_other(void) { return tls_other; }
void set_all(int value) {
    tls_own = value;
    tls_private[1] = value + 1;
    tls_zero[39] = (char)value;
    tls_other = value + 2;
}
int *own_address(void) { return &tls_own; }
int *private_address(void) { return &tls_private[2]; }

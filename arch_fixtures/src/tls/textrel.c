/* Non-PIC initial-exec code in a shared object: the text itself holds the address of a GOT slot, and the slot
   a static TLS offset. */
#include "fixture.h"
extern __thread int other_gd __attribute__((tls_model("initial-exec")));
extern __thread int other_ie __attribute__((tls_model("initial-exec")));
int text_tls_get(void) { return other_gd * 1000 + other_ie; }
int *text_tls_address(void) { return &other_ie; }

/* Only dynamic models: loadable late, with no need of static TLS space. */
#include "fixture.h"
__thread int dynamic_variable = 71;
__thread char dynamic_block[1000];
static __thread int dynamic_local __attribute__((tls_model("local-dynamic"))) = 72;
int dynamic_get(void) { return dynamic_variable; }
int dynamic_local_get(void) { return dynamic_local; }
void dynamic_set(int value) { dynamic_variable = value; dynamic_local = value + 1; }
int *dynamic_address(void) { return &dynamic_variable; }
int *dynamic_local_address(void) { return &dynamic_local; }
char *dynamic_block_address(void) { return dynamic_block; }

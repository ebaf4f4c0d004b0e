/* The symbol is weak, but lld marks no version need as weak (VER_FLG_WEAK): without V3 the load must fail. */
#include "fixture.h"
extern int added_in_v3(void) WEAK;
int weak_client(void) { return added_in_v3 ? added_in_v3() : -1; }

/* Needs V3 only weakly: without it the library loads, and the symbol is null. */
#include "fixture.h"
extern int added_in_v3(void) WEAK;
int weak_client(void) { return added_in_v3 ? added_in_v3() : -1; }
